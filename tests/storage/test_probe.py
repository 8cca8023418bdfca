"""What is told of the database before there is a call."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from feedback_gateway.clock import ManualClock
from feedback_gateway.errors import Unavailable
from feedback_gateway.storage import probe as probing
from feedback_gateway.storage.probe import DatabaseProbe

pytestmark = pytest.mark.anyio


class Database:
    """Fails as it is told to, or hangs until it is let go."""

    def __init__(self) -> None:
        self.looks = 0
        self.fault: Exception | None = None
        self.free = threading.Event()
        self.free.set()

    def look(self) -> None:
        """One look."""
        self.looks += 1
        self.free.wait(60)
        if self.fault is not None:
            raise self.fault


@pytest.fixture
def database() -> Iterator[Database]:
    """A database that is well."""
    made = Database()
    yield made
    made.free.set()


async def test_crowd_of_askers_is_one_look_a_second(database: Database) -> None:
    """Whoever comes within a second of the last look is told what that found."""
    clock = ManualClock()
    probe = DatabaseProbe(database.look, clock)

    crowd = await asyncio.gather(*(probe.trouble() for _ in range(20)))
    database.fault = Unavailable("the disk is full; make room")
    soon = await probe.trouble()
    clock.advance(probing.FRESH_S)
    later = await probe.trouble()
    probe.close()

    assert (set(crowd), soon, later) == ({None}, None, "the disk is full; make room")
    assert database.looks == 2


async def test_database_that_hangs_is_told_in_time_and_asked_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for ever, threads do not pile up, and when it goes on that is seen."""
    monkeypatch.setattr(probing, "PATIENCE_S", 0.01)
    clock = ManualClock()
    probe = DatabaseProbe(database.look, clock)
    database.free.clear()

    hung = [await probe.trouble() for _ in range(3)]
    database.free.set()
    while (back := await probe.trouble()) is not None:
        clock.advance(probing.FRESH_S)
    probe.close()

    assert all(told is not None and "does not answer" in told for told in hung)
    assert back is None
    assert database.looks == 1


async def test_fault_of_ours_shows_no_more_than_its_name(database: Database) -> None:
    """Its text may hold what a row holds."""
    probe = DatabaseProbe(database.look, ManualClock())
    database.fault = RuntimeError("secret")

    told = await probe.trouble()
    probe.close()

    assert told == "asking the database failed: RuntimeError"
