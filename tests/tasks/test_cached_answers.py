"""Answers are given again where the very same was asked, by the same consumer, of the same models; and nowhere else."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from feedback_gateway.calls.models import Call
from feedback_gateway.clock import SystemClock
from feedback_gateway.consumers.models import LOCAL_CONSUMER, Consumer, Limits, Scopes
from feedback_gateway.errors import (
    BudgetExceeded,
    DeadlineExceeded,
    Forbidden,
    GatewayError,
    ProviderFailed,
    ProviderUnavailable,
    RateLimited,
)
from feedback_gateway.ledger.models import Budget
from feedback_gateway.llm.models import Completion, CompletionRequest
from feedback_gateway.llm.scripted import ScriptedClient, Step, answer
from feedback_gateway.services import Services, open_services
from feedback_gateway.settings import Settings
from feedback_gateway.tasks.models import Answer, CacheMode, CallOptions
from tests.api.conftest import MOOD, fill_in

pytestmark = pytest.mark.anyio

ITEM = {"text": "fine"}
GOOD = answer('{"mood": "good"}')
Provider = Callable[[CompletionRequest], Awaitable[Completion]]


class LeapingClock:
    """The machine's clock, that can be put forward."""

    def __init__(self) -> None:
        self._machine = SystemClock()
        self._leapt = 0.0
        self.now, self.sleep, self.new_id = self._machine.now, self._machine.sleep, self._machine.new_id

    def monotonic(self) -> float:
        """The machine's seconds and all leaps."""
        return self._machine.monotonic() + self._leapt

    def advance(self, seconds: float) -> None:
        """Leap."""
        self._leapt += seconds


class Asking:
    """A provider that answers as it is told to, and counts."""

    def __init__(self, answering: Provider) -> None:
        self.count = 0
        self._answering = answering

    async def prepare(self) -> None:
        """Nothing to load."""

    async def complete(self, request: CompletionRequest, call: Call) -> Completion:
        """Answer."""
        self.count += 1
        return await self._answering(request)


def entry(alias: str = "default", model: str = "scripted/one", **params: Any) -> dict[str, Any]:
    """One priced deployment: 100 tokens in and 20 out cost 0.00014."""
    prices = {"input_cost_per_token": "0.000001", "output_cost_per_token": "0.000002"}
    return {"model_name": alias, "litellm_params": {"model": model, **prices, **params}}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """One deployment, one prompt, one attempt."""
    folder = tmp_path / "prompts"
    folder.mkdir()
    (folder / "mood.v1.prompt").write_text(MOOD)
    return Settings.model_validate(
        {
            "model_list": [entry()],
            "prompts": folder,
            "database_url": f"sqlite:///{tmp_path / 'calls.db'}",
            "retry": {"attempts": 1},
        }
    )


@asynccontextmanager
async def opened(
    settings: Settings, script: Sequence[Step] | Asking, *, clock: LeapingClock | None = None, **changes: Any
) -> AsyncIterator[tuple[Services, Any]]:
    """Services over a provider that follows a script, and that provider."""
    client: Any = script if isinstance(script, Asking) else ScriptedClient(script)
    changed = Settings.model_validate(settings.model_dump(exclude_unset=True) | changes)
    async with open_services(changed, provider=lambda _: client, clock=clock) as services:
        yield services, client


async def ask(
    services: Services,
    item: object = None,
    *,
    task: str = "mood",
    cache: CacheMode = "use",
    consumer: Consumer = LOCAL_CONSUMER,
    **options: Any,
) -> Answer:
    """One call."""
    return await services.tasks.run(task, item or ITEM, consumer=consumer, options=CallOptions(cache=cache, **options))


async def test_second_call_costs_nothing_and_is_logged_with_what_it_saved(settings: Settings) -> None:
    """No attempt, no hold, no charge; the first call's cost is what the second one saved."""
    async with opened(settings, [GOOD]) as (services, provider):
        first, second = await ask(services), await ask(services)
        await services.books.writer.flush()
        logged, attempts = services.books.calls.get(second.call_id)

    assert (first.cached, second.cached, len(provider.requests)) == (False, True, 1)
    assert first.receipt.cost_usd == logged.saved_usd == Decimal("0.00014")
    assert (second.receipt.cost_usd, second.receipt.input_tokens) == (Decimal(0), 0)
    assert (second.result, second.deployment) == (first.result, first.deployment)
    assert (logged.cached, logged.cost_usd, logged.deployment, attempts) == (True, Decimal(0), "scripted/one", ())
    assert services.cache.state.hits == 1


