"""Every error of ours has one status and one document."""

from collections.abc import Iterator

import pytest

from feedback_gateway import errors
from feedback_gateway.api.problems import problem, status_of
from feedback_gateway.errors import GatewayError, Problem


def subclasses(kind: type[GatewayError]) -> Iterator[type[GatewayError]]:
    """Every class of the tree below `kind`."""
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from subclasses(child)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.MalformedRequest("x"), 400, "invalid-request"),
        (errors.InvalidRequest("x"), 422, "invalid-request"),
        (errors.UnknownTask("x"), 404, "unknown-task"),
        (errors.NotFound("x"), 404, "not-found"),
        (errors.MethodNotAllowed("x"), 405, "method-not-allowed"),
        (errors.TooLarge("x"), 413, "too-large"),
        (errors.UnsupportedMediaType("x"), 415, "unsupported-media-type"),
        (errors.RateLimited("x", source="gateway", scope="consumer", name="acme"), 429, "rate-limited"),
        (errors.ProviderFailed("x", retryable=False), 502, "provider-failed"),
        (errors.DeploymentLimited("x"), 502, "provider-failed"),
        (errors.ContextTooLong("x"), 502, "provider-failed"),
        (errors.InvalidModelOutput("x"), 502, "invalid-model-output"),
        (errors.Unavailable("x"), 503, "unavailable"),
        (errors.ConfigurationError("x"), 503, "unavailable"),
        (errors.DeadlineExceeded("x"), 504, "deadline-exceeded"),
    ],
)
def test_status_and_type_are_the_contracts(error: GatewayError, status: int, code: str) -> None:
    """The type ends with the code that callers branch on."""
    document = problem(error)

    assert (document["status"], document["type"].rpartition(":")[2]) == (status, code)
    assert document["detail"] == "x"


@pytest.mark.parametrize("kind", list(subclasses(GatewayError)))
def test_no_error_of_ours_is_a_500(kind: type[GatewayError]) -> None:
    """A new error class needs a row in the table."""
    assert status_of(kind.__new__(kind)) != 500


def test_places_and_call_are_named() -> None:
    """`errors` and `call_id` stand there where there are any, and only then."""
    error = errors.InvalidRequest("wrong", problems=[Problem(("items", 3, "text"), "must not be empty")])

    assert problem(error, call_id="01J") == {
        "type": "urn:feedback-gateway:problem:invalid-request",
        "title": "Invalid request",
        "status": 422,
        "detail": "wrong",
        "call_id": "01J",
        "errors": [{"loc": ["items", 3, "text"], "msg": "must not be empty"}],
    }
    assert "call_id" not in problem(errors.NotFound("x"))


def test_fault_of_ours_tells_nothing() -> None:
    """An error without a class of its own may quote anything."""
    assert "secret" not in str(problem(GatewayError("secret")))
