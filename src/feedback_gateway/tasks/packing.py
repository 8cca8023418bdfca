"""Puts several items of one request to a model in one call, and those that it failed in smaller ones, down to one.

What an item means alone, its call, cache, checks and price, is as ever: only the question is shared.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from feedback_gateway.calls.models import Call
from feedback_gateway.calls.shares import share_out
from feedback_gateway.clock import Clock
from feedback_gateway.errors import (
    BudgetExceeded,
    ContentRefused,
    ContextTooLong,
    CoolingDown,
    GatewayError,
    InvalidModelOutput,
    ProviderFailed,
    RateLimited,
    TaskUnsupported,
    TooLarge,
)
from feedback_gateway.llm.models import Completion, CompletionClient, CompletionRequest
from feedback_gateway.llm.tokens import BYTES_PER_TOKEN
from feedback_gateway.prompts.models import Prompt
from feedback_gateway.tasks.pack_sizes import PackSizes, Window
from feedback_gateway.tasks.packed_prompt import packed, portion_of, read_answers, shared_size
from feedback_gateway.tasks.room import Room
from feedback_gateway.tasks.seats import (
    Seat,
    Table,
    answer_of,
    give_up,
    is_fitting,
    pack_of,
    settle,
    tokens_of,
    unlike_ids,
)

LINGER_S = 0.01
"""How long a pack that is not full waits, after each item that comes, for another."""
UNANSWERED = (ContextTooLong.code, ContentRefused.code, TaskUnsupported.code)
"""Errors of attempts that an item alone need not meet."""
NO_FLAW_OF_PACKS = (BudgetExceeded, CoolingDown, RateLimited)


@dataclass(slots=True)
class Tally:
    """What packing has come to so far in this process: `reasked` counts items each time that a pack failed them."""

    packs: int = 0
    items: int = 0
    reasked: int = 0
    foreign: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """What packs of all requests share. `windows` are by alias; one that is not there is never packed for."""

    windows: Mapping[str, Window]
    new_fence: Callable[[], str]
    clock: Clock
    random: Random
    sizes: PackSizes = field(default_factory=PackSizes)
    tally: Tally = field(default_factory=Tally)
    running: set[asyncio.Task[None]] = field(default_factory=set)

    def packer(self, prompt: Prompt, alias: str, *, concurrency: int) -> "Packer | None":
        """Whoever packs one request's items, `concurrency` model calls at the same time; None where nobody does."""
        window = self.windows.get(alias)
        if window is None or prompt.batch == 1:
            return None
        most = window.most_items(batch=prompt.batch, max_tokens=prompt.max_tokens)
        return Packer(self, prompt.digest, alias, most=most, window=window, concurrency=concurrency)


