"""Where a request comes from, and what is known of it once it is over."""

from dataclasses import dataclass
from hashlib import blake2b

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Trace:
    """A W3C trace context: ids are lower-case hexadecimal, 32 digits of the trace and 16 of a span.

    `span_id` is the request's own span and `parent_id` that of whoever sent it; `state` is its `tracestate`, for others
    to read. `is_sampled` tells that the trace is kept somewhere.
    """

    trace_id: str
    span_id: str
    parent_id: str | None = None
    state: str | None = None
    is_sampled: bool = False

    def headers(self, *, span_id: str) -> dict[str, str]:
        """What continues the trace from the span `span_id` at whoever is asked next."""
        headers = {"traceparent": f"00-{self.trace_id}-{span_id}-{'01' if self.is_sampled else '00'}"}
        if self.state is not None:
            headers["tracestate"] = self.state
        return headers


@dataclass(frozen=True, slots=True)
class Origin:
    """The request behind a call: its trace, and the id that its sender gave it, if any."""

    trace: Trace
    client_call_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedRequest:
    """A request that is over: nothing in it was chosen by its sender, but for its own id in `origin`.

    `method` is a known one or `other`; `route` is the template of the path, None where no route was found for it;
    `consumer` is None where nobody was let in.
    """

    method: str
    route: str | None
    status: int
    seconds: float
    call_id: str
    origin: Origin
    consumer: str | None


def method_of(sent: str) -> str:
    """One of a few words for any method."""
    return sent if sent in METHODS else "other"


def span_id_of(call_id: str, number: int = 0) -> str:
    """The span of a call (number 0) or of one of its attempts: known to everybody who knows the call."""
    return blake2b(f"{call_id}/{number}".encode(), digest_size=8).hexdigest()
