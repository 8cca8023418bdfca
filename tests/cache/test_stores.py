"""What every store does alike, and what is Redis' own: compression, forgetting, leases, damage and silence."""

import asyncio
import time
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feedback_gateway.cache.models import CacheStore
from feedback_gateway.cache.redis import LONGEST_S, MOST_BYTES, RedisStore, entry_key, lease_key, pack, unpack
from feedback_gateway.clock import SystemClock
from feedback_gateway.redis_link.link import open_link
from tests.servers import RedisServer

pytestmark = pytest.mark.anyio

KEY, OTHER = bytes(32), bytes([1]) * 32
PATIENCE_S = 30.0


async def test_what_was_put_is_found_until_it_is_replaced(store: CacheStore) -> None:
    """Byte for byte, and under its own key only."""
    await store.put(KEY, b"first", ttl_s=60)
    await store.put(KEY, bytes(range(256)) * 4_000, ttl_s=60)

    assert await store.get(KEY) == bytes(range(256)) * 4_000
    assert await store.get(OTHER) is None


async def test_empty_entry_is_an_entry(store: CacheStore) -> None:
    """Nothing is not the same as nothing there."""
    await store.put(KEY, b"", ttl_s=60)

    assert await store.get(KEY) == b""


async def test_what_has_run_out_is_gone(store: CacheStore) -> None:
    """After its time, by its store's own clock."""
    await store.put(KEY, b"short", ttl_s=0.02)

    until = time.monotonic() + PATIENCE_S
    while await store.get(KEY) is not None:
        assert time.monotonic() < until


async def test_redis_is_asked_once_a_hit_and_keeps_it_compressed(redis_server: RedisServer, shared: RedisStore) -> None:
    """One GET; a text takes a fraction of its size, and Redis will forget it by itself."""
    await shared.put(KEY, b"the same words again " * 500, ttl_s=60)
    before = redis_server.calls("get")

    assert await shared.get(KEY) is not None

    assert redis_server.calls("get") == before + 1
    with redis_server.client() as client:
        assert client.strlen(entry_key(KEY).decode()) < 500
        assert 0 < client.pttl(entry_key(KEY).decode()) <= 60_000


async def test_any_time_to_live_is_one_that_redis_takes(redis_server: RedisServer, shared: RedisStore) -> None:
    """Too short is short, too long is long."""
    await shared.put(KEY, b"long", ttl_s=1e300)
    await shared.put(OTHER, b"short", ttl_s=1e-9)

    assert await shared.get(KEY) == b"long"
    with redis_server.client() as client:
        assert client.pttl(entry_key(KEY).decode()) <= LONGEST_S * 1000


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"no zlib at all",
        zlib.compress(b"cut off" * 100)[:-3],
        zlib.compress(b"damaged" * 100)[:-1] + b"!",
        zlib.compress(bytes(MOST_BYTES + 1)),
        zlib.compress(bytes(500 * MOST_BYTES // 10)),
    ],
    ids=["nothing", "another format", "cut off", "damaged", "too large", "made to burst"],
)
async def test_entry_that_is_none_of_ours_is_a_miss(
    redis_server: RedisServer, shared: RedisStore, packed: bytes
) -> None:
    """Whoever wrote it there; and it keeps nobody from asking."""
    with redis_server.client() as client:
        client.set(entry_key(KEY), packed)

    assert await shared.get(KEY) is None
    assert await shared.claim(KEY, "token") is None


@given(st.binary(max_size=300))
def test_no_bytes_make_unpacking_fail(packed: bytes) -> None:
    """They are an entry or nothing."""
    entry = unpack(packed)

    assert entry is None or zlib.decompress(packed).startswith(entry)


@given(st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_packed_is_unpacked(entry: bytes) -> None:
    """To the byte."""
    assert unpack(pack(entry)) == entry


async def test_entry_of_another_type_is_a_miss(redis_server: RedisServer, shared: RedisStore) -> None:
    """A list under our key is no entry, and no error to a caller."""
    with redis_server.client() as client:
        client.rpush(entry_key(KEY), "a", "b")

    assert await shared.get(KEY) is None


async def test_lease_is_one_token_s_until_it_is_released(shared: RedisStore) -> None:
    """Nobody else can release it."""
    assert await shared.claim(KEY, "first") is True
    assert await shared.claim(KEY, "second") is False

    await shared.release(KEY, "second")
    assert await shared.claim(KEY, "second") is False

    await shared.release(KEY, "first")
    assert await shared.claim(KEY, "second") is True


async def test_claim_gives_the_entry_that_is_there_by_now(shared: RedisStore) -> None:
    """In one question, so that no answer is missed in between."""
    await shared.put(KEY, b"answer", ttl_s=60)

    assert await shared.claim(KEY, "late") == b"answer"


async def test_lease_of_the_dead_runs_out_and_a_renewed_one_does_not(
    redis_server: RedisServer, shared: RedisStore
) -> None:
    """Within two seconds; a renewal begins them again, for the lease's owner only."""
    await shared.claim(KEY, "token")
    with redis_server.client() as client:
        assert 0 < client.pttl(lease_key(KEY).decode()) <= 2_000
        client.pexpire(lease_key(KEY).decode(), 100_000)

        await shared.renew(KEY, "somebody else")
        assert client.pttl(lease_key(KEY).decode()) > 2_000

        await shared.renew(KEY, "token")
        assert client.pttl(lease_key(KEY).decode()) <= 2_000


@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_silent_redis_is_a_miss_and_no_error(redis_server: RedisServer, fault: str) -> None:
    """Everybody goes on alone, and the entries are there again when Redis is."""
    async with open_link(redis_server.url, clock=SystemClock()) as link:
        store = RedisStore(link)
        if fault == "killed":
            redis_server.kill()
        else:
            redis_server.freeze()

        assert await store.get(KEY) is None
        assert await store.claim(KEY, "token") is None
        await asyncio.gather(store.put(KEY, b"x", ttl_s=60), store.renew(KEY, "token"), store.release(KEY, "token"))

        if fault == "frozen":
            redis_server.thaw()
