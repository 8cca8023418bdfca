"""When a deployment is left alone, for how long, and who tries it again: a state machine that is told the time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedback_gateway.errors import (
    ContentRefused,
    ContextTooLong,
    DeploymentLimited,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnauthorized,
    ProviderUnavailable,
    TaskUnsupported,
)
from feedback_gateway.llm.health import NEUTRAL, Cooldown, Health, Outcome, Rules, outcome_of

RULES = Rules(cooldown_s=10, max_cooldown_s=80)
GOOD = Outcome(kind="success", latency_ms=100, output_tokens=20)
BAD = Outcome(kind="failure", error="provider-unavailable")


def attempt(health: Health, outcome: Outcome, now: float) -> None:
    """One attempt that takes no time."""
    ticket = health.take(now, lease_s=60)
    assert ticket is not None
    health.settle(ticket, outcome, now=now)


def cooling(now: float = 0) -> Health:
    """A deployment that has just failed too often."""
    health = Health(RULES)
    for _ in range(3):
        attempt(health, BAD, now)
    assert health.state(now) == "cooling_down"
    return health


def test_three_failures_in_a_row_begin_a_cooldown() -> None:
    """Nobody gets in until it is over, to the second."""
    health = cooling()

    assert [health.may_ask(now) for now in (0, 5, 9.99, 10)] == [False, False, False, True]
    assert health.returns_at(0) == 10
    assert health.cooldown == Cooldown(until=10, level=0, error="provider-unavailable")


def test_success_in_between_begins_the_row_anew() -> None:
    """Two and two are no three, and four of nine no half."""
    health = Health(RULES)

    for outcome in (BAD, BAD, GOOD, GOOD, GOOD, GOOD, GOOD, BAD, BAD, GOOD):
        attempt(health, outcome, 0)

    assert health.state(0) == "healthy"


def test_half_of_five_failures_within_the_window_begin_a_cooldown() -> None:
    """Also where none follows another."""
    health = Health(RULES)

    for outcome in (BAD, GOOD, BAD, GOOD):
        attempt(health, outcome, 0)
        assert health.state(0) == "healthy"
    attempt(health, BAD, 20)

    assert health.state(20) == "cooling_down"


def test_failures_that_are_long_ago_do_not_count() -> None:
    """The window is 30 s."""
    health = Health(RULES)
    for outcome in (BAD, GOOD, BAD, GOOD):
        attempt(health, outcome, 0)

    attempt(health, BAD, 31)

    assert health.state(31) == "healthy"


def test_a_busy_deployment_needs_a_longer_row() -> None:
    """Three of a thousand in a row are chance where one in twenty fails; a hundredth of them is none."""
    health = Health(RULES)
    for _ in range(990):
        attempt(health, GOOD, 0)

    for _ in range(9):
        attempt(health, BAD, 0)
    assert health.state(0) == "healthy"
    attempt(health, BAD, 0)

    assert health.state(0) == "cooling_down"


def test_exactly_one_probe_at_a_time_follows() -> None:
    """Who comes while it is under way is turned away, and nobody knows until when."""
    health = cooling()

    probe = health.take(10, lease_s=60)

    assert probe is not None
    assert health.state(10) == "probing"
    assert health.take(10, lease_s=60) is None
    assert health.returns_at(11) is None


def test_probe_that_succeeds_ends_it() -> None:
    """And the next failure is the first of a new row."""
    health = cooling()

    attempt(health, GOOD, 10)
    attempt(health, BAD, 11)

    assert health.state(11) == "healthy"


def test_each_probe_that_fails_doubles_it_up_to_the_bound() -> None:
    """10, 20, 40, 80, 80 seconds."""
    health, now, waits = cooling(), 10.0, []

    for _ in range(4):
        attempt(health, BAD, now)
        assert health.cooldown is not None
        waits.append(health.cooldown.until - now)
        now = health.cooldown.until

    assert waits == [20, 40, 80, 80]


def test_probe_that_says_nothing_lets_somebody_else_try() -> None:
    """A caller's own fault neither ends a cooldown nor prolongs it."""
    health = cooling()

    attempt(health, NEUTRAL, 10)

    assert health.state(10) == "probing"
    assert health.take(10, lease_s=60) is not None


def test_probe_that_never_comes_back_blocks_nobody_for_good() -> None:
    """Its lease ends."""
    health = cooling()
    health.take(10, lease_s=60)

    assert health.take(69, lease_s=60) is None
    assert health.take(70, lease_s=60) is not None


def test_what_was_under_way_before_a_cooldown_changes_nothing() -> None:
    """Neither a late success ends it, nor do late failures prolong it."""
    health = Health(RULES)
    late = [health.take(0, lease_s=60) for _ in range(4)]
    for _ in range(3):
        attempt(health, BAD, 0)

    for ticket, outcome in zip(late, (GOOD, BAD, BAD, BAD), strict=True):
        assert ticket is not None
        assert health.settle(ticket, outcome, now=1) is None

    assert health.cooldown == Cooldown(until=10, level=0, error="provider-unavailable")


