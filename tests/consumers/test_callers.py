"""Callers remembered for a moment: what this process changes holds at once, what another changes a moment later."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from feedback_gateway.clock import ManualClock
from feedback_gateway.consumers.callers import FRESH_S, MOST_REFUSED, Callers
from feedback_gateway.consumers.models import Consumer, Limits
from feedback_gateway.consumers.repository import ConsumerRepository, Found
from feedback_gateway.consumers.service import Consumers
from feedback_gateway.errors import Unauthorized, Unavailable

pytestmark = pytest.mark.anyio

UNKNOWN = "fg_" + "A" * 43


class CountingRepository(ConsumerRepository):
    """Counts how often a key is looked up."""

    lookups = 0

    def find_key(self, digest: str) -> Found | None:
        """Count, and look it up."""
        self.lookups += 1
        return super().find_key(digest)


@pytest.fixture
def clock() -> ManualClock:
    """Stands still."""
    return ManualClock()


@pytest.fixture
def repository(engine: Engine) -> CountingRepository:
    """The database of the process under test."""
    return CountingRepository(engine)


@pytest.fixture
def ours(repository: CountingRepository, clock: ManualClock) -> Consumers:
    """The consumers as the process under test changes them."""
    consumers = Consumers(repository, clock)
    consumers.add(Consumer(name="acme"))
    return consumers


@pytest.fixture
def others(engine: Engine, clock: ManualClock) -> Consumers:
    """The consumers as another process changes them."""
    return Consumers(ConsumerRepository(engine), clock)


@pytest.fixture
def callers(ours: Consumers, clock: ManualClock) -> Callers:
    """What is tested."""
    return Callers(ours, clock)


async def may_enter(callers: Callers, key: str | None, *, is_local: bool = False) -> bool:
    """Whether a key, or none, opens the gateway."""
    try:
        await callers.caller(key, is_local=is_local)
    except Unauthorized:
        return False
    return True


async def test_key_is_looked_up_once_a_moment(
    callers: Callers, ours: Consumers, repository: CountingRepository, clock: ManualClock
) -> None:
    """And again when that is over."""
    key = ours.create_key("acme").secret

    found = [await callers.caller(key, is_local=False) for _ in range(5)]
    within = repository.lookups
    clock.advance(FRESH_S)
    await callers.caller(key, is_local=False)

    assert {one.consumer.name for one in found} == {"acme"}
    assert (within, repository.lookups) == (1, 2)


async def test_many_who_come_at_once_share_a_lookup(
    callers: Callers, ours: Consumers, repository: CountingRepository
) -> None:
    """Also where the first of them goes away."""
    key = ours.create_key("acme").secret

    coming = [asyncio.create_task(callers.caller(key, is_local=False)) for _ in range(50)]
    await asyncio.sleep(0)
    coming[0].cancel()
    found = await asyncio.gather(*coming, return_exceptions=True)

    assert isinstance(found[0], asyncio.CancelledError)
    assert len([one for one in found if not isinstance(one, BaseException)]) == 49
    assert repository.lookups == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda consumers, key_id: consumers.revoke_key(key_id),
        lambda consumers, key_id: consumers.rotate_key(key_id),
        lambda consumers, key_id: consumers.change_key(key_id, expires_at=consumers.key(key_id).created_at),
        lambda consumers, _: consumers.disable("acme"),
    ],
    ids=["revoked", "rotated", "ended", "disabled"],
)
async def test_key_is_refused_at_once_here_and_a_moment_later_in_other_processes(
    callers: Callers, ours: Consumers, others: Consumers, clock: ManualClock, change: Callable[[Consumers, str], object]
) -> None:
    """Whatever ends it."""
    first, second = ours.create_key("acme"), ours.create_key("acme")
    assert await may_enter(callers, first.secret)
    change(ours, first.key.id)
    assert not await may_enter(callers, first.secret)
    ours.change("acme", {"disabled_at": None})
    assert await may_enter(callers, second.secret)

    change(others, second.key.id)
    clock.advance(FRESH_S)

    assert not await may_enter(callers, second.secret)


async def test_key_that_ends_is_refused_from_that_moment(callers: Callers, ours: Consumers, clock: ManualClock) -> None:
    """Though it was looked up while it held."""
    key = ours.create_key("acme", expires_at=clock.now() + timedelta(seconds=FRESH_S / 2)).secret
    assert await may_enter(callers, key)

    clock.advance(FRESH_S / 2)

    assert not await may_enter(callers, key)


async def test_changed_consumer_is_seen_at_once(callers: Callers, ours: Consumers) -> None:
    """With its new limits."""
    key = ours.create_key("acme").secret
    await callers.caller(key, is_local=False)

    ours.change("acme", {"limits": Limits(requests_per_minute=7)})

    assert (await callers.caller(key, is_local=False)).consumer.limits.requests_per_minute == 7


async def test_unknown_key_is_looked_up_once_a_moment_too(
    callers: Callers, ours: Consumers, repository: CountingRepository
) -> None:
    """And what has no form of a key never; a key made meanwhile works at once."""
    for _ in range(5):
        assert not await may_enter(callers, UNKNOWN)
        assert not await may_enter(callers, "sk-another")
    assert repository.lookups == 1

    assert await may_enter(callers, ours.create_key("acme").secret)


async def test_flood_of_unknown_keys_pushes_no_known_one_out(
    callers: Callers, ours: Consumers, repository: CountingRepository
) -> None:
    """They are kept apart, and not all of them."""
    key = ours.create_key("acme").secret
    assert await may_enter(callers, key)

    for number in range(MOST_REFUSED + 1):
        assert not await may_enter(callers, f"fg_{number:043}")
    before = repository.lookups

    assert await may_enter(callers, key)
    assert repository.lookups == before


async def test_whoever_has_no_key_is_local_until_there_is_an_admins(
    callers: Callers, ours: Consumers, others: Consumers, clock: ManualClock
) -> None:
    """At once where it was made here, a moment later where elsewhere."""
    assert await may_enter(callers, None, is_local=True)
    assert not await may_enter(callers, None, is_local=False)

    others.create_key("acme", is_admin=True)
    clock.advance(FRESH_S)

    assert not await may_enter(callers, None, is_local=True)
    assert await may_enter(callers, ours.create_key("acme", is_admin=True).secret)


async def test_admin_key_made_here_closes_the_gateway_at_once(callers: Callers, ours: Consumers) -> None:
    """Though whoever has no key was let in a moment ago."""
    assert await may_enter(callers, None, is_local=True)

    ours.create_key("acme", is_admin=True)

    assert not await may_enter(callers, None, is_local=True)


async def test_failing_database_is_told_to_each_and_not_remembered(sqlite_engine: Engine, clock: ManualClock) -> None:
    """Each of those who wait is told by an error of their own."""

    class Failing(ConsumerRepository):
        is_down = True

        def find_key(self, digest: str) -> Found | None:
            if self.is_down:
                raise Unavailable("down", retry_after=2.0)
            return super().find_key(digest)

    repository = Failing(sqlite_engine)
    consumers = Consumers(repository, clock)
    consumers.add(Consumer(name="acme"))
    key = consumers.create_key("acme").secret
    callers = Callers(consumers, clock)

    told = await asyncio.gather(*(callers.caller(key, is_local=False) for _ in range(3)), return_exceptions=True)
    repository.is_down = False

    assert [(type(one), getattr(one, "retry_after", None)) for one in told] == [(Unavailable, 2.0)] * 3
    assert len({id(one) for one in told}) == 3
    assert (await callers.caller(key, is_local=False)).consumer.name == "acme"


async def test_nothing_that_is_remembered_is_a_key(callers: Callers, ours: Consumers) -> None:
    """Nor a part of it."""
    key = ours.create_key("acme").secret
    await callers.caller(key, is_local=False)

    kept = repr(vars(callers))

    assert "acme" in kept
    assert key not in kept
    assert key[3:20] not in kept
