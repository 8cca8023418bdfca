"""What is counted of requests and calls, and that nobody who sends requests can make it grow."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families as families

from feedback_gateway.calls.models import Call
from feedback_gateway.observability.figures import Registry
from feedback_gateway.observability.metrics import Metrics
from feedback_gateway.observability.models import Origin, ServedRequest, method_of
from tests.observability.conftest import LARGE, SMALL, STARTED, TRACE, MakeCall

TASKS = ["classify", "summarize"]
Labels = dict[str, str]


class Counted:
    """Metrics of two deployments and two tasks, read as Prometheus reads them."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.metrics = Metrics(self.registry, deployments=[SMALL, LARGE], tasks=lambda: TASKS)

    def text(self) -> str:
        """What is exposed."""
        return self.registry.expose("")[0].decode()

    def series(self, name: str) -> list[tuple[Labels, float]]:
        """The samples of one name."""
        return [
            (sample.labels, sample.value)
            for family in families(self.text())
            for sample in family.samples
            if sample.name == f"feedback_gateway_{name}"
        ]

    def value(self, name: str, **labels: str) -> float:
        """The one sample of a name with these labels, among others; 0 where there is none."""
        found = [value for about, value in self.series(name) if labels.items() <= about.items()]
        assert len(found) <= 1
        return found[0] if found else 0.0


@pytest.fixture
def counted() -> Counted:
    """What is tested."""
    return Counted()


def request(**fields: object) -> ServedRequest:
    """A request that is over."""
    values: dict[str, object] = {
        "method": "POST",
        "route": "/v1/{task}",
        "status": 200,
        "seconds": 0.004,
        "call_id": "01J",
        "origin": Origin(TRACE),
        "consumer": "support",
    }
    return ServedRequest(**values | fields)  # type: ignore[arg-type]


def test_call_is_counted_with_its_attempts_tokens_and_cost(counted: Counted, make_call: MakeCall) -> None:
    """The failed attempt as well, and the second as a retry."""
    counted.metrics.observe_call(make_call())

    kinds = ("uncached_input", "cache_read", "cache_write", "output")
    assert counted.value("calls_total", task="classify", model="default", status="ok", cached="false") == 1
    assert counted.value("attempts_total", deployment="openai/small", outcome="ok") == 1
    assert counted.value("attempts_total", deployment="openai/small", outcome="provider-unavailable") == 1
    assert [counted.value("tokens_total", model="default", kind=kind) for kind in kinds] == [300, 10, 0, 58]
    assert counted.value("cost_usd_total", task="classify", model="default") == pytest.approx(0.0001935)
    assert counted.value("retries_total", model="default") == 1
    assert counted.value("attempt_duration_seconds_count", deployment="openai/small") == 2
    assert counted.value("attempt_duration_seconds_sum", deployment="openai/small") == pytest.approx(0.24)
    assert counted.series("fallbacks_total") == []


def test_answer_of_another_model_is_a_fallback(counted: Counted, make_call: MakeCall) -> None:
    """By alias."""
    counted.metrics.observe_call(make_call(deployment=LARGE.name))

    assert counted.value("fallbacks_total", model="default", answered_by="large") == 1


def test_answer_from_the_cache_saves_money(counted: Counted, make_call: MakeCall) -> None:
    """And is no attempt."""
    counted.metrics.observe_call(make_call(attempts=False, cached=True, saved_usd=Decimal("0.25")))

    assert counted.value("saved_usd_total", task="classify") == 0.25
    assert counted.value("calls_total", cached="true") == 1
    assert counted.series("attempts_total") == []


def test_unknown_cost_is_counted_as_unknown(counted: Counted, make_call: MakeCall) -> None:
    """And not as nothing."""
    call = make_call()
    call.attempts[1].cost_usd = None

    counted.metrics.observe_call(call)

    assert counted.value("calls_of_unknown_cost_total", task="classify", model="default") == 1


def test_what_a_budget_stops_is_a_refusal(counted: Counted, make_call: MakeCall) -> None:
    """Beside those of the limits."""
    counted.metrics.observe_call(make_call(attempts=False, status="failed", error="budget-exceeded"))
    counted.metrics.observe_refusal("consumer", "tokens")

    assert counted.value("refusals_total", scope="budget", unit="usd") == 1
    assert counted.value("refusals_total", scope="consumer", unit="tokens") == 1


def test_requests_are_counted_by_route_and_class_of_status(counted: Counted) -> None:
    """With the time they took, in buckets."""
    counted.metrics.observe_request(request())
    counted.metrics.observe_request(request(status=422, seconds=0.5))

    assert counted.value("http_requests_total", route="/v1/{task}", method="POST", status="2xx") == 1
    assert counted.value("http_requests_total", route="/v1/{task}", method="POST", status="4xx") == 1
    assert counted.value("http_request_duration_seconds_bucket", route="/v1/{task}", le="0.005") == 1
    assert counted.value("http_request_duration_seconds_bucket", route="/v1/{task}", le="+Inf") == 2


names = st.text(max_size=30)


@given(st.lists(st.tuples(names, names, names, names), min_size=1, max_size=40))
def test_hostile_names_cannot_grow_the_number_of_series(calls: list[tuple[str, str, str, str]]) -> None:
    """Whatever tasks, models, deployments and methods somebody thinks of, they are one more series of each at most."""
    counted = Counted()
    for task, model, deployment, method in calls:
        call = Call(
            call_id="01J",
            consumer=f"consumer {task}",
            task=task,
            prompt_version=1,
            model=model,
            created_at=STARTED,
            started=0.0,
            deadline=0.0,
            attempts_left=1,
            deployment=deployment,
        )
        counted.metrics.observe_call(call)
        counted.metrics.observe_request(request(method=method_of(method), route=None, status=404))

    assert len(counted.series("calls_total")) == 1
    assert len(counted.series("http_requests_total")) == len({method_of(method) for *_, method in calls})
    assert "consumer " not in counted.text()


def test_names_of_consumers_and_texts_are_in_no_series(counted: Counted, make_call: MakeCall) -> None:
    """Everybody may read them."""
    call = make_call(consumer="secret-consumer")
    counted.metrics.observe_call(call)
    counted.metrics.observe_request(request(consumer="secret-consumer"))

    assert "secret" not in counted.text()
    assert "wrote" not in counted.text()
    assert call.call_id not in counted.text()


def test_task_that_comes_later_has_its_name(counted: Counted, make_call: MakeCall) -> None:
    """A prompt file may be added at any time."""
    counted.metrics.observe_call(make_call(task="mood"))
    TASKS.append("mood")
    try:
        counted.metrics.observe_call(make_call(task="mood"))
    finally:
        TASKS.remove("mood")

    assert counted.value("calls_total", task="other") == 1
    assert counted.value("calls_total", task="mood") == 1
