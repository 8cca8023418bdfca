"""Failover over long histories: whatever fails and whenever, nobody is asked, or waits, against the rules."""

import asyncio
from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from feedback_gateway.calls.models import Call
from feedback_gateway.clock import ManualClock
from feedback_gateway.errors import (
    CoolingDown,
    GatewayError,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnauthorized,
    ProviderUnavailable,
)
from feedback_gateway.llm.fallback import is_barred
from feedback_gateway.llm.models import Completion, CompletionRequest
from tests.llm.bench import GOOD, RULES, Bench

NAMES = ("default/a", "default/b", "cheap/c")
MOODS: Mapping[str, ProviderError | None] = {
    "good": None,
    "down": ProviderUnavailable("down", status=500),
    "busy": ProviderRateLimited("busy", status=429, retry_after=4),
    "full": ProviderRateLimited("full", status=429, retry_after=45),
    "picky": ProviderRejected("no", status=400),
    "locked": ProviderUnauthorized("no", status=401),
}


class World:
    """A bench whose providers have moods, and which looks over everybody's shoulder."""

    def __init__(self, *, attempts: int = 3, seed: int = 0) -> None:
        self.bench = Bench(
            {name: [GOOD] for name in NAMES}, attempts=attempts, fallbacks={"default": ["cheap"]}, seed=seed
        )
        self.moods = dict.fromkeys(NAMES, "good")
        self.asked: list[str] = []
        self.answered: list[tuple[float, str, str]] = []
        self.under_way = dict.fromkeys(NAMES, 0)
        self.is_together = False
        for name in NAMES:
            self.bench.clients[name].complete = self._provider(name)  # type: ignore[method-assign]

    @property
    def clock(self) -> ManualClock:
        """Its time."""
        return self.bench.clock

    def _provider(self, name: str) -> Any:
        async def complete(request: CompletionRequest, call: Call) -> Completion:
            now, health = self.clock.monotonic(), self.bench.health[name]
            was_on_its_way = self.was_on_its_way(name, now)
            if not was_on_its_way:
                self.may_be_asked(name, now)
            self.asked.append(name)
            self.under_way[name] += 1
            alone = was_on_its_way or self.under_way[name] == 1
            assert health.state(now) == "healthy" or alone, "a second probe"
            await asyncio.sleep(0)
            self.under_way[name] -= 1
            self.answered.append((self.clock.monotonic(), name, self.moods[name]))
            error = MOODS[self.moods[name]]
            if error is not None:
                raise error
            return GOOD

        return complete

    def was_on_its_way(self, name: str, now: float) -> bool:
        """Whether calls come together, and one was answered at this very moment, when others had left already."""
        return self.is_together and any(other == name and at == now for at, other, _ in self.answered)

    def may_be_asked(self, name: str, now: float) -> None:
        """Hold what was asked before against the rules, without looking at how the gateway keeps them."""
        history = [(at, mood) for at, other, mood in self.answered if other == name and mood != "picky"]
        for at, mood in history:
            wait = {"busy": 4.0, "full": 45.0, "locked": RULES.max_cooldown_s}.get(mood, 0.0)
            assert now >= at + wait, f"asked {name} {now - at} s after it was {mood}"
        if [mood for _, mood in history[-3:]] == ["down"] * 3:
            assert now >= history[-1][0] + RULES.cooldown_s

    async def outcome(self, call: Call) -> Completion | GatewayError:
        """One call, and how it ended."""
        try:
            return await self.bench.complete(call)
        except GatewayError as error:
            return error

    def run(self, deadline: float) -> tuple[Call, Completion | GatewayError]:
        """One call alone, held to every rule."""
        call, begun = self.bench.call(deadline=deadline), self.clock.monotonic()
        slept, asked = len(self.clock.slept), len(self.asked)
        watch = WaitWatch(self, call)
        before, self.clock.sleep = self.clock.sleep, watch.sleep  # type: ignore[method-assign]
        outcome = asyncio.run(self.outcome(call))
        self.clock.sleep = before  # type: ignore[method-assign]
        assert self.asked[asked:] == [attempt.deployment for attempt in call.attempts]
        assert len(call.attempts) <= self.bench.attempts
        assert self.clock.monotonic() == pytest.approx(begun + sum(self.clock.slept[slept:]))
        assert self.clock.monotonic() < begun + deadline
        self.is_true(call, outcome)
        if not isinstance(outcome, Completion) and call.attempts_left:
            watch.look_around()
        return call, outcome

    def is_true(self, call: Call, outcome: Completion | GatewayError) -> None:
        """What the caller is told fits how things are."""
        now = self.clock.monotonic()
        if isinstance(outcome, Completion):
            assert self.moods[outcome.deployment or ""] == "good"
            return
        if isinstance(outcome, CoolingDown):
            returns = [self.bench.health[name].returns_at(now) for name in NAMES]
            assert call.attempts == []
            assert outcome.retry_after == min(at or 0 for at in returns) - now
            assert now + outcome.retry_after >= call.deadline


