"""Packed items through the whole gateway: one call each in the log, money held once, the cache, twins, and an end."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from feedback_gateway.calls.models import Call
from feedback_gateway.calls.repository import CallFilters
from feedback_gateway.consumers.models import LOCAL_CONSUMER, Consumer
from feedback_gateway.errors import BudgetExceeded, TaskUnsupported
from feedback_gateway.ledger.models import Budget
from feedback_gateway.llm.models import Completion, CompletionRequest
from feedback_gateway.llm.scripted import answer
from feedback_gateway.services import Services, open_services
from feedback_gateway.settings import Settings
from feedback_gateway.tasks.models import Answer, CallOptions, Failure
from tests.tasks.packs import PACKED, entries_for, mood

pytestmark = pytest.mark.anyio

QUOTING = PACKED.replace(
    "    required: [mood]",
    "      evidence: {type: array, items: {type: object, properties: {quote: {type: string}}, required: [quote]}}\n"
    "    required: [mood]",
)
ITEMS: list[dict[str, Any]] = [
    {"id": number, "text": f"number {number} is {'good' if number % 3 else 'poor'}"} for number in range(10)
]
OPTIONS = CallOptions()


def judge(text: str) -> dict[str, Any]:
    """The mood, and the first three words."""
    return mood(text) | {"evidence": [{"quote": " ".join(text.split()[:3])}]}


def honest(request: CompletionRequest) -> Completion:
    """The right answer, to one or to many."""
    if len(request.items) == 1:
        return answer(json.dumps(judge(request.items[0]["text"])))
    return answer(json.dumps({"answers": entries_for(request, judge)}))


class Provider:
    """Answers by a function, after `gate` is open, and keeps what it was asked."""

    def __init__(self, answering: Callable[[CompletionRequest], Completion] = honest) -> None:
        self.answering = answering
        self.requests: list[CompletionRequest] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def prepare(self) -> None:
        """Nothing to load."""

    async def complete(self, request: CompletionRequest, call: Call) -> Completion:
        """Wait and answer."""
        self.requests.append(request)
        await self.gate.wait()
        return self.answering(request)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Two priced deployments of one alias each: 100 tokens in and 20 out cost 0.00014."""
    folder = tmp_path / "prompts"
    folder.mkdir()
    (folder / "mood.v1.prompt").write_text(QUOTING)
    prices = {"input_cost_per_token": "0.000001", "output_cost_per_token": "0.000002"}
    entries = [
        {"model_name": name, "litellm_params": {"model": f"scripted/{name}", "timeout": 1, **prices}}
        for name in ("default", "spare")
    ]
    return Settings.model_validate(
        {"model_list": entries, "prompts": folder, "database_url": f"sqlite:///{tmp_path / 'calls.db'}"}
    )


@asynccontextmanager
async def opened(settings: Settings, provider: Any, **changes: Any) -> AsyncIterator[Services]:
    """Services over a provider."""
    changed = Settings.model_validate(settings.model_dump(exclude_unset=True) | changes)
    async with open_services(changed, provider=lambda _: provider) as services:
        yield services


async def run(services: Services, items: list[Any], consumer: Consumer = LOCAL_CONSUMER) -> list[Answer | Failure]:
    """All items in one request."""
    return await services.tasks.run_many("mood", items, consumer=consumer, options=OPTIONS)


async def test_one_model_call_is_a_call_of_each_item_and_their_shares_are_all_of_it(settings: Settings) -> None:
    """In the answers, the log and the ledger alike; nothing stays set aside."""
    async with opened(settings, Provider()) as services:
        outcomes = await run(services, ITEMS)
        await services.books.writer.flush()
        page = services.books.calls.page(CallFilters()).data
        entries = services.books.ledger.entries()
        (usage,) = services.books.reports.usage(["task"])
        attempts = [services.books.calls.get(record.call_id)[1] for record in page]
        held = services.books.ledger.holds()

    answers = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
    assert [outcome.result["mood"] for outcome in answers] == [mood(item["text"])["mood"] for item in ITEMS]
    assert [outcome.id for outcome in answers] == list(range(10))
    whole = Decimal("0.00014")
    assert sum(outcome.receipt.cost_usd or 0 for outcome in answers) == whole
    assert sum(record.cost_usd or 0 for record in page) == whole
    assert sum(entry.amount_usd or 0 for entry in entries) == usage.cost_usd == whole
    assert (sum(record.input_tokens for record in page), sum(record.output_tokens for record in page)) == (100, 20)
    assert [len(of_one) for of_one in attempts] == [1] * 10
    assert len(page) == usage.calls == 10
    assert held == []


async def test_budget_is_held_for_the_whole_pack_and_never_overshot(settings: Settings) -> None:
    """Where it has no room for ten answers there may be some for fewer, and who gets none is told."""
    async with opened(settings, Provider()) as services:
        limit = Decimal("0.006")
        consumer = Consumer(name="team", budgets=(Budget(limit_usd=limit, period="total"),))
        outcomes = await run(services, [{"text": f"{number} is good"} for number in range(100)], consumer)
        await services.books.writer.flush()
        spent = sum(entry.amount_usd or 0 for entry in services.books.ledger.entries())
        held = services.books.ledger.holds()

    failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    assert Decimal(0) < spent <= limit
    assert held == []
    assert {type(failure.error) for failure in failures} <= {BudgetExceeded}


