"""Finished calls to store."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from feedback_gateway.calls.models import Call
from feedback_gateway.clock import ManualClock
from feedback_gateway.llm.models import Deployment, Usage

MakeCall = Callable[..., Call]


@pytest.fixture(scope="session")
def deployment() -> Deployment:
    """A place to ask."""
    return Deployment(alias="default", name="openai/small", model="openai/small")


@pytest.fixture(scope="session")
def make_call(deployment: Deployment) -> MakeCall:
    """Makes a finished call, with one answered attempt for each of `costs` unless `usage` says otherwise."""
    clock = ManualClock(datetime(2026, 3, 1, 12, tzinfo=UTC))

    def make_call(*, costs: Sequence[Decimal | None] = (Decimal("0.0001935"),), **fields: Any) -> Call:
        clock.advance(1)
        usage = fields.pop("usage", Usage(uncached_input_tokens=300, cache_read_tokens=10, output_tokens=58))
        values: dict[str, Any] = {
            "call_id": clock.new_id(),
            "consumer": "local",
            "task": "classify",
            "prompt_version": 1,
            "model": "default",
            "created_at": clock.now(),
            "started": 0.0,
            "deadline": 30.0,
            "attempts_left": 3,
            "deployment": deployment.name,
        }
        call = Call(**values | fields)
        for cost in costs:
            attempt = call.start_attempt(deployment, started_at=call.created_at, purpose="answer")
            attempt.status, attempt.usage, attempt.cost_usd = "ok", usage, cost
        return call

    return make_call