async def test_hit_needs_no_money(settings: Settings) -> None:
    """Whoever has used a budget up still gets what was paid for."""
    rich, poor = (
        Consumer(name="team", budgets=(Budget(limit_usd=Decimal(limit), period="total"),)) for limit in ("1", "0.0001")
    )
    async with opened(settings, [GOOD]) as (services, provider):
        await ask(services, consumer=rich)
        again = await ask(services, consumer=poor)
        with pytest.raises(BudgetExceeded):
            await ask(services, {"text": "another"}, consumer=poor)

    assert (again.cached, len(provider.requests)) == (True, 1)
    assert again.warnings == ()


async def test_consumers_share_nothing_unless_the_operator_says_so(settings: Settings) -> None:
    """The same words of two consumers are two questions; with scope `shared`, one."""
    one, other = Consumer(name="a"), Consumer(name="b")
    async with opened(settings, [GOOD]) as (services, _):
        apart = [(await ask(services, consumer=who)).cached for who in (one, other, one, other)]
    async with opened(settings, [GOOD], cache={"scope": "shared"}) as (services, _):
        together = [(await ask(services, consumer=who)).cached for who in (one, other)]

    assert apart == [False, False, True, True]
    assert together == [False, True]


async def test_fallback_s_answer_is_never_the_first_model_s(settings: Settings) -> None:
    """It is stored as the fallback's own, and the first model is asked again as soon as it can answer."""
    down = ProviderUnavailable("down")
    script: list[Step] = [down, answer('{"mood": "bad"}'), GOOD]
    aliases = [entry(), entry("cheap", "scripted/cheap")]
    changes: dict[str, Any] = {"model_list": aliases, "fallbacks": {"default": ["cheap"]}, "retry": {"attempts": 2}}
    async with opened(settings, script, **changes) as (services, _):
        poisoned = await ask(services)
        cheap = await ask(services, model="cheap")
        recovered, again = await ask(services), await ask(services)

    assert (poisoned.deployment, poisoned.result["mood"]) == ("scripted/cheap", "bad")
    assert (cheap.cached, cheap.deployment, cheap.result["mood"]) == (True, "scripted/cheap", "bad")
    assert (recovered.cached, recovered.deployment, recovered.result["mood"]) == (False, "scripted/one", "good")
    assert (again.cached, again.deployment) == (True, "scripted/one")


@pytest.mark.parametrize(
    "step",
    [
        ProviderUnavailable("down"),
        answer("no JSON"),
        answer('{"mood": "undecided"}'),
        answer('{"mood": "good"}', finish_reason="length"),
        answer('{"mood": "good"}', finish_reason="content_filter"),
        answer('{"mood": "good"}', finish_reason="other"),
    ],
    ids=["error", "no JSON", "invalid", "truncated", "refused", "ended otherwise"],
)
async def test_only_valid_answers_that_ended_by_themselves_are_stored(settings: Settings, step: Step) -> None:
    """The next call asks again."""
    async with opened(settings, [step, GOOD]) as (services, _):
        with suppress(GatewayError):
            await ask(services)
        again = await ask(services)

    assert (again.cached, again.result["mood"]) == (False, "good")


async def test_bypass_neither_reads_nor_writes_and_refresh_writes(settings: Settings) -> None:
    """What `options.cache` says."""
    script = [answer(json.dumps({"mood": mood})) for mood in ("good", "bad", "good", "bad")]
    async with opened(settings, script) as (services, provider):
        modes: list[CacheMode] = ["bypass", "use", "refresh", "use", "bypass", "use"]
        told = [(await ask(services, cache=mode)) for mode in modes]

    assert [(one.cached, one.result["mood"]) for one in told] == [
        (False, "good"),
        (False, "bad"),
        (False, "good"),
        (True, "good"),
        (False, "bad"),
        (True, "good"),
    ]
    assert len(provider.requests) == 4


async def test_answers_are_given_for_as_long_as_they_are_kept(settings: Settings) -> None:
    """The configured time."""
    clock = LeapingClock()
    async with opened(settings, [GOOD], clock=clock, cache={"ttl": "60s"}) as (services, _):
        await ask(services)
        clock.advance(50)
        within = await ask(services)
        clock.advance(11)
        after = await ask(services)

    assert (within.cached, after.cached) == (True, False)


