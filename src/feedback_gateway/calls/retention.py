"""Deletes what has been kept for its time, a few rows a transaction, so that nobody who writes waits for long.

The database's file does not shrink: what is freed is used again, by SQLite and by PostgreSQL alike.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

from sqlalchemy import Delete, Engine, Select, Table, and_, bindparam, delete, select
from sqlalchemy.sql import ColumnElement

from feedback_gateway.calls.models import retrieve
from feedback_gateway.calls.rollups import GRAINS
from feedback_gateway.calls.spans import DAY, before, start_of
from feedback_gateway.calls.tables import calls, usage_rollups
from feedback_gateway.clock import Clock
from feedback_gateway.errors import GatewayError
from feedback_gateway.ledger import periods
from feedback_gateway.ledger.models import Period
from feedback_gateway.ledger.tables import ledger, spend
from feedback_gateway.storage.engine import writing
from feedback_gateway.storage.locks import try_lock_name

logger = logging.getLogger(__name__)

BATCH_ROWS = 1_000
PAUSE_S = 0.05
FIRST_S = 10.0
EVERY_S = 3600.0
PASSING: tuple[Period, ...] = ("day", "week", "month")


@dataclass(frozen=True, slots=True)
class Expired:
    """Rows of `table` that have been kept for their time, by the age of `moment`; others go with them by cascade."""

    table: Table
    moment: ColumnElement[datetime]
    condition: ColumnElement[bool]

    def oldest(self, count: int) -> Select[Any]:
        """A query for the keys of `count` of them."""
        keys = [column.label(f"old_{column.name}") for column in self.table.primary_key]
        return select(*keys).where(self.condition).order_by(self.moment).limit(count)

    def deletion(self) -> Delete:
        """A statement that deletes the row of one such key."""
        return delete(self.table).where(
            *(column == bindparam(f"old_{column.name}") for column in self.table.primary_key)
        )


def expired(now: datetime, *, log: timedelta, rollups: timedelta) -> list[Expired]:
    """What is to be deleted: calls and lines of the ledger that are older than `log`, sums that are than `rollups`.

    A call goes before its lines. Sums go by whole days, those of budgets by their periods, when all of it is too old.
    """
    logged, counted = before(now, log), before(now, rollups)
    hours, sums = usage_rollups.c, spend.c
    return [
        Expired(calls, calls.c.created_at, calls.c.created_at < logged),
        Expired(ledger, ledger.c.created_at, ledger.c.created_at < logged),
        *(
            Expired(
                usage_rollups,
                hours.starts_at,
                and_(hours.grain == grain, hours.starts_at < start_of(counted, DAY)),
            )
            for grain in GRAINS
        ),
        *(
            Expired(
                spend,
                sums.starts_at,
                and_(sums.period == period, sums.starts_at < periods.start_of(period, counted)),
            )
            for period in PASSING
        ),
    ]


class Retention:
    """Deletes calls after `log`, and their sums by hour, day and period after `rollups`."""

    def __init__(self, engine: Engine, clock: Clock, *, log: timedelta, rollups: timedelta) -> None:
        self._engine = engine
        self._clock = clock
        self._log = log
        self._rollups = rollups

    async def prune(self) -> int:
        """Delete all that is to be deleted now, oldest first; how many rows, without those that went by cascade.

        Ends early where another process is at it. Raises Unavailable or ConfigurationError where the database fails;
        what is deleted by then stays so.
        """
        deleted = 0
        for rows in expired(self._clock.now(), log=self._log, rollups=self._rollups):
            while count := await to_its_end(self._delete_some, rows):
                deleted += count
                await self._clock.sleep(PAUSE_S)
        return deleted

    def _delete_some(self, rows: Expired) -> int:
        with writing(self._engine) as connection:
            if not try_lock_name(connection, "retention"):
                return 0
            # Key by key, as PostgreSQL may read the whole table for a set of them.
            keys = [dict(key) for key in connection.execute(rows.oldest(BATCH_ROWS)).mappings()]
            if keys:
                connection.execute(rows.deletion(), keys)
            return len(keys)


async def watch_retention(prune: Callable[[], Awaitable[int]], clock: Clock, random: Random) -> None:
    """Call `prune` soon and then every hour, for ever; processes that start together do not come together."""
    await clock.sleep(random.uniform(0.5, 1.5) * FIRST_S)
    while True:
        try:
            if deleted := await prune():
                logger.info("%d rows were older than they are kept, and deleted", deleted)
        except GatewayError as error:
            logger.warning("rows that are older than they are kept wait for the next hour: %s", error.detail)
        await clock.sleep(random.uniform(0.9, 1.1) * EVERY_S)


async def to_its_end(work: Callable[..., int], *arguments: object) -> int:
    """Run `work` in a thread, also to its end where the caller is cancelled: the database is not closed under it."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    running.add_done_callback(retrieve)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise
