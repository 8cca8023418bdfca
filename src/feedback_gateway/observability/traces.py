"""Sends spans to a collector over OTLP/HTTP, in batches, from a thread: a collector that is gone costs nobody a wait.

Nobody else knows OpenTelemetry's library, which is imported where a collector is configured.
"""

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from feedback_gateway import __version__
from feedback_gateway.observability.spans import Kind, SpanData

PATH = "/v1/traces"
TIMEOUT_S = 5.0
FLUSH_S = 5.0
EVERY_MS = 1000.0
QUEUE = 8192
BATCH = 512
KINDS: Mapping[Kind, SpanKind] = {
    "server": SpanKind.SERVER,
    "internal": SpanKind.INTERNAL,
    "client": SpanKind.CLIENT,
}
SAMPLED = TraceFlags(TraceFlags.SAMPLED)
UNSET, FAILED = Status(StatusCode.UNSET), Status(StatusCode.ERROR)

log = logging.getLogger(__name__)


class CountingExporter(SpanExporter):
    """Counts what `inner` sent and what it could not; says once that the collector is gone, and once that it is back.

    The library's own words about that are not shown: they may quote the collector.
    """

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self.sent = self.lost = 0
        self.is_failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch."""
        result = self._inner.export(spans)
        if result is SpanExportResult.SUCCESS:
            self.sent += len(spans)
            if self.is_failing:
                log.warning("traces are taken again")
        else:
            self.lost += len(spans)
            if not self.is_failing:
                log.warning("the collector at telemetry.endpoint takes no traces; they are lost until it does")
        self.is_failing = result is not SpanExportResult.SUCCESS
        return result

    def shutdown(self) -> None:
        """Send nothing more."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is kept here."""
        return self._inner.force_flush(timeout_millis)


class Traces:
    """Takes spans that are over. Where more come than the collector takes, the oldest are dropped."""

    def __init__(
        self, endpoint: str, *, headers: Mapping[str, str], service_name: str, flush_s: float = FLUSH_S
    ) -> None:
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # `CountingExporter` says what matters
        self.exporter = CountingExporter(
            OTLPSpanExporter(
                endpoint.rstrip("/").removesuffix(PATH) + PATH,
                headers=dict(headers),
                timeout=TIMEOUT_S,
                compression=Compression.Gzip,
            )
        )
        self._batches = BatchSpanProcessor(
            self.exporter,
            max_queue_size=QUEUE,
            schedule_delay_millis=EVERY_MS,
            max_export_batch_size=BATCH,
            export_timeout_millis=TIMEOUT_S * 1000,
        )
        self._flush_s = flush_s
        self._resource = Resource({"service.name": service_name, "service.version": __version__})
        self._scope = InstrumentationScope("feedback_gateway", __version__)

    def add(self, span: SpanData) -> None:
        """Take a span. Never waits and never fails."""
        self._batches.on_end(
            ReadableSpan(
                span.name,
                context=context(span.trace_id, span.span_id),
                parent=None
                if span.parent_id is None
                else context(span.trace_id, span.parent_id, is_remote=span.parent_is_remote),
                resource=self._resource,
                attributes=span.attributes,
                kind=KINDS[span.kind],
                status=UNSET if span.error is None else FAILED,
                start_time=nanoseconds(span.started_at),
                end_time=nanoseconds(span.ended_at),
                instrumentation_scope=self._scope,
            )
        )

    async def aclose(self) -> None:
        """Send what is left, for `flush_s` seconds at most, and nothing to a collector that took nothing lately.

        The thread that does it keeps no process alive.
        """
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def close() -> None:
            if self.exporter.is_failing:
                self.exporter.shutdown()
            self._batches.shutdown()  # type: ignore[no-untyped-call]
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(done.set)

        threading.Thread(target=close, name="traces-flush", daemon=True).start()
        try:
            await asyncio.wait_for(done.wait(), self._flush_s)
        except TimeoutError:
            log.warning("the last traces were not taken within %g s, and are lost", self._flush_s)


def context(trace_id: str, span_id: str, *, is_remote: bool = False) -> SpanContext:
    """A span's place, as the library writes it."""
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote, SAMPLED)


def nanoseconds(moment: datetime) -> int:
    """Since 1970, exact to the microsecond that datetimes know."""
    return round(moment.timestamp() * 1_000_000) * 1000