@pytest.mark.parametrize(("ttl", "cached"), [("0s", [False, False]), ("1h", [True, False])])
async def test_prompt_says_how_long_its_answers_are_kept(settings: Settings, ttl: str, cached: list[bool]) -> None:
    """In its front matter, over the configured time; 0 keeps nothing."""
    path = settings.prompts / "mood.v1.prompt"
    path.write_text(MOOD.replace("description:", f"cache_ttl: {ttl}\ndescription:", 1))
    clock, found = LeapingClock(), []
    async with opened(settings, [GOOD], clock=clock) as (services, _):
        await ask(services)
        for seconds in (3_500, 101):
            clock.advance(seconds)
            found.append((await ask(services)).cached)

    assert found == cached


async def test_cache_that_is_turned_off_keeps_nothing_and_lets_nobody_wait(settings: Settings) -> None:
    """`max_entries: 0`."""
    async with opened(settings, [GOOD], cache={"max_entries": 0}) as (services, provider):
        told = await asyncio.gather(*(ask(services) for _ in range(5)))

    assert ([one.cached for one in told], len(provider.requests)) == ([False] * 5, 5)


async def test_changed_prompt_file_and_other_version_are_other_questions(settings: Settings) -> None:
    """Also where only a word of the prompt, or nothing but the description, is another."""
    path = settings.prompts / "mood.v1.prompt"
    async with opened(settings, [GOOD]) as (services, _):
        await ask(services)
        path.write_text(MOOD.replace("Tell the mood.", "Tell the mood, please."))
        services.library.refresh()
        changed = await ask(services)
        (settings.prompts / "mood.v2.prompt").write_text(MOOD.replace("Tells the mood", "Says the mood"))
        services.library.refresh()
        second, first = await ask(services), await ask(services, prompt_version=1)

    assert (changed.cached, second.cached, first.cached) == (False, False, True)
    assert (second.prompt_version, first.prompt_version) == (2, 1)


async def test_taxonomy_of_the_request_is_a_part_of_the_question(settings: Settings) -> None:
    """Another category is another schema: its answer is never one of the first's."""

    def item(*names: str) -> dict[str, Any]:
        return {"text": "It is late.", "taxonomy": {"categories": [{"name": name} for name in names]}}

    async with opened(settings, [fill_in]) as (services, provider):
        asked = [item("late", "lost"), item("lost", "late"), item("late", "lost", "other"), item("late", "lost")]
        told = [await ask(services, one, task="categorize") for one in asked]

    assert [one.cached for one in told] == [False, False, False, True]
    assert [one.result["category"] for one in told] == ["late", "lost", "late", "late"]
    assert len(provider.requests) == 3


async def test_id_and_metadata_are_no_part_of_the_question(settings: Settings) -> None:
    """Each answer has the id of its own item."""
    async with opened(settings, [GOOD]) as (services, _):
        await ask(services, {**ITEM, "id": "a", "metadata": {"x": 1}})
        again = await ask(services, {**ITEM, "id": "b"})

    assert (again.cached, again.id) == (True, "b")


async def test_masked_requests_share_an_answer_and_each_caller_gets_their_own_text_back(settings: Settings) -> None:
    """The provider sees one text for both; what it repeats of it is restored for each."""

    def quote(request: CompletionRequest) -> Completion:
        value = json.loads(fill_in(request).content) | {"evidence": [{"quote": "Write to <EMAIL_1>"}]}
        return answer(json.dumps(value))

    async with opened(settings, [quote], redaction={"before_provider": True}) as (services, provider):
        told = [
            await ask(services, {"text": f"Write to {who}@example.com now."}, task="sentiment")
            for who in ("ann", "bob")
        ]

    assert [one.result["evidence"][0]["quote"] for one in told] == [
        f"Write to {who}@example.com" for who in ("ann", "bob")
    ]
    assert ([one.cached for one in told], len(provider.requests)) == ([False, True], 1)


async def test_limits_and_scopes_hold_for_hits(settings: Settings) -> None:
    """A stored answer is no way around them."""
    limited = Consumer(name="a", limits=Limits(requests_per_minute=2))
    barred = Consumer(name="a", scopes=Scopes(tasks=frozenset({"sentiment"})))
    async with opened(settings, [GOOD]) as (services, _):
        await ask(services, consumer=limited)
        assert (await ask(services, consumer=limited)).cached
        with pytest.raises(RateLimited):
            await ask(services, consumer=limited)
        with pytest.raises(Forbidden):
            await ask(services, consumer=barred)


