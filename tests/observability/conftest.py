"""Calls that are over, and a collector that takes traces."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from feedback_gateway.calls.models import Call
from feedback_gateway.llm.models import Deployment, Usage
from feedback_gateway.observability.models import Origin, Trace
from tests.observability.collector import Collector, collecting

MakeCall = Callable[..., Call]
TRACE = Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", parent_id="a" * 16, is_sampled=True)
SMALL = Deployment(alias="default", name="openai/small", model="openai/small")
LARGE = Deployment(alias="large", name="azure/large", model="azure/large")
STARTED = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Somebody who takes traces."""
    with collecting() as collector:
        yield collector


@pytest.fixture
def make_call() -> MakeCall:
    """Makes a call that is over: one attempt failed and the next was answered, unless `attempts` is False."""

    def make_call(*, attempts: bool = True, **fields: Any) -> Call:
        values: dict[str, Any] = {
            "call_id": "01JNXVSMCA0123456789ABCDEF",
            "consumer": "support",
            "task": "classify",
            "prompt_version": 2,
            "model": "default",
            "created_at": STARTED,
            "started": 0.0,
            "deadline": 30.0,
            "attempts_left": 3,
            "latency_ms": 250.0,
            "deployment": SMALL.name,
            "origin": Origin(TRACE),
            "inputs": {"text": "what the user wrote"},
            "result": {"label": "what the model said"},
        }
        call = Call(**values | fields)
        if attempts:
            failed = call.start_attempt(SMALL, started_at=STARTED, purpose="answer")
            failed.status, failed.error, failed.http_status = "failed", "provider-unavailable", 503
            failed.detail, failed.latency_ms = "it said: what the user wrote", 40.0
            answered = call.start_attempt(SMALL, started_at=STARTED, purpose="answer")
            answered.status, answered.latency_ms = "ok", 200.0
            answered.finish_reason, answered.answered_by = "stop", "small-2026-01"
            answered.usage = Usage(uncached_input_tokens=300, cache_read_tokens=10, output_tokens=58)
            answered.cost_usd = Decimal("0.0001935")
        return call

    return make_call