class WaitWatch:
    """Lets a call sleep only when everybody who may be asked was asked since it slept last."""

    def __init__(self, world: World, call: Call) -> None:
        self._world = world
        self._call = call
        self._seen = 0

    async def sleep(self, seconds: float) -> None:
        """Sleep, after a look around."""
        self.look_around()
        self._seen = len(self._call.attempts)
        await ManualClock.sleep(self._world.clock, seconds)

    def look_around(self) -> None:
        """Nobody was left out who may be asked."""
        now = self._world.clock.monotonic()
        asked = {attempt.deployment for attempt in self._call.attempts[self._seen :]}
        for name in NAMES:
            if name not in asked and self._world.bench.health[name].may_ask(now):
                assert any(one.deployment == name and is_barred(one, now) for one in self._call.attempts), (
                    f"{name} was left out"
                )


@pytest.mark.parametrize("attempts", [1, 2, 3, 5])
def test_for_every_pattern_of_failures_three_calls_keep_the_rules(attempts: int) -> None:
    """All moods of all deployments, from a cold start."""
    for moods in product(MOODS, repeat=len(NAMES)):
        world = World(attempts=attempts)
        world.moods = dict(zip(NAMES, moods, strict=True))
        for deadline in (1.0, 10.0, 50.0):
            world.run(deadline)


class Histories(RuleBasedStateMachine):
    """Moods change, time passes, calls come alone and together."""

    @initialize(attempts=st.integers(1, 5), seed=st.integers(0, 2**16))
    def begin(self, attempts: int, seed: int) -> None:
        """Everybody is well."""
        self.world = World(attempts=attempts, seed=seed)

    @rule(name=st.sampled_from(NAMES), mood=st.sampled_from(sorted(MOODS)))
    def change(self, name: str, mood: str) -> None:
        """A provider falls ill, or recovers."""
        self.world.moods[name] = mood

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.9, 5.0, 30.0, 320.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.world.clock.advance(seconds)

    @rule(deadline=st.sampled_from([0.5, 4.5, 12.0, 60.0]))
    def call(self, deadline: float) -> None:
        """One call."""
        self.world.run(deadline)

    @precondition(lambda self: hasattr(self, "world"))
    @rule(count=st.integers(2, 6))
    def calls(self, count: int) -> None:
        """Many calls at once: the providers look out for a second probe."""
        world = self.world
        calls = [world.bench.call(deadline=3.0) for _ in range(count)]

        async def together() -> list[Completion | GatewayError]:
            return await asyncio.gather(*(world.outcome(call) for call in calls))

        world.is_together = True
        asyncio.run(together())
        world.is_together = False
        assert all(len(call.attempts) <= world.bench.attempts for call in calls)
        assert set(world.under_way.values()) == {0}


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