def gated() -> tuple[asyncio.Event, Asking]:
    """A provider that answers once the event is set."""
    gate = asyncio.Event()

    async def wait(_: CompletionRequest) -> Completion:
        await gate.wait()
        return GOOD

    return gate, Asking(wait)


async def until(condition: Callable[[], bool]) -> None:
    """Let others run until something is so."""
    while not condition():  # noqa: ASYNC110 nobody tells
        await asyncio.sleep(0)


async def waiting(services: Services, count: int) -> None:
    """Let others run until so many calls waited for another's answer."""
    await until(lambda: services.cache.state.waits >= count)


async def test_a_hundred_identical_calls_at_once_cost_one(settings: Settings) -> None:
    """One asks, the others wait and are hits; each is a call of its own in the log."""
    gate, provider = gated()
    async with opened(settings, provider) as (services, _):
        calls = [asyncio.create_task(ask(services)) for _ in range(100)]
        await waiting(services, 99)
        gate.set()
        told = await asyncio.gather(*calls)
        await services.books.writer.flush()
        report = services.cache.state

    assert provider.count == 1
    assert sorted(one.cached for one in told) == [False, *[True] * 99]
    assert sum(one.receipt.cost_usd or 0 for one in told) == Decimal("0.00014")
    assert len({one.call_id for one in told}) == 100
    assert (report.hits, report.misses, report.stored, report.waits) == (99, 1, 1, 99)


async def test_where_the_first_fails_the_others_ask_for_themselves(settings: Settings) -> None:
    """All at once, and their own outcome is theirs."""
    gate = asyncio.Event()
    outcomes: Iterator[Completion | GatewayError] = iter([ProviderUnavailable("down"), *[GOOD] * 9])

    async def answering(_: CompletionRequest) -> Completion:
        await gate.wait()
        outcome = next(outcomes)
        if isinstance(outcome, GatewayError):
            raise outcome
        return outcome

    provider = Asking(answering)
    async with opened(settings, provider) as (services, _):
        calls = [asyncio.create_task(ask(services)) for _ in range(10)]
        await waiting(services, 9)
        gate.set()
        told = await asyncio.gather(*calls, return_exceptions=True)

    assert [type(one) for one in told] == [ProviderFailed, *[Answer] * 9]
    assert provider.count == 10


async def test_where_the_first_caller_leaves_one_of_the_others_takes_over(settings: Settings) -> None:
    """Nobody is stranded, and it is one call for all who are left."""
    gate, provider = gated()
    async with opened(settings, provider) as (services, _):
        calls = [asyncio.create_task(ask(services)) for _ in range(10)]
        await waiting(services, 9)
        await until(lambda: provider.count == 1)
        calls[0].cancel()
        await waiting(services, 9 + 8)
        gate.set()
        told = await asyncio.gather(*calls, return_exceptions=True)

    assert isinstance(told[0], asyncio.CancelledError)
    assert [one.cached for one in told[1:] if isinstance(one, Answer)].count(False) == 1
    assert provider.count == 2


async def test_who_waits_for_another_waits_no_longer_than_their_own_time(settings: Settings) -> None:
    """The first has a minute, the second a tenth of a second."""
    gate, provider = gated()
    async with opened(settings, provider, retry={"attempts": 1, "deadline": "60s"}) as (services, _):
        first = asyncio.create_task(ask(services))
        await until(lambda: provider.count == 1)
        with pytest.raises(DeadlineExceeded, match="another call was asking"):
            await ask(services, timeout_s=0.1)
        gate.set()

        assert not (await first).cached


async def test_who_has_no_more_time_than_the_first_one_asked_in_vain_does_not_ask(settings: Settings) -> None:
    """A provider that is slower than the deadline is paid once for a hundred identical calls, not once for each."""
    gate, provider = gated()
    async with opened(settings, provider) as (services, _):
        calls = [asyncio.create_task(ask(services, timeout_s=0.3)) for _ in range(100)]
        told = await asyncio.gather(*calls, return_exceptions=True)
        gate.set()

    assert {type(one) for one in told} == {DeadlineExceeded}
    assert provider.count == 1


async def test_different_questions_never_wait_for_each_other(settings: Settings) -> None:
    """Each of fifty texts is asked."""
    gate, provider = gated()
    async with opened(settings, provider) as (services, _):
        calls = [asyncio.create_task(ask(services, {"text": f"text {number}"})) for number in range(50)]
        await until(lambda: provider.count == 50)
        gate.set()
        told = await asyncio.gather(*calls)

    assert not any(one.cached for one in told)
    assert services.cache.state.waits == 0
