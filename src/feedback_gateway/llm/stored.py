"""Answers as entries of the cache and back: bytes of one format, so that an entry of another one is a miss."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Generic

import msgspec

from feedback_gateway.llm.models import AnswerT, RequestT

FORMAT = b"\x01"
"""To be counted up when what is stored changes its meaning; a changed shape is noticed by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored(Generic[AnswerT]):
    """An answer as it was given, the events it was streamed in, what it cost in USD, and when: seconds of Unix time."""

    answer: AnswerT
    events: bytes = field(default=b"", repr=False)
    cost_usd: Decimal | None
    stored_at: float


def unchanged(answer: AnswerT, _: object) -> AnswerT:
    """Takes every answer for one."""
    return answer


class Entries(Generic[RequestT, AnswerT]):
    """Packs and unpacks what is stored; `kind` is `Stored[Completion]` or `Stored[ForwardAnswer]`.

    `proven` gives a stored answer back if it still is an answer to the request, else None.
    """

    def __init__(self, kind: Any, proven: Callable[[AnswerT, RequestT], AnswerT | None]) -> None:
        self._proven = proven
        self._encode: Callable[[Stored[AnswerT]], bytes] = msgspec.msgpack.Encoder().encode
        self._decode: Callable[[bytes], Stored[AnswerT]] = msgspec.msgpack.Decoder(kind).decode

    def pack(self, stored: Stored[AnswerT]) -> bytes | None:
        """The entry, None for what cannot be one: a number or text that no format holds."""
        try:
            return FORMAT + self._encode(stored)
        except (TypeError, ValueError, OverflowError, RecursionError):
            return None

    def unpack(self, entry: bytes, request: RequestT) -> Stored[AnswerT] | None:
        """What was stored, None for anything else that bytes can be, and for what is no answer to `request`."""
        if not entry.startswith(FORMAT):
            return None
        try:
            stored = self._decode(entry[len(FORMAT) :])
        except (msgspec.DecodeError, ValueError, ArithmeticError, RecursionError):
            return None
        answer = self._proven(stored.answer, request)
        return None if answer is None else replace(stored, answer=answer)