async def test_whoever_leaves_in_the_middle_pays_for_what_was_spent(settings: Settings) -> None:
    """The provider answers after they have gone: all of it is charged, to the items, and nothing stays set aside."""
    provider = Provider()
    provider.gate.clear()
    async with opened(settings, provider) as services:
        running = asyncio.create_task(run(services, ITEMS))
        await until_asked(provider)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        provider.gate.set()
        await settled(services)
        await services.books.writer.flush()
        page = services.books.calls.page(CallFilters()).data
        entries = services.books.ledger.entries()
        held = services.books.ledger.holds()

    assert {record.status for record in page} == {"cancelled"}
    assert len(page) == 10
    assert sum(entry.amount_usd or 0 for entry in entries) == Decimal("0.00014")
    assert held == []


async def test_what_nobody_knows_the_cost_of_is_charged_at_the_pack_s_bound(settings: Settings) -> None:
    """A provider that never answers: the bound is shared out like a cost."""
    provider = Provider()
    provider.gate.clear()
    async with opened(settings, provider, retry={"attempts": 1}) as services:
        outcomes = await run(services, ITEMS)
        await settled(services)
        await services.books.writer.flush()
        entries = services.books.ledger.entries()

    assert all(isinstance(outcome, Failure) for outcome in outcomes)
    assert {entry.kind for entry in entries} == {"bound"}
    assert len(entries) == 10
    assert sum(entry.amount_usd or 0 for entry in entries) > 10 * 1024 * Decimal("0.000002")


async def test_stored_answers_stay_out_of_packs_and_packed_ones_serve_packs_only(settings: Settings) -> None:
    """What was answered alone serves both; what was answered among others is none to a question put alone."""
    provider = Provider()
    async with opened(settings, provider) as services:
        alone = await services.tasks.run("mood", ITEMS[0], consumer=LOCAL_CONSUMER, options=OPTIONS)
        first, again = await run(services, ITEMS), await run(services, ITEMS)
        asked = [len(request.items) for request in provider.requests]
        fresh = await services.tasks.run("mood", ITEMS[1], consumer=LOCAL_CONSUMER, options=OPTIONS)

    assert asked == [1, 9]
    assert [outcome.cached for outcome in first if isinstance(outcome, Answer)] == [True] + [False] * 9
    assert [outcome.cached for outcome in again if isinstance(outcome, Answer)] == [True] * 10
    assert (alone.cached, fresh.cached) == (False, False)


async def test_same_text_in_another_form_is_asked_once_and_quoted_in_its_own_words(settings: Settings) -> None:
    """Case, white space and Unicode's forms say nothing; offsets are those of each text."""
    texts = ["The ﬁle is good", "the  FILE\tis good", "  the file is good", "the file is poor"]
    provider = Provider()
    async with opened(settings, provider) as services:
        outcomes = await run(services, [{"id": place, "text": text} for place, text in enumerate(texts)])

    answers = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
    assert [len(request.items) for request in provider.requests] == [2]
    assert [outcome.id for outcome in answers] == [0, 1, 2, 3]
    assert [outcome.cached for outcome in answers] == [False, True, True, False]
    assert len({outcome.call_id for outcome in answers}) == 4
    for outcome, text in zip(answers, texts, strict=True):
        (quote,) = outcome.result["evidence"]
        assert quote["quote"] == text[quote["start"] : quote["end"]]
        assert quote["quote"].split()[-1] == "is"


async def test_fallback_that_answers_one_by_one_gets_them_one_by_one(settings: Settings) -> None:
    """As the embedded model does."""

    def single(request: CompletionRequest) -> Completion:
        if len(request.items) > 1:
            raise TaskUnsupported("one by one")
        return honest(request)

    async with opened(settings, Provider(single)) as services:
        outcomes = await run(services, ITEMS)

    assert [outcome.result["mood"] for outcome in outcomes if isinstance(outcome, Answer)] == [
        mood(item["text"])["mood"] for item in ITEMS
    ]


async def test_bad_item_among_packed_ones_fails_alone(settings: Settings) -> None:
    """Before anybody is asked."""
    provider = Provider()
    async with opened(settings, provider) as services:
        outcomes = await run(services, [*ITEMS[:3], {"text": ""}, *ITEMS[3:]])

    assert [place for place, outcome in enumerate(outcomes) if isinstance(outcome, Failure)] == [3]
    assert [len(request.items) for request in provider.requests] == [10]


async def until_asked(provider: Provider) -> None:
    """Until the provider has heard something."""
    async with asyncio.timeout(10):
        while not provider.requests:  # noqa: ASYNC110 a pack waits for more items by the clock
            await asyncio.sleep(0.005)


async def settled(services: Services) -> None:
    """Until nothing is under way any more."""
    async with asyncio.timeout(10):
        while services.books.recorder.settling or services.books.recorder.open:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_each_item_holds_its_part_of_the_pack_s_bound(settings: Settings) -> None:
    """So that what is left of a process that died adds up to what the pack could have cost, once."""
    provider = Provider()
    provider.gate.clear()
    async with opened(settings, provider) as services:
        running = asyncio.create_task(run(services, ITEMS))
        await until_asked(provider)
        held = await asyncio.to_thread(services.books.ledger.holds)
        provider.gate.set()
        await running

    bound = sum(hold.amount_usd or 0 for hold in held)
    assert len({hold.call_id for hold in held}) == 10
    assert 10 * 1024 * Decimal("0.000002") < bound < Decimal("0.04")
