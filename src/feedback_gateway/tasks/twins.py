"""Asks once for texts of one request that are the same but for their form; each answer is checked by itself."""

import asyncio
import json
import unicodedata
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from feedback_gateway.calls.models import Call
from feedback_gateway.errors import GatewayError
from feedback_gateway.llm.models import Completion, CompletionClient, CompletionRequest

E = TypeVar("E", bound=GatewayError)
MOST_KNOWN = 1_000
"""Of a file of any length as many as of the longest request."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the first of them was answered, by which deployment, and what it cost in USD."""

    completion: Completion
    deployment: str | None
    cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class First:
    """A question that somebody asks or asked already. It keeps the taxonomy, whose identity is a part of the key."""

    told: "asyncio.Future[Told]"
    taxonomy: object


class Twins:
    """Gives every item whose text was asked before, in this request, the answer of the first one, at no cost.

    The same text is what is equal in Unicode's NFKC form, case-folded, with its white space as single spaces; all
    else of the item must be equal to the letter. Where the first one fails, so do the others.
    """

    def __init__(self, client: CompletionClient) -> None:
        self._client = client
        self._known: OrderedDict[Hashable, First] = OrderedDict()

    async def complete(self, request: CompletionRequest, call: Call) -> Completion:
        """Complete, or wait for the first of the same. Raises what that raised."""
        key = twin_key(request)
        if key is None:
            return await self._client.complete(request, call)
        if (first := self._known.get(key)) is not None:
            return await follow(first, call)
        told: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self._known[key] = First(told, request.taxonomy)
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        try:
            completion = await self._client.complete(request, call)
            cost = call.saved_usd if call.cached else call.receipt().cost_usd or Decimal(0)
            told.set_result(Told(completion, call.deployment, cost))
        except GatewayError as error:
            told.set_exception(copied(error))
            told.exception()  # nobody may ask for it
            raise
        finally:
            told.cancel()
        return completion


async def follow(first: First, call: Call) -> Completion:
    """The answer of the first one, as a call that asked nobody."""
    try:
        told = await asyncio.shield(first.told)
    except GatewayError as error:
        raise copied(error) from None
    call.cached, call.saved_usd, call.deployment = True, told.cost_usd, told.deployment
    return told.completion


def twin_key(request: CompletionRequest) -> Hashable | None:
    """What is equal for twins, None for a request without a text."""
    inputs = request.items[0] if len(request.items) == 1 else {}
    text = inputs.get("text")
    if not isinstance(text, str):
        return None
    rest: dict[str, Any] = {name: value for name, value in inputs.items() if name not in ("text", "taxonomy")}
    return normal(text), json.dumps(rest, sort_keys=True), id(request.taxonomy), request.prompt_digest


def normal(text: str) -> str:
    """The text without what says nothing."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def copied(error: E) -> E:
    """An error of its own for each who gets it, since each writes its call into it."""
    copy = type(error).__new__(type(error))
    copy.args = error.args
    copy.__dict__.update(error.__dict__)
    return copy
