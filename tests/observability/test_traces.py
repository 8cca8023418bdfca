"""Spans reach a real collector over OTLP, and one that is gone or stuck costs nobody anything."""

import asyncio
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from feedback_gateway.observability.models import span_id_of
from feedback_gateway.observability.spans import call_spans
from feedback_gateway.observability.traces import BATCH, QUEUE, Traces
from tests.observability.collector import Collector, attributes
from tests.observability.conftest import STARTED, TRACE, MakeCall
from tests.servers import free_port

pytestmark = pytest.mark.anyio


async def send(endpoint: str, *calls: object, headers: dict[str, str] | None = None) -> Traces:
    """Send the spans of calls, and close."""
    sender = Traces(endpoint, headers=headers or {}, service_name="my-gateway")
    for call in calls:
        for span in call_spans(call, TRACE):  # type: ignore[arg-type]
            sender.add(span)
    await sender.aclose()
    return sender


async def test_spans_arrive_as_they_are(collector: Collector, make_call: MakeCall) -> None:
    """Ids, parents, times, kinds, states and attributes; the service is named."""
    call = make_call()

    sender = await send(collector.endpoint, call, headers={"x-tenant": "acme"})

    outer = collector.named("call classify")
    failed, answered = [span for span in collector.spans if span.name == "chat small"]
    assert outer.trace_id.hex() == TRACE.trace_id
    assert (outer.span_id.hex(), outer.parent_span_id.hex()) == (span_id_of(call.call_id), TRACE.span_id)
    assert answered.parent_span_id == outer.span_id
    assert outer.start_time_unix_nano == int(STARTED.timestamp()) * 10**9
    assert outer.end_time_unix_nano - outer.start_time_unix_nano == 250_000_000
    assert (failed.kind, failed.status.code, answered.status.code) == (failed.SPAN_KIND_CLIENT, 2, 0)
    assert attributes(answered)["gen_ai.response.finish_reasons"] == ["stop"]
    assert attributes(answered)["gen_ai.usage.input_tokens"] == 310
    named = {pair.key: pair.value.string_value for pair in collector.requests[0].resource_spans[0].resource.attributes}
    assert named["service.name"] == "my-gateway"
    assert (collector.paths, collector.headers[0]["x-tenant"]) == (["/v1/traces"], "acme")
    assert (sender.exporter.sent, sender.exporter.lost) == (3, 0)


@pytest.mark.parametrize("ending", ["/", "/v1/traces", "/v1/traces/"])
async def test_endpoint_may_name_the_path(collector: Collector, make_call: MakeCall, ending: str) -> None:
    """As some collectors' pages do."""
    await send(collector.endpoint + ending, make_call())

    assert collector.paths == ["/v1/traces"]


async def test_nothing_of_what_was_written_is_sent(collector: Collector, make_call: MakeCall) -> None:
    """Looked for in the bytes."""
    await send(collector.endpoint, make_call())

    body = b"".join(collector.bodies)
    assert b"classify" in body
    assert b"wrote" not in body
    assert b"said" not in body


async def test_collector_that_is_gone_is_told_of_once(make_call: MakeCall, caplog: pytest.LogCaptureFixture) -> None:
    """In our words: the library's own may quote somebody."""
    sender = Traces(f"http://127.0.0.1:{free_port()}", headers={}, service_name="x")
    with caplog.at_level(logging.WARNING):
        sender.exporter.shutdown()  # so that it does not try again for seconds
        for _ in range(2):
            for span in call_spans(make_call(), TRACE):
                sender.add(span)
            await asyncio.to_thread(sender._batches.force_flush)
        await sender.aclose()

    assert [record.name for record in caplog.records] == ["feedback_gateway.observability.traces"]
    assert "takes no traces" in caplog.text
    assert (sender.exporter.sent, sender.exporter.lost) == (0, 6)


async def test_collector_that_refuses_loses_traces_until_it_takes_them(
    collector: Collector, make_call: MakeCall, caplog: pytest.LogCaptureFixture
) -> None:
    """Both ends of it are told."""
    spans = list(call_spans(make_call(), TRACE))
    sender = Traces(collector.endpoint, headers={}, service_name="x")
    with caplog.at_level(logging.WARNING):
        collector.status = 400
        for span in spans:
            sender.add(span)
        await asyncio.to_thread(sender._batches.force_flush)
        collector.status = 200
        for span in spans:
            sender.add(span)
        await asyncio.to_thread(sender._batches.force_flush)
        await sender.aclose()

    assert (sender.exporter.sent, sender.exporter.lost) == (3, 3)
    assert [record.getMessage().split()[-2:] for record in caplog.records] == [["it", "does"], ["taken", "again"]]


async def test_stuck_collector_holds_up_neither_calls_nor_the_end(collector: Collector, make_call: MakeCall) -> None:
    """More spans than are kept are dropped; at the end the last ones are waited for, for a while."""
    collector.free.clear()
    spans = list(call_spans(make_call(), TRACE))
    sender = Traces(collector.endpoint, headers={}, service_name="x", flush_s=0.05)

    for _ in range(QUEUE):
        for span in spans:
            sender.add(span)
    async with asyncio.timeout(30):
        await sender.aclose()
    queue, worker = sender._batches._batch_processor._queue, sender._batches._batch_processor._worker_thread
    kept, sent = len(queue), sender.exporter.sent
    collector.free.set()
    await asyncio.to_thread(worker.join, 60)

    assert (sent, worker.is_alive()) == (0, False)
    assert QUEUE - BATCH <= kept <= QUEUE


def test_library_is_imported_only_where_a_collector_is_configured(tmp_path: Path) -> None:
    """It takes time and memory."""
    code = (
        "import asyncio, sys\n"
        "from feedback_gateway.services import open_services\n"
        "from feedback_gateway.settings import Settings\n"
        "async def run():\n"
        "    async with open_services(Settings(database_url='sqlite:///calls.db')):\n"
        "        print([name for name in sys.modules if name.startswith(('opentelemetry', 'google.protobuf'))])\n"
        "asyncio.run(run())\n"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
