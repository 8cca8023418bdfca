"""The protocols of those who keep entries for a while, and of those who let one of many processes go first."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreState:
    """What is kept in this process: how many entries of how many bytes, and how many made room for others so far.

    A store that others keep counts nothing here.
    """

    entries: int = 0
    bytes: int = 0
    evicted: int = 0


class CacheStore(Protocol):
    """Keeps bytes under a key for some seconds, or for less: whatever goes wrong is a miss, never an error."""

    @property
    def state(self) -> StoreState:
        """What it holds at this moment."""
        ...

    async def get(self, key: bytes) -> bytes | None:
        """What was put under `key`, None where there is nothing any more."""
        ...

    async def put(self, key: bytes, entry: bytes, *, ttl_s: float) -> None:
        """Keep `entry` for `ttl_s` seconds at most."""
        ...


class Leases(Protocol):
    """Lets one of many processes ask for what all of them want; none is stranded by one that died."""

    async def claim(self, key: bytes, token: str) -> bytes | bool | None:
        """The entry under `key` where there is one by now, else whether `token` has the lease of it.

        None where nobody can tell: everybody goes on alone.
        """
        ...

    async def renew(self, key: bytes, token: str) -> None:
        """Keep the lease for another while, to be repeated every RENEW_S seconds."""
        ...

    async def release(self, key: bytes, token: str) -> None:
        """Let somebody else have it, unless somebody has it already."""
        ...


LEASE_S = 2.0
"""How long a process that died holds up the others."""
RENEW_S = 0.5
