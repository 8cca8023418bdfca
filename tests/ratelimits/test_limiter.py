"""What is admitted, what is not, and what is said of it; the same in this process and in Redis."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback_gateway.clock import ManualClock
from feedback_gateway.errors import RateLimited
from feedback_gateway.ratelimits.models import Allowance, Standing
from feedback_gateway.ratelimits.opening import memory_limiter
from tests.ratelimits.applying import REQUESTS, TOKENS, admitted_of, ask, refused
from tests.ratelimits.conftest import Bench

pytestmark = pytest.mark.anyio


async def test_of_a_hundred_requests_at_once_exactly_the_limit_is_admitted(bench: Bench) -> None:
    """Five a minute is five, not eight, whoever comes in between."""
    assert await admitted_of(100, bench.limiter, REQUESTS) == 5


async def test_of_a_hundred_requests_at_once_exactly_the_tokens_are_admitted(bench: Bench) -> None:
    """A thousand tokens a minute are ten requests of a hundred."""
    assert await admitted_of(100, bench.limiter, TOKENS) == 10


async def test_refused_request_is_admitted_when_it_was_told_to_come_back(bench: Bench) -> None:
    """Not a moment of the window is lost, and not one is given away."""
    await admitted_of(5, bench.limiter, REQUESTS)
    bench.pass_time(20)
    wait = (await refused(bench.limiter, REQUESTS)).retry_after or 0

    bench.pass_time(wait - 5)
    early = await ask(bench.limiter, REQUESTS)
    bench.pass_time(5.001)
    late = await ask(bench.limiter, REQUESTS)

    assert 39 < wait <= 40
    assert isinstance(early, RateLimited)
    assert isinstance(late, Standing)


async def test_refused_tokens_are_admitted_when_they_were_told_to_come_back(bench: Bench) -> None:
    """Those of the last minute fade; the refusal says when there is room for as many as were asked for."""
    await admitted_of(10, bench.limiter, TOKENS)
    bench.pass_time(20)
    wait = (await refused(bench.limiter, TOKENS, tokens=500)).retry_after or 0

    bench.pass_time(wait - 5)
    early = await ask(bench.limiter, TOKENS, tokens=500)
    bench.pass_time(5.1)
    late = await ask(bench.limiter, TOKENS, tokens=500)

    assert 69 < wait <= 70
    assert isinstance(early, RateLimited)
    assert isinstance(late, Standing)


async def test_tokens_of_two_windows_are_waited_for(bench: Bench) -> None:
    """What was used in this window counts wholly, what was used in the one before by what is left of it."""
    await ask(bench.limiter, TOKENS, tokens=600)
    bench.pass_time(65)
    await ask(bench.limiter, TOKENS, tokens=400)
    wait = (await refused(bench.limiter, TOKENS, tokens=300)).retry_after or 0

    bench.pass_time(wait + 0.1)

    assert 24 < wait < 26
    assert isinstance(await ask(bench.limiter, TOKENS, tokens=300), Standing)


@pytest.mark.parametrize(("allowance", "passed"), [(REQUESTS, 60.1), (REQUESTS, 500), (TOKENS, 121), (TOKENS, 500)])
async def test_minute_that_passed_is_forgotten(bench: Bench, allowance: Allowance, passed: float) -> None:
    """Requests after one minute, tokens after two windows of one: all of the limit is there again, and no more."""
    before = await admitted_of(100, bench.limiter, allowance)

    bench.pass_time(passed)

    assert await admitted_of(100, bench.limiter, allowance) == before


@pytest.mark.parametrize(
    ("allowance", "tokens", "said"),
    [
        (Allowance(requests_per_minute=0), 1, "its limit is 0 requests a minute, nothing is admitted"),
        (Allowance(tokens_per_minute=0), 0, "its limit is 0 tokens a minute, nothing is admitted"),
        (TOKENS, 1_001, "its limit is 1,000 tokens a minute, the request counts as 1,001 tokens"),
    ],
)
async def test_what_never_fits_is_told_not_to_come_back(
    bench: Bench, allowance: Allowance, tokens: int, said: str
) -> None:
    """Waiting cannot help, so no time is named; and nothing is counted."""
    error = await refused(bench.limiter, allowance, tokens=tokens)

    assert (error.retryable, error.retry_after) == (False, None)
    assert error.detail == f"consumer 'acme': {said}"
    assert await admitted_of(100, bench.limiter, TOKENS) == 10


async def test_null_is_no_check(bench: Bench) -> None:
    """Nothing is refused, and nothing is said to be left."""
    assert await ask(bench.limiter, Allowance(), tokens=10**9) is None


async def test_refusal_for_tokens_uses_up_no_request(bench: Bench) -> None:
    """Also when it is asked for again and again."""
    both = Allowance(requests_per_minute=5, tokens_per_minute=1_000)
    await ask(bench.limiter, both, tokens=900)

    for _ in range(10):
        assert (await refused(bench.limiter, both, tokens=200)).unit == "tokens"

    assert await admitted_of(100, bench.limiter, both, tokens=1) == 4


async def test_refusal_for_requests_uses_up_no_tokens(bench: Bench) -> None:
    """Nor does the other way round."""
    both = Allowance(requests_per_minute=5, tokens_per_minute=1_000)
    await admitted_of(5, bench.limiter, both, tokens=1)

    for _ in range(10):
        assert (await refused(bench.limiter, both, tokens=200)).unit == "requests"

    assert await admitted_of(100, bench.limiter, TOKENS, tokens=199) == 5


async def test_refusal_says_whose_limit_it_was(bench: Bench) -> None:
    """What the 429 tells is all there."""
    one = Allowance(requests_per_minute=1)
    await ask(bench.limiter, one)

    error = await refused(bench.limiter, one)

    assert (error.source, error.scope, error.name) == ("gateway", "consumer", "acme")
    assert (error.limit, error.unit, error.window_s, error.retryable) == (1, "requests", 60, True)
    assert error.detail == "consumer 'acme': its limit of 1 request a minute is used up, again in 60 s"


async def test_standing_is_that_of_the_tighter_limit(bench: Bench) -> None:
    """Of 100 requests 99 are left, of 1,000 tokens 600: the tokens are told."""
    standing = await ask(bench.limiter, Allowance(requests_per_minute=100, tokens_per_minute=1_000), tokens=400)

    assert isinstance(standing, Standing)
    assert (standing.limit, standing.remaining, standing.unit) == (1_000, 600, "tokens")
    assert 119 < standing.reset_s <= 120


async def test_standing_of_requests_counts_down(bench: Bench) -> None:
    """What is left, and when the first of them is forgotten."""
    first = await ask(bench.limiter, REQUESTS)
    bench.pass_time(10)
    second = await ask(bench.limiter, REQUESTS)

    assert isinstance(first, Standing)
    assert isinstance(second, Standing)
    assert [first.remaining, second.remaining] == [4, 3]
    assert 49 < second.reset_s <= 50


@pytest.mark.parametrize("other", ["acme:requests", "acme/-1", "{acme}", "acme ", "ACME", "a\ncme", "ácme", "\ud800"])
async def test_no_name_shares_the_allowance_of_another(bench: Bench, other: str) -> None:
    """Whatever characters it is made of."""
    await admitted_of(5, bench.limiter, REQUESTS)

    assert isinstance(await ask(bench.limiter, REQUESTS, name=other), Standing)


async def test_consumer_and_deployment_of_the_same_name_are_two(bench: Bench) -> None:
    """Each has its own allowance."""
    await admitted_of(5, bench.limiter, REQUESTS)

    assert isinstance(await ask(bench.limiter, REQUESTS, scope="deployment"), Standing)


async def test_changed_limit_holds_at_once_for_what_was_used_before(bench: Bench) -> None:
    """Neither does a lowered one wait, nor does a raised one begin anew."""
    await admitted_of(5, bench.limiter, REQUESTS)

    lowered = await refused(bench.limiter, Allowance(requests_per_minute=3))
    raised = await admitted_of(100, bench.limiter, Allowance(requests_per_minute=7))

    assert lowered.retry_after is not None
    assert 59 < lowered.retry_after <= 60
    assert raised == 2


GAPS = st.one_of(st.sampled_from([0, 10, 20, 30, 60]), st.floats(0, 40))
STEPS = st.lists(st.tuples(GAPS, st.integers(0, 60)), max_size=60)


@given(steps=STEPS, limit=st.integers(1, 5))
def test_no_sixty_seconds_hold_more_requests_than_the_limit(steps: list[tuple[float, int]], limit: int) -> None:
    """And none is refused while fewer were admitted in the last sixty."""
    clock = ManualClock()
    limiter = memory_limiter(clock)
    admitted: list[float] = []

    async def run() -> None:
        for gap, _ in steps:
            clock.advance(gap)
            outcome = await ask(limiter, Allowance(requests_per_minute=limit))
            recent = [moment for moment in admitted if moment > clock.monotonic() - 60]
            assert isinstance(outcome, Standing) == (len(recent) < limit)
            if isinstance(outcome, Standing):
                admitted.append(clock.monotonic())

    asyncio.run(run())

    assert all(later - earlier >= 60 for earlier, later in zip(admitted, admitted[limit:], strict=False))


@given(steps=STEPS, limit=st.integers(1, 100))
def test_no_sixty_seconds_hold_twice_the_tokens(steps: list[tuple[float, int]], limit: int) -> None:
    """The bound of a sliding counter; and what was refused is admitted when it was told to come back."""
    clock = ManualClock()
    limiter = memory_limiter(clock)
    admitted: list[tuple[float, int]] = []

    async def run() -> None:
        for gap, tokens in steps:
            clock.advance(gap)
            outcome = await ask(limiter, Allowance(tokens_per_minute=limit), tokens=tokens)
            if isinstance(outcome, RateLimited) and outcome.retry_after is not None:
                assert outcome.retry_after <= 120
                clock.advance(outcome.retry_after + 0.001)
                outcome = await ask(limiter, Allowance(tokens_per_minute=limit), tokens=tokens)
                assert isinstance(outcome, Standing)
            if isinstance(outcome, Standing):
                admitted.append((clock.monotonic(), tokens))

    asyncio.run(run())

    for start, _ in admitted:
        assert sum(tokens for moment, tokens in admitted if start <= moment < start + 60) <= 2 * limit


@given(steps=st.lists(st.integers(1, 60), max_size=60), limit=st.integers(1, 100))
def test_tokens_of_one_window_never_exceed_the_limit(steps: list[int], limit: int) -> None:
    """Whatever their sizes are, and in whichever order they come; one that fits is never refused."""
    clock = ManualClock()
    limiter = memory_limiter(clock)
    used = 0

    async def run() -> int:
        total = used
        for tokens in steps:
            outcome = await ask(limiter, Allowance(tokens_per_minute=limit), tokens=tokens)
            assert isinstance(outcome, Standing) == (total + tokens <= limit)
            total += tokens if isinstance(outcome, Standing) else 0
        return total

    assert asyncio.run(run()) <= limit
