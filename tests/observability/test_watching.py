"""What comes of a call and a request that are over, where a collector is configured and where none is."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from feedback_gateway.clock import SystemClock
from feedback_gateway.observability.models import Origin, ServedRequest
from feedback_gateway.observability.watching import open_watch
from feedback_gateway.settings import Settings
from tests.observability.collector import Collector
from tests.observability.conftest import SMALL, TRACE, MakeCall

pytestmark = pytest.mark.anyio


@dataclass
class NotingTrace:
    """A sampled trace that notes what is read of it."""

    read: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        """A part of the trace."""
        self.read.append(name)
        return getattr(TRACE, name)


async def observed(settings: Settings, make_call: MakeCall) -> list[str]:
    """What is read of the trace of a call and its request, while both are observed."""
    trace: Any = NotingTrace()
    origin = Origin(trace)
    request = ServedRequest(
        method="POST", route="/v1/{task}", status=200, seconds=2.0, call_id="01J", origin=origin, consumer="support"
    )
    async with open_watch(settings, [SMALL], tasks=lambda: ["classify"], clock=SystemClock()) as watch:
        watch.observe_call(make_call(origin=origin))
        watch.observe_request(request)
        assert b'calls_total{cached="false"' in watch.registry.expose("")[0]
    return list(trace.read)


async def test_without_a_collector_no_span_is_built(make_call: MakeCall) -> None:
    """Not even the trace is looked at, which every span has the id of."""
    assert await observed(Settings(), make_call) == []


async def test_with_a_collector_both_are_sent(collector: Collector, make_call: MakeCall) -> None:
    """The request, the call and its attempts."""
    settings = Settings.model_validate({"telemetry": {"endpoint": collector.endpoint}})

    read = await observed(settings, make_call)

    assert {"is_sampled", "trace_id"} <= set(read)
    assert sorted(span.name for span in collector.spans) == [
        "POST /v1/{task}",
        "call classify",
        "chat small",
        "chat small",
    ]