class Packer:
    """Gathers the items of one request; `room` is what they pass before, so that few wait for a model call."""

    def __init__(
        self, packing: Packing, prompt: str, alias: str, *, most: int, window: Window, concurrency: int
    ) -> None:
        self._packing = packing
        self._about = (prompt, alias)
        self._most = most
        self._window = window
        self._slots = asyncio.Semaphore(concurrency)
        self._tables: list[Table] = []
        self.room = Room(lambda: concurrency * self.size)

    @property
    def size(self) -> int:
        """How many items are put together now."""
        return self._packing.sizes.size(*self._about, most=self._most)

    async def ask(self, request: CompletionRequest, call: Call, client: CompletionClient) -> Completion:
        """Answer one item, with those that come at the same time. Raises what the client raises."""
        portion = portion_of(request) if self.size > 1 else None
        if portion is None:
            return await self._alone(request, call, client)
        seat = Seat(request=request, call=call, portion=portion, answer=asyncio.get_running_loop().create_future())
        text = self._window.most_text(shared=shared_size(portion.frame) // BYTES_PER_TOKEN)
        if tokens_of(seat) > text // 2:
            return await self._alone(request, call, client)
        table = next((one for one in self._tables if is_fitting(one, seat)), None)
        if table is None:
            table = Table([], text)
            self._tables.append(table)
            table.lingering = asyncio.create_task(self._linger(table, client))
        table.seats.append(seat)
        if len(table.seats) >= self.size:
            self._close(table, client)
        return await seat.answer

    def leave(self) -> None:
        """The request is over: nobody waits for what has not been asked."""
        for table in self._tables:
            if table.lingering is not None:
                table.lingering.cancel()
        self._tables.clear()

    async def _linger(self, table: Table, client: CompletionClient) -> None:
        """Close the table when nobody has come for a while."""
        seen = 0
        while seen != len(table.seats):
            seen = len(table.seats)
            await self._packing.clock.sleep(LINGER_S)
        table.lingering = None
        self._close(table, client)

    def _close(self, table: Table, client: CompletionClient) -> None:
        self._tables.remove(table)
        if table.lingering is not None:
            table.lingering.cancel()
        self._start(table.seats, client)

    def _start(self, seats: Sequence[Seat], client: CompletionClient) -> None:
        """Ask for `seats` in a task that their calls wait for before they are logged."""
        seats = [seat for seat in seats if not seat.answer.done()]
        if not seats:
            return
        asking = self._ask_one(seats[0], client) if len(seats) == 1 else self._ask_all(seats, client)
        task = asyncio.create_task(asking)
        self._packing.running.add(task)
        task.add_done_callback(self._packing.running.discard)
        task.add_done_callback(lambda ended: give_up(seats, ended))
        for seat in seats:
            seat.call.pending.add(task)
            task.add_done_callback(seat.call.pending.discard)

    async def _alone(self, request: CompletionRequest, call: Call, client: CompletionClient) -> Completion:
        """Ask as if there were no packs."""
        async with self._slots:
            completion = await client.complete(request, call)
        self._packing.sizes.note(*self._about, most=self._most, asked=1, failed=0)
        return completion

    async def _ask_one(self, seat: Seat, client: CompletionClient) -> None:
        """The last resort of an item that packs have failed, or the only one that came."""
        alone = pack_of([seat])  # what was tried before was another question
        await self._awaited(
            [seat], self._alone(seat.request, alone, client), alone, deliver=lambda asked: settle([seat], asked)
        )

    async def _ask_all(self, seats: list[Seat], client: CompletionClient) -> None:
        """One pack: ask, share out what it costs, give the answers, and ask again for those that have none."""
        self._packing.random.shuffle(seats)
        ids = unlike_ids(self._packing.new_fence, len(seats))
        portions = [seat.portion for seat in seats]
        request = packed([seat.request for seat in seats], portions, ids, fence=self._packing.new_fence())
        pack = pack_of(seats)
        self._packing.tally.packs += 1
        self._packing.tally.items += len(seats)

        async def ask() -> Completion:
            async with self._slots:
                return await client.complete(request, pack)

        await self._awaited(seats, ask(), pack, deliver=lambda asked: self._deliver(asked, seats, ids, pack, client))

    async def _awaited(
        self,
        seats: Sequence[Seat],
        asking: Any,
        call: Call,
        *,
        deliver: Callable[[asyncio.Task[Completion]], None],
    ) -> None:
        """Ask until nobody waits any more; end when all attempts have settled, so that what they cost is known."""
        asked: asyncio.Task[Completion] = asyncio.create_task(asking)

        def left(_: object) -> None:
            if all(seat.answer.done() for seat in seats):
                asked.cancel()

        for seat in seats:
            seat.answer.add_done_callback(left)
        try:
            await asyncio.wait({asked})
            share_out_ended(call)
            deliver(asked)
            while call.pending:
                await asyncio.wait(call.pending)
        finally:
            asked.cancel()
            for task in call.pending:
                task.cancel()
            share_out_ended(call)
            for seat in seats if not asked.done() or asked.cancelled() else ():
                seat.answer.cancel()

    def _deliver(
        self, asked: "asyncio.Task[Completion]", seats: list[Seat], ids: list[str], pack: Call, client: CompletionClient
    ) -> None:
        """Give each seat its answer or the error that all have met; the others are asked again."""
        if asked.cancelled():
            return
        error = asked.exception()
        if isinstance(error, GatewayError) and not is_the_packs(error, pack):  # a fault of ours may be one item's
            if not isinstance(error, NO_FLAW_OF_PACKS):
                self._note(len(seats), failed=len(seats))
            settle(seats, asked)
            return
        failed = seats if error is not None else self._answered(asked.result(), seats, ids, pack)
        if not isinstance(error, BudgetExceeded):
            self._note(len(seats), failed=len(failed))
        size = 1 if any(one.error == TaskUnsupported.code for one in pack.attempts) else max(1, len(seats) // 2)
        self._packing.tally.reasked += len(failed)
        for place in range(0, len(failed), size):
            self._start(failed[place : place + size], client)

    def _answered(self, completion: Completion, seats: list[Seat], ids: list[str], pack: Call) -> list[Seat]:
        """Give the answers that there are; who has none."""
        texts = {one: seat.request.items[0]["text"] for one, seat in zip(ids, seats, strict=True)}
        reading = read_answers(completion.content, texts, seats[0].portion.frame.output_schema)
        self._packing.tally.foreign += reading.foreign
        for one, part in zip(ids, pack.parts, strict=True):
            part.flaw = reading.flaws.get(one)
            part.call.deployment = pack.deployment
        share_out(pack)
        failed = []
        for one, seat, part in zip(ids, seats, pack.parts, strict=True):
            if one not in reading.values:
                failed.append(seat)
            elif not seat.answer.done():
                seat.answer.set_result(answer_of(completion, reading.values[one], part))
        return failed

    def _note(self, asked: int, *, failed: int) -> None:
        self._packing.sizes.note(*self._about, most=self._most, asked=asked, failed=failed)


def share_out_ended(call: Call) -> None:
    """Share out what a pack has come to, whoever still waits."""
    for attempt in call.attempts:
        if attempt.status == "running":
            attempt.status = "abandoned"
    share_out(call)


def is_the_packs(error: GatewayError, pack: Call) -> bool:
    """Whether fewer items may be answered where all of them were not."""
    if isinstance(error, BudgetExceeded | InvalidModelOutput | TooLarge):
        return True
    if any(attempt.error in UNANSWERED for attempt in pack.attempts):
        return True
    return isinstance(error, ProviderFailed) and not error.retryable
