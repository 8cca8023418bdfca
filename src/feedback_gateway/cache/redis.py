"""Entries in Redis, compressed, for all processes; Redis forgets them by itself, and silence of Redis is a miss."""

import asyncio
import zlib
from contextlib import suppress

from feedback_gateway.cache.models import LEASE_S, StoreState
from feedback_gateway.redis_link.link import RedisLink, Script
from feedback_gateway.redis_link.models import RedisSilentError

PREFIX = b"feedback-gateway:cache:"
MOST_BYTES = 4_000_000
"""The largest entry: a body that would unpack to more is a miss, and nothing larger is put."""
LEVEL = 1
LARGE_BYTES = 100_000
"""From here on packing takes over a millisecond, so a thread does it."""
LONGEST_S = 10 * 365 * 86_400
NOTHING = StoreState()

CLAIM = Script("""
local entry = redis.call('get', KEYS[1])
if entry then return entry end
if redis.call('set', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
return 0
""")
RENEW = Script(
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end return 0"
)
RELEASE = Script("if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0")


class RedisStore:
    """A CacheStore, and the Leases of those who share it. One GET a hit."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    @property
    def state(self) -> StoreState:
        """Nothing is kept here."""
        return NOTHING

    async def get(self, key: bytes) -> bytes | None:
        """What was put under `key`; None also for what is no entry of ours."""
        try:
            packed = await self._link.command("GET", entry_key(key))
        except RedisSilentError:
            return None
        return await unpacked(packed)

    async def put(self, key: bytes, entry: bytes, *, ttl_s: float) -> None:
        """Keep `entry`, if Redis takes it."""
        if len(entry) > MOST_BYTES:
            return
        packed = pack(entry) if len(entry) < LARGE_BYTES else await asyncio.to_thread(pack, entry)
        milliseconds = max(1, int(min(ttl_s, LONGEST_S) * 1000))
        with suppress(RedisSilentError):
            await self._link.command("SET", entry_key(key), packed, "PX", milliseconds)

    async def claim(self, key: bytes, token: str) -> bytes | bool | None:
        """The entry, or whether `token` has the lease; what is under the key but no entry of ours gives no lease."""
        keys, milliseconds = [entry_key(key), lease_key(key)], int(LEASE_S * 1000)
        try:
            claimed = await self._link.script(CLAIM, keys, token, milliseconds)
        except RedisSilentError:
            return None
        return bool(claimed) if isinstance(claimed, int) else await unpacked(claimed)

    async def renew(self, key: bytes, token: str) -> None:
        """Keep the lease for LEASE_S more."""
        with suppress(RedisSilentError):
            await self._link.script(RENEW, [lease_key(key)], token, int(LEASE_S * 1000))

    async def release(self, key: bytes, token: str) -> None:
        """Give the lease back."""
        with suppress(RedisSilentError):
            await self._link.script(RELEASE, [lease_key(key)], token)


def entry_key(key: bytes) -> bytes:
    """Where an entry is; the braces keep its lease on the same node of a cluster."""
    return PREFIX + b"{" + key.hex().encode() + b"}"


def lease_key(key: bytes) -> bytes:
    """Where its lease is."""
    return entry_key(key) + b":lease"


def pack(entry: bytes) -> bytes:
    """Compressed, with a checksum."""
    return zlib.compress(entry, LEVEL)


def unpack(packed: bytes) -> bytes | None:
    """The entry; None where it was damaged, cut off, or made to burst."""
    decompressor = zlib.decompressobj()
    try:
        entry = decompressor.decompress(packed, MOST_BYTES)
    except zlib.error:
        return None
    return entry if decompressor.eof else None


async def unpacked(packed: object) -> bytes | None:
    """The entry in what Redis gave."""
    if not isinstance(packed, bytes):
        return None
    return unpack(packed) if len(packed) < LARGE_BYTES else await asyncio.to_thread(unpack, packed)
