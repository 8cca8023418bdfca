"""What a request says of where it comes from is taken where it is well-formed, and else ignored."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback_gateway.observability.arrivals import origin_of
from feedback_gateway.observability.models import Origin

PARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
HEX = "0123456789abcdef"


def read(*headers: tuple[bytes, bytes], sample_ratio: float = 0.0) -> Origin:
    """The origin of a request with these headers."""
    return origin_of([(b"host", b"gateway"), *headers], sample_ratio=sample_ratio)


def test_trace_of_the_sender_goes_on_under_a_new_span() -> None:
    """With its decision to keep it, and what vendors noted."""
    origin = read((b"traceparent", PARENT), (b"tracestate", b"congo=t61rc, rojo=00f0"))

    trace = origin.trace
    assert (trace.trace_id, trace.parent_id) == ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
    assert trace.span_id not in ("00f067aa0ba902b7", "0" * 16)
    assert (trace.is_sampled, trace.state) == (True, "congo=t61rc, rojo=00f0")
    assert trace.headers(span_id="b" * 16) == {
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-bbbbbbbbbbbbbbbb-01",
        "tracestate": "congo=t61rc, rojo=00f0",
    }


@pytest.mark.parametrize(
    "parent",
    [
        b"",
        b"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        b"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        b"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nx: y",
        b"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
        b"\xff" * 55,
    ],
)
def test_malformed_parent_begins_a_new_trace(parent: bytes) -> None:
    """As the specification asks; its state goes with it."""
    trace = read((b"traceparent", parent), (b"tracestate", b"a=b")).trace

    assert trace.trace_id != "4bf92f3577b34da6a3ce929d0e0e4736"
    assert (trace.parent_id, trace.state, trace.is_sampled) == (None, None, False)


def test_parent_of_a_later_version_is_read_as_far_as_it_is_known() -> None:
    """What stands behind the flags is another version's."""
    trace = read((b"traceparent", b"cc" + PARENT[2:] + b"-what-comes")).trace

    assert trace.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"


def test_two_parents_are_none() -> None:
    """Nobody knows which one was meant."""
    assert read((b"traceparent", PARENT), (b"traceparent", PARENT)).trace.parent_id is None


@pytest.mark.parametrize(
    "state",
    [
        b"",
        b",",
        b"a",
        b"a=",
        b"a=b=c",
        b"A=b",
        b"a=b,a=c",
        b"a=\x00",
        b"a=\xff",
        b"a=" + b"x" * 512,
        b",".join(b"k%d=v" % number for number in range(33)),
    ],
)
def test_malformed_state_is_dropped_and_the_trace_kept(state: bytes) -> None:
    """The specification's limits, which nobody's request should grow beyond."""
    trace = read((b"traceparent", PARENT), (b"tracestate", state)).trace

    assert (trace.trace_id, trace.state) == ("4bf92f3577b34da6a3ce929d0e0e4736", None)


def test_states_in_several_headers_are_one_list() -> None:
    """In their order."""
    trace = read((b"traceparent", PARENT), (b"tracestate", b"a=1"), (b"tracestate", b"t@b=2")).trace

    assert trace.state == "a=1,t@b=2"


@given(
    st.text(HEX, min_size=32, max_size=32).filter(lambda one: one.strip("0")),
    st.text(HEX, min_size=16, max_size=16).filter(lambda one: one.strip("0")),
    st.integers(0, 255),
)
def test_what_is_sent_on_is_read_back(trace_id: str, span_id: str, flags: int) -> None:
    """Only the flag that is known goes on."""
    first = read((b"traceparent", f"00-{trace_id}-{span_id}-{flags:02x}".encode())).trace
    sent = first.headers(span_id=first.span_id)["traceparent"]
    second = read((b"traceparent", sent.encode())).trace

    assert (second.trace_id, second.parent_id, second.is_sampled) == (trace_id, first.span_id, bool(flags & 1))


@given(st.lists(st.tuples(st.sampled_from([b"traceparent", b"tracestate", b"x-call-id"]), st.binary(max_size=80))))
def test_no_header_breaks_a_request_or_another_header(headers: list[tuple[bytes, bytes]]) -> None:
    """Whatever comes, what is sent on is well-formed."""
    origin = read(*headers)
    sent = origin.trace.headers(span_id=origin.trace.span_id)

    assert read((b"traceparent", sent["traceparent"].encode())).trace.trace_id == origin.trace.trace_id
    assert all(value.isascii() and value.isprintable() for value in sent.values())
    assert len(origin.client_call_id or "") <= 64
    assert (origin.client_call_id or "x").isascii()
    assert (origin.client_call_id or "x")[0].isalnum()


@pytest.mark.parametrize("given_id", ["a", "a.b-c_D9", "01JNXVSMCA0123456789ABCDEF", "x" * 64])
def test_id_of_the_sender_is_taken(given_id: str) -> None:
    """A ULID, a UUID, or whatever else is short and plain."""
    assert read((b"x-call-id", given_id.encode())).client_call_id == given_id


@pytest.mark.parametrize(
    "given_id", [b"", b"x" * 65, b"a b", b"a\nb", b"<b>", b"\xc3\xa9", b"a;b", b"a@b.example", b".."]
)
def test_odd_id_is_ignored(given_id: bytes) -> None:
    """A request is not refused for it."""
    assert read((b"x-call-id", given_id)).client_call_id is None


def test_two_ids_are_none() -> None:
    """Nobody knows which one was meant."""
    assert read((b"x-call-id", b"a"), (b"x-call-id", b"b")).client_call_id is None


@pytest.mark.parametrize(("ratio", "kept"), [(0.0, 0), (1.0, 200)])
def test_share_of_new_traces_is_kept(ratio: float, kept: int) -> None:
    """None, or all."""
    assert sum(read(sample_ratio=ratio).trace.is_sampled for _ in range(200)) == kept


def test_sender_decides_whether_its_trace_is_kept() -> None:
    """A trace is kept in all its parts or in none."""
    left_out = read((b"traceparent", PARENT[:-2] + b"00"), sample_ratio=1.0)
    kept = read((b"traceparent", PARENT), sample_ratio=0.0)

    assert (left_out.trace.is_sampled, kept.trace.is_sampled) == (False, True)
