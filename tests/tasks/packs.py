"""A packer over a model that does as it is told, and that bills; no database, no wire."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from feedback_gateway.calls.models import Call
from feedback_gateway.clock import ManualClock
from feedback_gateway.errors import GatewayError
from feedback_gateway.llm.models import Completion, CompletionRequest, Deployment, FinishReason, Usage
from feedback_gateway.llm.validating import validated
from feedback_gateway.prompts.fencing import Fences
from feedback_gateway.prompts.parser import parse_prompt
from feedback_gateway.prompts.render import render
from feedback_gateway.tasks.pack_sizes import Window
from feedback_gateway.tasks.packing import Packer, Packing
from tests.api.conftest import MOOD
from tests.llm.calls import new_call

DEPLOYMENT = Deployment(alias="default", name="scripted/one", model="scripted/one")
UNKNOWN = Window(None, None)
PACKED = MOOD.replace("input:\n", "batch: 10\ninput:\n", 1)
Entries = list[Any]


def mood(text: str) -> dict[str, Any]:
    """The one right answer to a text."""
    return {"mood": "good" if "good" in text else "bad"}


def ids_in(request: CompletionRequest) -> list[str]:
    """The ids of a pack's items, in their order."""
    entry = request.output_schema["properties"]["answers"]["items"]
    ids: list[str] = entry["properties"]["id"]["enum"]
    return ids


def entries_for(request: CompletionRequest, judge: Callable[[str], Any] = mood) -> Entries:
    """The right entries."""
    texts = [item["text"] for item in request.items]
    return [{"id": one, "answer": judge(text)} for one, text in zip(ids_in(request), texts, strict=True)]


def told(content: str, *, tokens: int = 997, finish_reason: FinishReason = "stop") -> Completion:
    """A completion with numbers that nothing divides."""
    usage = Usage(uncached_input_tokens=tokens, cache_read_tokens=13, output_tokens=101, reasoning_tokens=7)
    return Completion(content=content, finish_reason=finish_reason, model="m", usage=usage, deployment="scripted/one")


def packed_answer(entries: Sequence[Any]) -> Completion:
    """A whole answer to a pack."""
    return told(json.dumps({"answers": list(entries)}))


@dataclass(eq=False)
class Model:
    """Answers packs by `answering` and single items right, unless `alone` says otherwise; keeps what it was asked."""

    answering: Callable[[CompletionRequest], Completion] = lambda request: packed_answer(entries_for(request))
    alone: Callable[[str], Completion] = lambda text: told(json.dumps(mood(text)))
    requests: list[CompletionRequest] = field(default_factory=list)
    billed: Decimal = Decimal(0)
    used: int = 0

    @property
    def packs(self) -> list[CompletionRequest]:
        """What it was asked of several items."""
        return [request for request in self.requests if len(request.items) > 1]

    async def complete(self, request: CompletionRequest, call: Call) -> Completion:
        """Answer and bill."""
        self.requests.append(request)
        attempt = call.start_attempt(DEPLOYMENT, started_at=call.created_at, purpose="answer", bound_usd=Decimal(1))
        await asyncio.sleep(0)
        try:
            many = len(request.items) > 1
            completion = self.answering(request) if many else self.alone(request.items[0]["text"])
        except GatewayError as error:
            cause = error.__cause__
            attempt.status, attempt.error = "failed", cause.code if isinstance(cause, GatewayError) else error.code
            raise
        attempt.status, attempt.usage, attempt.cost_usd = "ok", completion.usage, Decimal("0.000123457")
        self.billed += attempt.cost_usd
        self.used += completion.usage.input_tokens + completion.usage.output_tokens
        return completion if many else validated(completion, request)


class Bench:
    """Asks a model for many texts at once, through one packer."""

    def __init__(
        self, model: Model, folder: Path, *, window: Window = UNKNOWN, prompt: str = PACKED, seed: int = 0
    ) -> None:
        file = folder / "mood.v1.prompt"
        file.write_text(prompt)
        self.model = model
        self.prompt = parse_prompt(file)
        self.packing = Packing(
            windows={"default": window}, new_fence=Fences(), clock=ManualClock(), random=Random(seed)
        )
        self.calls: list[Call] = []

    def packer(self) -> Packer:
        """Whoever packs one request."""
        packer = self.packing.packer(self.prompt, "default", concurrency=4)
        assert packer is not None
        return packer

    def request(self, inputs: Mapping[str, Any]) -> CompletionRequest:
        """One item's question."""
        fence = Fences()()
        return CompletionRequest(
            model="default",
            messages=render(self.prompt, inputs, fence=fence),
            output_schema=self.prompt.output_schema,
            max_tokens=self.prompt.max_tokens,
            task="mood",
            items=(inputs,),
            prompt_digest=self.prompt.digest,
            fence=fence,
        )

    async def ask(self, texts: Sequence[str]) -> list[Any]:
        """The value or the error for each text, once all of it is settled."""
        packer = self.packer()
        self.calls = [new_call(task="mood") for _ in texts]

        async def one(text: str, call: Call) -> Any:
            async with packer.room:
                try:
                    return (await packer.ask(self.request({"text": text}), call, self.model)).value
                except GatewayError as error:
                    return error

        outcomes = await asyncio.gather(*(one(*pair) for pair in zip(texts, self.calls, strict=True)))
        while self.packing.running:
            await asyncio.wait(self.packing.running)
        return outcomes

    @property
    def charged(self) -> Decimal:
        """What all calls together are charged."""
        return sum((call.owed()[1] or Decimal(0) for call in self.calls), Decimal(0))

    @property
    def tokens(self) -> int:
        """What all calls together have used."""
        receipts = [call.receipt() for call in self.calls]
        return sum(receipt.input_tokens + receipt.output_tokens for receipt in receipts)
