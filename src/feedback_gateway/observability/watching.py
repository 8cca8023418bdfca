"""Tells metrics, traces and the log of every call and request that is over; opens what the settings ask for."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, NoReturn, get_args

from feedback_gateway.calls.models import Call
from feedback_gateway.clock import Clock
from feedback_gateway.environment import metrics_directory
from feedback_gateway.llm.models import Deployment, Operation
from feedback_gateway.observability.figures import Registry
from feedback_gateway.observability.logs import log_request
from feedback_gateway.observability.metrics import Metrics
from feedback_gateway.observability.models import ServedRequest
from feedback_gateway.observability.sources import Books, Cache, Health, Link, build_figures, count, figures_of
from feedback_gateway.observability.spans import call_spans, request_span
from feedback_gateway.settings import Settings

if TYPE_CHECKING:
    from feedback_gateway.observability.traces import Traces

REFRESH_S = 2.0


class Watch:
    """The one who is told. What it is told of is over, and nobody waits for what comes of it."""

    def __init__(self, registry: Registry, metrics: Metrics, *, traces: "Traces | None", clock: Clock) -> None:
        self.registry = registry
        self.metrics = metrics
        self._traces = traces
        self._clock = clock

    def read(self, books: Books, *, health: Health, cache: Cache, redis: Link | None) -> None:
        """Show how these stand, whenever somebody asks."""
        self.registry.add(figures_of(books, health=health, cache=cache, redis=redis))

    def observe_call(self, call: Call) -> None:
        """A call has been logged."""
        self.metrics.observe_call(call)
        if self._traces is not None and call.origin is not None and call.origin.trace.is_sampled:
            for span in call_spans(call, call.origin.trace):
                self._traces.add(span)

    def observe_request(self, request: ServedRequest) -> None:
        """A request has been answered."""
        self.metrics.observe_request(request)
        if self._traces is not None and request.origin.trace.is_sampled:
            self._traces.add(request_span(request, ended_at=self._clock.now()))
        log_request(request)


@asynccontextmanager
async def open_watch(
    settings: Settings,
    deployments: Iterable[Deployment],
    *,
    tasks: Callable[[], Collection[str]],
    clock: Clock,
) -> AsyncIterator[Watch]:
    """Metrics, counted together with other processes of this server, and traces where a collector is configured.

    `tasks` tells the prompts there are. On exit the last traces are sent.
    """
    telemetry, directory = settings.telemetry, metrics_directory()
    registry = Registry(directory)
    registry.add(build_figures())
    metrics = Metrics(registry, deployments=deployments, tasks=lambda: (*tasks(), *get_args(Operation)))
    async with AsyncExitStack() as stack:
        traces = None
        if telemetry.endpoint is not None:
            from feedback_gateway.observability.traces import Traces  # noqa: PLC0415 0.2 s that only its users wait

            headers = {name: value.get_secret_value() for name, value in telemetry.headers.items()}
            traces = Traces(telemetry.endpoint, headers=headers, service_name=telemetry.service_name)
            stack.push_async_callback(traces.aclose)
            exporter = traces.exporter
            registry.add(
                [
                    count("spans_sent", "Spans that the collector took.", lambda: exporter.sent),
                    count("spans_lost", "Spans that the collector did not take.", lambda: exporter.lost),
                ]
            )
        if directory is not None:
            refreshing = asyncio.create_task(refresh(registry, clock), name="metrics-refresh")
            stack.callback(refreshing.cancel)
        yield Watch(registry, metrics, traces=traces, clock=clock)


async def refresh(registry: Registry, clock: Clock) -> NoReturn:
    """Write down for the other processes, every two seconds and for ever, what they cannot read here."""
    while True:
        registry.refresh()
        await clock.sleep(REFRESH_S)
