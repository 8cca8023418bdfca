"""Keeps background work going in this process: claims what is due, takes over from the dead, loads the engine late."""

import asyncio
import logging
import math
from contextlib import suppress
from random import Random

from feedback_gateway.calls.retention import to_its_end
from feedback_gateway.clock import Clock
from feedback_gateway.errors import GatewayError
from feedback_gateway.jobs.analysis import Analyst
from feedback_gateway.jobs.engine import Engine
from feedback_gateway.jobs.repository import RunRepository
from feedback_gateway.storage.liveness import Liveness

logger = logging.getLogger(__name__)

TICK_S = 1.0
LOOK_S = 2.0
"""How often it is looked for processes that died."""
LOOK_AFTER_S = 60.0
"""How long a bundle may be without an outcome until the engine is asked after it."""
END_S = 10


class Jobs:
    """Background work of one process, once `run` is awaited. One event loop only."""

    def __init__(
        self,
        analyst: Analyst,
        runs: RunRepository,
        liveness: Liveness,
        *,
        database_url: str,
        batch: int,
        concurrency: int,
        clock: Clock,
    ) -> None:
        self._analyst = analyst
        self._runs = runs
        self._liveness = liveness
        self._database_url = database_url
        self._batch = batch
        self._concurrency = concurrency
        self._clock = clock
        self._awake = asyncio.Event()
        self._engine: Engine | None = None
        self._claimed: set[str] = set()
        self._in_work = 0
        self._held: dict[str | None, float] = {}
        self._looked_at = -math.inf

    def wake(self) -> None:
        """Say that there is something to do."""
        self._awake.set()

    async def run(self) -> None:
        """Work for ever; a sick database is asked again."""
        spread = Random()  # noqa: S311 - keeps processes apart, and no secret
        try:
            while True:
                self._awake.clear()
                try:
                    await self._turn()
                except GatewayError as error:
                    logger.debug("background work waits: %s", error.detail)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._awake.wait(), TICK_S * spread.uniform(0.8, 1.2))
        finally:
            await self._close()

    async def _turn(self) -> None:
        """Do once what is to be done."""
        engine = self._engine
        if engine is None:
            if not await asyncio.to_thread(self._runs.is_anything_open):
                return
            engine = await self._opened()
            if engine is None:
                return
        if self._clock.monotonic() - self._looked_at >= LOOK_S:
            self._looked_at = self._clock.monotonic()
            await to_its_end(self._look, engine)
        await self._claim(engine)

    async def _opened(self) -> Engine | None:
        work, loop = self._work, asyncio.get_running_loop()
        opening = asyncio.to_thread(
            Engine.open,
            self._database_url,
            work,
            loop,
            executor_id=self._liveness.id,
            concurrency=self._concurrency,
        )
        opened = asyncio.ensure_future(opening)
        try:
            self._engine = await asyncio.shield(opened)
        except asyncio.CancelledError:
            self._engine = await opened
            raise
        return self._engine

    def _look(self, engine: Engine) -> int:
        """Take over what the dead have left, and look after what should be done by now; how many. Blocks."""
        if taken := engine.take_over(self._liveness.is_alive):
            logger.warning("the background work of %d processes that died was taken over", taken)
        for bundle in self._runs.overdue():
            if not engine.is_in_work(bundle):
                self._runs.release(bundle)
            else:
                self._runs.look_after(bundle, again_s=LOOK_AFTER_S)
        engine.clear()
        return taken

    async def _claim(self, engine: Engine) -> None:
        """Queue what is due, but no more than this process can begin soon: what is queued heeds no limit any more."""
        if self._claimed:
            self._claimed = await asyncio.to_thread(self._runs.unfinished, self._claimed)
        while len(self._claimed) <= self._concurrency:
            without = self._waiting()
            if None in without:
                return
            names = [name for name in without if name is not None]
            bundle = await asyncio.to_thread(
                self._runs.claim, most=self._batch, look_after_s=LOOK_AFTER_S, without=names
            )
            if bundle is None:
                return
            self._claimed.add(bundle)
            await asyncio.to_thread(engine.enqueue, bundle)

    def _waiting(self) -> set[str | None]:
        """Who has to wait at this moment."""
        now = self._clock.monotonic()
        self._held = {name: until for name, until in self._held.items() if until > now}
        return set(self._held)

    def _hold(self, consumer: str | None, seconds: float) -> None:
        until = self._clock.monotonic() + seconds
        self._held[consumer] = max(until, self._held.get(consumer, until))

    async def _work(self, bundle: str) -> None:
        self._in_work += 1
        try:
            await self._analyst.analyse(bundle, hold=self._hold)
        finally:
            self._in_work -= 1
            self._awake.set()

    async def _close(self) -> None:
        if self._engine is not None:
            engine, self._engine = self._engine, None
            await asyncio.shield(asyncio.to_thread(engine.close, within_s=END_S if self._in_work else 0))
