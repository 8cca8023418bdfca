"""A shelf never grows over its bounds, gives nothing whose time is over, and forgets the longest unused first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback_gateway.cache.memory import MemoryStore
from feedback_gateway.cache.shelf import OVERHEAD_BYTES, SWEPT, Shelf
from feedback_gateway.clock import ManualClock

MEGABYTE = 1_000_000


def shelf(*, max_bytes: int = 10_000, max_entries: int = 100, clock: ManualClock | None = None) -> Shelf[str]:
    """A shelf of strings."""
    return Shelf(max_bytes=max_bytes, max_entries=max_entries, now=(clock or ManualClock()).monotonic)


def key(number: int) -> bytes:
    """A key as long as real ones."""
    return number.to_bytes(32, "big")


@given(
    st.lists(
        st.tuples(st.integers(0, 8), st.integers(0, 2_000), st.floats(0, 20), st.floats(0, 5), st.booleans()),
        max_size=60,
    )
)
def test_bounds_hold_and_nothing_outlives_its_time(steps: list[tuple[int, int, float, float, bool]]) -> None:
    """Whatever is put, looked for and let pass; what is found is what was put last under that key."""
    clock = ManualClock()
    kept = shelf(max_bytes=6_000, max_entries=5, clock=clock)
    last: dict[int, tuple[str, float]] = {}
    for turn, (number, size, ttl_s, pause_s, is_put) in enumerate(steps):
        clock.advance(pause_s)
        if is_put:
            kept.put(key(number), f"value {turn}", size=size, ttl_s=ttl_s)
            last[number] = (f"value {turn}", clock.monotonic() + ttl_s)
        found = kept.get(key(number))

        assert found is None or (found == last[number][0] and clock.monotonic() < last[number][1])
        assert kept.state.bytes <= 6_000
        assert kept.state.entries <= 5


async def fill(store: MemoryStore, count: int) -> None:
    """Put so many entries of a megabyte."""
    for number in range(count):
        await store.put(key(number), bytes(MEGABYTE), ttl_s=60)


@pytest.mark.anyio
async def test_large_entries_are_bounded_in_bytes_not_in_number() -> None:
    """A hundred entries of a megabyte in ten megabytes: nine stay, the latest."""
    store = MemoryStore(max_bytes=10 * MEGABYTE, max_entries=1_000, now=ManualClock().monotonic)

    await fill(store, 100)

    assert store.state.entries == 9
    assert store.state.bytes == 9 * (MEGABYTE + OVERHEAD_BYTES)
    assert store.state.evicted == 91
    assert await store.get(key(90)) is None
    assert await store.get(key(99)) == bytes(MEGABYTE)


def test_what_is_larger_than_all_is_not_kept_and_costs_nobody_their_place() -> None:
    """Nor does what was there under its key stay, which it was to replace."""
    kept = shelf(max_bytes=1_000)
    kept.put(key(1), "small", size=5, ttl_s=60)
    kept.put(key(2), "old", size=3, ttl_s=60)

    kept.put(key(2), "too large", size=1_001, ttl_s=60)

    assert kept.get(key(1)) == "small"
    assert kept.get(key(2)) is None


def test_longest_unused_goes_first() -> None:
    """A look is a use."""
    kept = shelf(max_entries=2)
    kept.put(key(1), "one", size=1, ttl_s=60)
    kept.put(key(2), "two", size=1, ttl_s=60)
    kept.get(key(1))

    kept.put(key(3), "three", size=1, ttl_s=60)

    assert kept.get(key(2)) is None
    assert kept.get(key(1)) == "one"


def test_expired_entries_are_swept_a_few_at_a_time() -> None:
    """No put pays for all that has run out before it."""
    clock = ManualClock()
    kept = shelf(max_bytes=MEGABYTE, max_entries=1_000, clock=clock)
    for number in range(100):
        kept.put(key(number), "old", size=3, ttl_s=1)
    clock.advance(2)

    kept.put(key(1_000), "new", size=3, ttl_s=60)

    assert kept.state.entries == 100 - SWEPT + 1
    for number in range(20):
        kept.put(key(2_000 + number), "new", size=3, ttl_s=60)
    assert kept.state.entries == 21
    assert kept.state.evicted == 0


def test_shelf_without_room_keeps_nothing() -> None:
    """The cache is off."""
    kept = shelf(max_entries=0)

    kept.put(key(1), "one", size=1, ttl_s=60)

    assert kept.get(key(1)) is None
