"""Items that wait to be asked together, and what they are given. Asks nobody."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from feedback_gateway.calls.models import Call, Part
from feedback_gateway.errors import GatewayError
from feedback_gateway.llm.models import Completion, CompletionRequest
from feedback_gateway.llm.tokens import BYTES_PER_TOKEN
from feedback_gateway.tasks.packed_prompt import Portion, shared_size
from feedback_gateway.tasks.twins import copied

ID_LENGTH = 6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seat:
    """An item in a pack, and where its answer goes; nobody waits any more once that is done."""

    request: CompletionRequest
    call: Call
    portion: Portion
    answer: "asyncio.Future[Completion]"


@dataclass(slots=True, eq=False)
class Table:
    """A pack that is filled, up to `text` tokens of items."""

    seats: list[Seat]
    text: int
    lingering: asyncio.Task[None] | None = None

    @property
    def taken(self) -> int:
        """Tokens of the items."""
        return sum(tokens_of(seat) for seat in self.seats)


def is_fitting(table: Table, seat: Seat) -> bool:
    """Whether the item may sit with those at the table: same prompt but for the text, same day of booking, and room."""
    first = table.seats[0]
    return (
        table.taken + tokens_of(seat) <= table.text
        and first.call.created_at.date() == seat.call.created_at.date()
        and first.portion.frame == seat.portion.frame
    )


def tokens_of(seat: Seat) -> int:
    """Tokens that the item's own text takes, about."""
    return seat.portion.size // BYTES_PER_TOKEN + 1


def unlike_ids(draw: Callable[[], str], count: int) -> list[str]:
    """Ids that nobody can know beforehand, each another."""
    ids: dict[str, None] = {}
    while len(ids) < count:
        ids[draw()[:ID_LENGTH]] = None
    return list(ids)


def pack_of(seats: Sequence[Seat]) -> Call:
    """The call that stands for all of them: it is held and paid by theirs, and is over when the first of them is."""
    calls = [seat.call for seat in seats]
    each = shared_size(seats[0].portion.frame) // len(seats)
    first = calls[0]
    return Call(
        call_id=first.call_id,
        consumer=first.consumer,
        budgets=first.budgets,
        task=first.task,
        prompt_version=first.prompt_version,
        model=first.model,
        created_at=min(call.created_at for call in calls),
        started=min(call.started for call in calls),
        deadline=min(call.deadline for call in calls),
        attempts_left=min(call.attempts_left for call in calls),
        origin=first.origin,
        parts=tuple(Part(call=seat.call, weight=seat.portion.size + each + 1) for seat in seats),
    )


def settle(seats: Sequence[Seat], asked: "asyncio.Task[Completion]") -> None:
    """Give all the same outcome."""
    if asked.cancelled():
        return
    error = asked.exception()
    for seat in seats:
        if seat.answer.done():
            continue
        if error is None:
            seat.call.deployment = asked.result().deployment
            seat.answer.set_result(asked.result())
        else:
            seat.answer.set_exception(copied(error) if isinstance(error, GatewayError) else error)


def give_up(seats: Sequence[Seat], ended: "asyncio.Task[None]") -> None:
    """Where a fault of ours ended the asking, nobody waits for ever."""
    fault = None if ended.cancelled() else ended.exception()
    for seat in seats:
        if fault is not None and not seat.answer.done():
            seat.answer.set_exception(fault)


def answer_of(completion: Completion, value: Any, part: Part) -> Completion:
    """One item's answer as if it had been asked alone, with its share of what was used."""
    usage = next((share.usage for share in reversed(part.shares) if share.usage is not None), completion.usage)
    return Completion(
        content=json.dumps(value, ensure_ascii=False),
        finish_reason="stop",
        model=completion.model,
        usage=usage,
        value=value,
        deployment=completion.deployment,
    )