@pytest.mark.parametrize(
    "error",
    [
        ProviderUnauthorized("no", status=401),
        ProviderUnauthorized("no", status=403),
        ProviderRejected("the provider rejected the request (HTTP 404): The model does not exist", status=404),
    ],
)
def test_refused_key_and_missing_model_begin_the_longest_cooldown_at_once(error: ProviderError) -> None:
    """They do not mend themselves."""
    health = Health(RULES)

    attempt(health, outcome_of(error), 0)

    assert health.returns_at(0) == 80


def test_limit_of_the_provider_lasts_until_it_said() -> None:
    """Shorter or longer than any cooldown of ours."""
    for wait in (0.5, 7, 3600):
        health = Health(RULES)
        attempt(health, outcome_of(ProviderRateLimited("slow down", retry_after=wait)), 0)
        assert health.returns_at(0) == wait


@pytest.mark.parametrize(
    "error",
    [
        ProviderRejected("no", status=400),
        ProviderRejected("the provider rejected the request (HTTP 404): No such file", status=404),
        ContextTooLong("no", status=400),
        ContentRefused("no", status=400),
        TaskUnsupported("no"),
        DeploymentLimited("no"),
    ],
)
def test_fault_of_the_caller_never_counts(error: ProviderError) -> None:
    """However often it happens, or others would suffer from one caller's requests."""
    health = Health(RULES)

    for _ in range(50):
        attempt(health, outcome_of(error), 0)

    assert (health.state(0), health.failures) == ("healthy", 0)


@pytest.mark.parametrize(
    "error", [ProviderUnavailable("no", status=500), ProviderTimeout("no"), ProviderRateLimited("no", status=429)]
)
def test_fault_of_the_provider_counts(error: ProviderError) -> None:
    """A 429 that does not say until when is a failure like any other."""
    health = Health(RULES)

    for _ in range(3):
        attempt(health, outcome_of(error), 0)

    assert health.state(0) == "cooling_down"


def test_cooldown_of_another_process_is_taken_over_and_ends_with_it() -> None:
    """And what was under way here when it began says nothing."""
    health = Health(RULES)
    ticket = health.take(0, lease_s=60)
    assert ticket is not None

    health.adopt(Cooldown(until=10, level=2, error="provider-timeout", shared=True), now=0)
    assert health.settle(ticket, GOOD, now=1) is None
    assert not health.may_ask(5)
    health.adopt(None, now=6)

    assert health.state(6) == "healthy"


def test_cooldown_that_others_do_not_know_of_outlasts_their_silence() -> None:
    """That nobody else knows it is no reason to end it."""
    health = cooling()

    health.adopt(None, now=1)

    assert not health.may_ask(1)


def test_pace_is_per_token_smoothed_and_forgotten_when_it_is_old() -> None:
    """A long answer that takes long is not slow; one measured five minutes ago is not known."""
    health = Health(RULES)

    attempt(health, Outcome(kind="success", latency_ms=1_000, output_tokens=100), 0)
    assert health.pace(0) == 10
    attempt(health, Outcome(kind="success", latency_ms=6_000, output_tokens=100), 1)

    assert health.pace(1) == 20
    assert health.pace(301) is None


@settings(max_examples=300, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["take", "settle", "adopt", "forget"]),
            st.sampled_from([GOOD, BAD, NEUTRAL, Outcome(kind="limit", error="l", wait_s=25)]),
            st.integers(0, 7),
            st.floats(0, 15),
        ),
        max_size=60,
    )
)
def test_whatever_happens_a_cooldown_lets_nobody_in_and_a_probe_is_alone(
    steps: list[tuple[str, Outcome, int, float]],
) -> None:
    """For any order of attempts and outcomes, late ones and other processes included."""
    health, now, under_way = Health(RULES), 0.0, list[int]()
    probe: int | None = None
    for what, outcome, which, passed in steps:
        now += passed
        was = health.cooldown
        if what == "take":
            ticket = health.take(now, lease_s=1_000)
            if was is not None:
                assert ticket is None or (was.until <= now and probe is None)
                probe = ticket if ticket is not None else probe
            if ticket is not None:
                under_way.append(ticket)
        elif what == "settle" and under_way:
            ticket = under_way.pop(which % len(under_way))
            change = health.settle(ticket, outcome, now=now)
            if was is not None and ticket != probe:
                assert change is None
            probe = None if ticket == probe else probe
        elif what == "adopt":
            health.adopt(Cooldown(until=now + which, level=1, error="x", shared=True), now=now)
        elif what == "forget":
            health.adopt(None, now=now)
        if health.cooldown is None or health.cooldown.until > now:
            probe = None
        assert health.may_ask(now) == (health.cooldown is None or (health.cooldown.until <= now and probe is None))
