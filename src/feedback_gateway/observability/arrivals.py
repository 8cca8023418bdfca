"""Reads what a request says of where it comes from: `x-call-id`, `traceparent`, `tracestate`. What is odd is ignored.

The headers of traces are read as https://www.w3.org/TR/trace-context/ writes them.
"""

import random
import re
from collections.abc import Iterable

from feedback_gateway.observability.models import Origin, Trace

CALL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
KEY = r"[a-z0-9][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13}"
MEMBER = re.compile(rf"[ \t]*(?:({KEY})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{{0,255}}[\x21-\x2b\x2d-\x3c\x3e-\x7e][ \t]*)?")
MOST_MEMBERS = 32
MOST_STATE = 512
SAMPLED = 1
Headers = Iterable[tuple[bytes, bytes]]


def origin_of(headers: Headers, *, sample_ratio: float) -> Origin:
    """Where a request comes from; `sample_ratio` of those that bring no trace begin one that is kept."""
    call_ids: list[str] = []
    parents: list[str] = []
    states: list[str] = []
    kept = {b"x-call-id": call_ids, b"traceparent": parents, b"tracestate": states}
    for name, value in headers:
        if name in kept:
            kept[name].append(value.decode("latin-1"))
    trace = continued(parents[0], ",".join(states)) if len(parents) == 1 else None
    own = call_ids[0] if len(call_ids) == 1 and CALL_ID.fullmatch(call_ids[0]) else None
    return Origin(trace or new_trace(sample_ratio), own)


def new_trace(sample_ratio: float) -> Trace:
    """A trace that begins here."""
    ids = random_hex(24)
    return Trace(ids[:32], ids[32:], is_sampled=int(ids[:14], 16) < sample_ratio * 2**56)


def random_hex(count: int) -> str:
    """So many bytes that are unique, but no secret: `random` seeds itself anew in forked children."""
    return random.randbytes(count).hex()  # noqa: S311 asking the kernel lets other threads in


def continued(parent: str, state: str) -> Trace | None:
    """The trace that the sender began, None where `traceparent` is none."""
    match = PARENT.fullmatch(parent.strip(" \t"))
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more) or not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return Trace(
        trace_id,
        random_hex(8),
        parent_id=span_id,
        state=state if is_state(state) else None,
        is_sampled=bool(int(flags, 16) & SAMPLED),
    )


def is_state(state: str) -> bool:
    """Whether `state` is a list of vendors' entries, one a vendor."""
    if not state.strip(" \t,") or len(state) > MOST_STATE:
        return False
    members = state.split(",")
    matches = [MEMBER.fullmatch(member) for member in members]
    keys = [match[1] for match in matches if match is not None and match[1]]
    return len(members) <= MOST_MEMBERS and None not in matches and len(set(keys)) == len(keys)
