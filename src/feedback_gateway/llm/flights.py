"""One asks for what many want at once: in this process by a future, among processes by a lease. Stores nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from feedback_gateway.cache.models import RENEW_S, Leases
from feedback_gateway.calls.models import Call
from feedback_gateway.clock import Clock
from feedback_gateway.errors import DeadlineExceeded, GatewayError

T = TypeVar("T")

FIRST_WAIT_S = 0.01
LONGEST_WAIT_S = 0.1


class Flight(Generic[T]):
    """A question under way. `landed` is what it brought once it is over: None where others are to ask themselves.

    A flight whose leader left brings nothing, and leaves its place to one of those who waited. `in_vain_s` are the
    seconds in which its leader got no answer: whoever has fewer left need not ask.
    """

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.landed: T | None = None
        self.was_left = True
        self.in_vain_s = 0.0


class Flights(Generic[T]):
    """The questions of this process that are under way, by key."""

    def __init__(self, leases: Leases | None, clock: Clock) -> None:
        self._under_way: dict[bytes, Flight[T]] = {}
        self._leases = leases
        self._clock = clock

    def under_way(self, key: bytes) -> Flight[T] | None:
        """Whoever asks already."""
        return self._under_way.get(key)

    async def wait(self, flight: Flight[T], call: Call) -> None:
        """Wait until the flight is over. Raises DeadlineExceeded for a call that has no more time."""
        try:
            async with asyncio.timeout(call.deadline - self._clock.monotonic()):
                await flight.over.wait()
        except TimeoutError:
            raise late(call) from None
        if flight.in_vain_s and call.deadline - self._clock.monotonic() < flight.in_vain_s:
            raise late(call)

    @asynccontextmanager
    async def lead(self, key: bytes) -> AsyncIterator[Flight[T]]:
        """Ask for everybody in this process; how the block ends is how the flight does."""
        flight, begun = Flight[T](), self._clock.monotonic()
        self._under_way[key] = flight
        try:
            yield flight
            flight.was_left = False
        except DeadlineExceeded:
            flight.was_left, flight.in_vain_s = False, self._clock.monotonic() - begun
            raise
        except GatewayError:
            flight.was_left = False
            raise
        finally:
            del self._under_way[key]
            flight.over.set()

    @asynccontextmanager
    async def turn(self, key: bytes, call: Call) -> AsyncIterator[bytes | None]:
        """Wait until no other process asks for `key`: gives the entry that is there by then, or None, to ask.

        A process that died holds the others up for LEASE_S seconds. Raises DeadlineExceeded.
        """
        claimed, token = await self._claim(key, call)
        if self._leases is None or claimed is not True:
            yield claimed if isinstance(claimed, bytes) else None
            return
        renewing = asyncio.create_task(self._renew(self._leases, key, token))
        try:
            yield None
        finally:
            renewing.cancel()
            await self._leases.release(key, token)

    async def _claim(self, key: bytes, call: Call) -> tuple[bytes | bool | None, str]:
        """The entry, True for the lease of `token`, or None where nobody can tell."""
        token, wait_s = self._clock.new_id(), FIRST_WAIT_S
        if self._leases is None:
            return None, token
        while (claimed := await self._leases.claim(key, token)) is False:
            if self._clock.monotonic() + wait_s >= call.deadline:
                raise late(call)
            await self._clock.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
        return claimed, token

    async def _renew(self, leases: Leases, key: bytes, token: str) -> None:
        while True:
            await self._clock.sleep(RENEW_S)
            await leases.renew(key, token)


def late(call: Call) -> DeadlineExceeded:
    """The error of a call that waited for another's answer."""
    return DeadlineExceeded(f"no answer within {call.deadline - call.started:.3g} s; another call was asking for it")
