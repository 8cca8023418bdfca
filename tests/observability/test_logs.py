"""The process's log: one event a line, for people or machines, with the ids of the request at hand."""

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from feedback_gateway.observability.logs import REQUEST, Format, configure_logging, log_request
from feedback_gateway.observability.models import Origin, ServedRequest
from tests.observability.conftest import TRACE

log = logging.getLogger("feedback_gateway.something")


@pytest.fixture
def restored() -> Iterator[None]:
    """The logger as it was before."""
    logger = logging.getLogger("feedback_gateway")
    before = logger.handlers, logger.level, logger.propagate
    yield
    logger.handlers, logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


@pytest.fixture
def request_at_hand() -> Iterator[dict[str, object]]:
    """A request that is being served."""
    state: dict[str, object] = {"call_id": "01J", "origin": Origin(TRACE, "mine")}
    token = REQUEST.set(state)
    yield state
    REQUEST.reset(token)


def configured(*, style: Format, level: str = "warning") -> io.StringIO:
    """Where the log goes."""
    stream = io.StringIO()
    configure_logging(stream, style=style, level=level)
    return stream


def served() -> ServedRequest:
    """A request that is over."""
    return ServedRequest(
        method="POST",
        route="/v1/{task}",
        status=200,
        seconds=0.0123456,
        call_id="01J",
        origin=Origin(TRACE, "mine"),
        consumer="support",
    )


@pytest.mark.usefixtures("restored", "request_at_hand")
def test_event_is_one_json_object_with_the_ids_of_its_request() -> None:
    """Whatever stands in its message."""
    stream = configured(style="json")

    log.warning("two\nlines of %s", "\udcff")

    document = json.loads(stream.getvalue())
    assert stream.getvalue().count("\n") == 1
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", document.pop("time"))
    assert document == {
        "level": "warning",
        "logger": "feedback_gateway.something",
        "message": "two\nlines of \udcff",
        "call_id": "01J",
        "trace_id": TRACE.trace_id,
        "client_call_id": "mine",
    }


@pytest.mark.usefixtures("restored")
def test_event_outside_of_a_request_has_no_ids() -> None:
    """The same in both styles."""
    as_json = configured(style="json")
    log.warning("alone")
    as_text = configured(style="text")
    log.warning("alone")

    assert set(json.loads(as_json.getvalue())) == {"time", "level", "logger", "message"}
    assert re.fullmatch(r"feedback-gateway: WARNING: \S+Z alone\n", as_text.getvalue())


@pytest.mark.usefixtures("restored")
def test_text_names_the_ids_before_the_message(request_at_hand: dict[str, object]) -> None:
    """An id that the endpoint gave the request later counts."""
    stream = configured(style="text")
    request_at_hand["call_id"] = "01K"

    log.error("it broke")

    ids = f"call_id=01K trace_id={TRACE.trace_id} client_call_id=mine"
    assert stream.getvalue().startswith("feedback-gateway: ERROR: ")
    assert stream.getvalue().endswith(f"Z {ids} it broke\n")


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.usefixtures("restored")
def test_traceback_is_shown(style: Format) -> None:
    """In JSON as a part of the one line."""
    stream = configured(style=style)

    try:
        int("of ours")
    except ValueError:
        log.exception("the store refused it")

    assert "ValueError: invalid literal" in stream.getvalue()
    assert "test_logs.py" in stream.getvalue()
    assert (stream.getvalue().count("\n") == 1) == (style == "json")


@pytest.mark.usefixtures("restored", "request_at_hand")
def test_request_is_one_line_where_it_is_wanted() -> None:
    """With its route and not its path."""
    quiet = configured(style="json")
    log_request(served())
    stream = configured(style="json", level="info")
    log_request(served())

    document = json.loads(stream.getvalue())
    assert quiet.getvalue() == ""
    assert document["logger"] == "feedback_gateway.requests"
    assert document["message"] == "method=POST route=/v1/{task} status=200 latency_ms=12.346 consumer=support"
    fields = {name: document[name] for name in ("method", "route", "status", "latency_ms", "consumer", "call_id")}
    assert fields == {
        "method": "POST",
        "route": "/v1/{task}",
        "status": 200,
        "latency_ms": 12.346,
        "consumer": "support",
        "call_id": "01J",
    }


@pytest.mark.usefixtures("restored")
def test_what_libraries_log_is_not_shown() -> None:
    """It may quote what a user wrote."""
    stream = configured(style="text", level="info")

    logging.getLogger("httpx").error("POST http://provider/?key=secret")

    assert stream.getvalue() == ""
