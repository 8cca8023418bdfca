"""What a request and a call look like as spans."""

from datetime import timedelta

from feedback_gateway.observability.models import Origin, ServedRequest, span_id_of
from feedback_gateway.observability.spans import call_spans, request_span
from tests.observability.conftest import STARTED, TRACE, MakeCall


def served(*, status: int = 200, route: str | None = "/v1/{task}") -> ServedRequest:
    """A request that took two seconds."""
    return ServedRequest(
        method="POST",
        route=route,
        status=status,
        seconds=2.0,
        call_id="01J",
        origin=Origin(TRACE, "mine"),
        consumer="support",
    )


def test_call_stands_under_its_request_and_attempts_under_the_call(make_call: MakeCall) -> None:
    """All in the trace of whoever sent the request."""
    call = make_call()

    request = request_span(served(), ended_at=STARTED)
    first, *attempts = call_spans(call, TRACE)

    assert (request.parent_id, request.span_id) == (TRACE.parent_id, TRACE.span_id)
    assert (first.parent_id, first.span_id) == (TRACE.span_id, span_id_of(call.call_id))
    assert [attempt.parent_id for attempt in attempts] == [first.span_id, first.span_id]
    assert len({span.span_id for span in (request, first, *attempts)}) == 4
    assert {span.trace_id for span in (request, first, *attempts)} == {TRACE.trace_id}


def test_attempt_is_the_span_that_the_provider_was_told_of(make_call: MakeCall) -> None:
    """So that what the provider traces stands under it."""
    call = make_call()

    *_, last = call_spans(call, TRACE)

    assert call.trace_headers()["traceparent"].split("-")[2] == last.span_id


def test_attempts_are_described_by_the_conventions(make_call: MakeCall) -> None:
    """Of OpenTelemetry, for models; what failed has the code of its failure."""
    _, failed, answered = call_spans(make_call(), TRACE)

    assert (failed.name, failed.kind, failed.error) == ("chat small", "client", "provider-unavailable")
    assert failed.attributes["error.type"] == "provider-unavailable"
    assert failed.attributes["http.response.status_code"] == 503
    assert "gen_ai.usage.input_tokens" not in failed.attributes
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "small",
        "gen_ai.response.model": "small-2026-01",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 310,
        "gen_ai.usage.output_tokens": 58,
        "gen_ai.usage.cache_read.input_tokens": 10,
    }
    assert {name: answered.attributes.get(name) for name in expected} == expected
    assert answered.error is None
    assert "error.type" not in answered.attributes


def test_spans_have_the_times_of_what_they_are(make_call: MakeCall) -> None:
    """Not those of their making."""
    request = request_span(served(), ended_at=STARTED)
    call, failed, _ = call_spans(make_call(), TRACE)

    assert (request.started_at, request.ended_at) == (STARTED - timedelta(seconds=2), STARTED)
    assert (call.started_at, call.ended_at) == (STARTED, STARTED + timedelta(milliseconds=250))
    assert failed.ended_at - failed.started_at == timedelta(milliseconds=40)


def test_request_fails_where_the_gateway_does() -> None:
    """A caller's mistake is none of the server's."""
    assert request_span(served(status=422), ended_at=STARTED).error is None
    assert request_span(served(status=503), ended_at=STARTED).error == "503"


def test_request_without_a_route_has_no_path() -> None:
    """A path may hold what somebody wrote."""
    span = request_span(served(route=None, status=404), ended_at=STARTED)

    assert span.name == "POST"
    assert not any("path" in name or "url" in name for name in span.attributes)


def test_embeddings_are_named_so(make_call: MakeCall) -> None:
    """Every other operation is a chat."""
    _, failed, _ = call_spans(make_call(task="embeddings"), TRACE)

    assert failed.attributes["gen_ai.operation.name"] == "embeddings"


def test_no_span_holds_what_was_written_or_answered(make_call: MakeCall) -> None:
    """Nor the sentences of errors, which may quote it."""
    spans = list(call_spans(make_call(), TRACE))

    assert "wrote" not in repr(spans)
    assert "said" not in repr(spans)


def test_call_that_was_left_says_so(make_call: MakeCall) -> None:
    """It has no code of a failure."""
    call, *_ = call_spans(make_call(status="cancelled"), TRACE)

    assert (call.error, call.attributes["error.type"]) == ("cancelled", "cancelled")
