"""A deployment's own limit of requests and tokens: who is asked instead, what is told, and when it is asked again."""

from dataclasses import replace

import pytest

from feedback_gateway.errors import (
    CoolingDown,
    InvalidModelOutput,
    ProviderFailed,
    ProviderRateLimited,
    RateLimited,
    TaskUnsupported,
)
from feedback_gateway.llm.models import Message
from feedback_gateway.llm.tokens import token_estimate
from feedback_gateway.ratelimits.models import Allowance
from tests.llm.bench import BAD_LABEL, GOOD, REQUEST, Bench, outage

pytestmark = pytest.mark.anyio

NONE = Allowance(requests_per_minute=0)
ONE = Allowance(requests_per_minute=1)
SLOW_DOWN = ProviderRateLimited("slow down", status=429, retry_after=20)


async def limited(bench: Bench, *, deadline: float = 30) -> RateLimited:
    """The refusal of one completion, which must be one."""
    with pytest.raises(RateLimited) as failure:
        await bench.complete(bench.call(deadline=deadline))
    return failure.value


async def test_next_deployment_is_asked_at_once_and_no_attempt_is_used_up() -> None:
    """With one attempt a call has, the second deployment still answers."""
    bench = Bench(
        {"default/a": [GOOD], "cheap/b": [GOOD]},
        allowances={"default/a": ONE},
        attempts=1,
        fallbacks={"default": ["cheap"]},
    )
    first, second = bench.call(), bench.call()

    completions = [await bench.complete(first), await bench.complete(second)]

    assert [completion.deployment for completion in completions] == ["default/a", "cheap/b"]
    assert [len(first.attempts), len(second.attempts), second.attempts_left] == [1, 1, 0]
    assert bench.clock.slept == []


async def test_deployments_at_their_limit_make_room_for_those_that_attempts_did_not_reach() -> None:
    """Six that may not be asked do not hide the seventh, however few attempts there are."""
    names = [f"default/{letter}" for letter in "abcdef"]
    for seed in range(20):
        bench = Bench(
            {name: [GOOD] for name in [*names, "default/z"]},
            allowances=dict.fromkeys(names, NONE),
            attempts=1,
            seed=seed,
        )
        assert (await bench.complete()).deployment == "default/z"


async def test_room_is_filled_in_the_order_of_the_chain() -> None:
    """A fallback's second deployment stands behind the alias's own, and before the last fallback."""
    bench = Bench(
        {"default/a": [GOOD], "cheap/b": [outage()], "cheap/c": [outage()], "last/d": [outage()]},
        allowances={"default/a": NONE},
        fallbacks={"default": ["cheap", "last"]},
    )
    call = bench.call()

    with pytest.raises(ProviderFailed):
        await bench.complete(call)

    assert [attempt.deployment.split("/")[0] for attempt in call.attempts] == ["cheap", "cheap", "last"]


async def test_room_is_filled_behind_those_who_were_to_be_asked_anyway() -> None:
    """The last fallback's second deployment does not step in front of the first fallback."""
    bench = Bench(
        {"default/a": [GOOD], "cheap/b": [outage()], "last/c": [outage()], "last/d": [outage()]},
        allowances={"default/a": NONE},
        fallbacks={"default": ["cheap", "last"]},
    )
    call = bench.call()

    with pytest.raises(ProviderFailed):
        await bench.complete(call)

    assert [attempt.deployment.split("/")[0] for attempt in call.attempts] == ["cheap", "last", "last"]


async def test_limit_of_every_deployment_is_told_with_the_earliest_return() -> None:
    """Whose limit gives way first, how large it is, and when."""
    bench = Bench({"default/a": [GOOD], "default/b": [GOOD]}, allowances={"default/a": ONE, "default/b": ONE})
    first = await bench.complete()
    bench.clock.advance(18)
    await bench.complete()
    bench.clock.advance(10)

    error = await limited(bench)

    assert (error.source, error.scope, error.name) == ("gateway", "deployment", first.deployment)
    assert (error.limit, error.unit, error.retry_after, error.retryable) == (1, "requests", 32, True)
    assert f"{first.deployment}: its limit of 1 request a minute is used up, again in 32 s" in error.detail
    assert "again in 50 s" in error.detail
    assert bench.sent == 2


async def test_limit_that_returns_before_the_deadline_is_waited_for() -> None:
    """Like a provider's Retry-After, to the second, and without using up an attempt."""
    bench = Bench({"default/a": [GOOD]}, allowances={"default/a": ONE}, attempts=1)
    await bench.complete()
    bench.clock.advance(50)

    completion = await bench.complete()

    assert completion.deployment == "default/a"
    assert bench.clock.slept == [10]


async def test_limit_that_returns_after_the_deadline_is_told_at_once() -> None:
    """Nobody waits for what cannot help."""
    bench = Bench({"default/a": [GOOD]}, allowances={"default/a": ONE})
    await bench.complete()

    assert (await limited(bench)).retry_after == 60
    assert bench.clock.slept == []


async def test_deployment_at_its_limit_takes_no_attempt_of_the_one_that_is_retried() -> None:
    """Three attempts are three, round after round."""
    bench = Bench({"default/a": [GOOD], "default/b": [outage(), outage(), GOOD]}, allowances={"default/a": NONE})
    call = bench.call()

    completion = await bench.complete(call)

    assert completion.deployment == "default/b"
    assert [attempt.deployment for attempt in call.attempts] == ["default/b"] * 3


async def test_request_larger_than_the_limit_never_goes_there() -> None:
    """Its tokens are counted before it is sent; the error says that waiting cannot help."""
    bench = Bench({"default/a": [GOOD]}, allowances={"default/a": Allowance(tokens_per_minute=40)})

    error = await limited(bench)

    assert (error.retryable, error.retry_after, error.unit) == (False, None, "tokens")
    assert "its limit is 40 tokens a minute, the request counts as 54 tokens" in error.detail
    assert bench.sent == 0


async def test_tokens_a_minute_are_held() -> None:
    """Of 54 tokens each, three requests fit under 200."""
    bench = Bench({"default/a": [GOOD]}, allowances={"default/a": Allowance(tokens_per_minute=200)})
    for _ in range(3):
        await bench.complete()

    error = await limited(bench)

    assert (error.limit, error.unit, bench.sent) == (200, "tokens", 3)


async def test_limits_of_providers_alone_are_the_providers() -> None:
    """Everybody's 429: the one who is back first is named; how large its limit is nobody knows."""
    bench = Bench(
        {
            "default/a": [ProviderRateLimited("slow down", status=429, retry_after=50)],
            "default/b": [ProviderRateLimited("slow down", status=429, retry_after=40)],
        }
    )

    error = await limited(bench)

    assert (error.source, error.scope, error.name) == ("provider", "provider", "default/b")
    assert (error.limit, error.unit, error.retry_after) == (None, None, 40)
    assert "default/a: provider-rate-limited (HTTP 429): slow down" in error.detail


@pytest.mark.parametrize(("passed", "scope"), [(10, "provider"), (45, "deployment")])
async def test_of_both_kinds_of_limits_the_one_that_gives_way_first_is_named(passed: float, scope: str) -> None:
    """The provider's in 20 seconds, ours in 50 or in 15."""
    bench = Bench(
        {"default/a": [GOOD], "cheap/b": [SLOW_DOWN]}, allowances={"default/a": ONE}, fallbacks={"default": ["cheap"]}
    )
    await bench.complete()
    bench.clock.advance(passed)

    assert (await limited(bench, deadline=10)).scope == scope


async def test_provider_that_does_not_say_when_may_be_asked_again_any_time() -> None:
    """So no time is told, and it is the one that is named."""
    bench = Bench(
        {"default/a": [GOOD], "cheap/b": [ProviderRateLimited("slow down", status=429)]},
        allowances={"default/a": ONE},
        attempts=1,
        fallbacks={"default": ["cheap"]},
    )
    await bench.complete()

    error = await limited(bench)

    assert (error.name, error.retry_after, error.retryable) == ("cheap/b", None, True)


async def test_any_other_failure_in_between_is_a_failure() -> None:
    """An outage is not told as a matter of rates."""
    bench = Bench(
        {"default/a": [GOOD], "cheap/b": [outage()], "last/c": [SLOW_DOWN]},
        allowances={"default/a": NONE},
        fallbacks={"default": ["cheap", "last"]},
    )

    with pytest.raises(ProviderFailed) as failure:
        await bench.complete()

    assert "default/a: its limit is 0 requests a minute, nothing is admitted" in failure.value.detail
    assert "cheap/b: provider-unavailable (HTTP 500)" in failure.value.detail


async def test_model_that_cannot_do_the_task_does_not_hide_the_limit() -> None:
    """The embedded model in front of a language model that is at its limit: coming back helps."""
    bench = Bench(
        {"default/a": [TaskUnsupported("no")], "cheap/b": [GOOD]},
        allowances={"cheap/b": ONE},
        fallbacks={"default": ["cheap"]},
    )
    await bench.complete()

    error = await limited(bench)

    assert (error.scope, error.name, error.retry_after) == ("deployment", "cheap/b", 60)


async def test_repair_that_meets_a_limit_leaves_the_invalid_answer_as_the_error() -> None:
    """The answer was invalid; that nobody could be asked to mend it is told beside."""
    bench = Bench({"default/a": [BAD_LABEL]}, allowances={"default/a": ONE})

    with pytest.raises(InvalidModelOutput, match=r"the repair failed: .* its limit of 1 request a minute is used up"):
        await bench.complete()


async def test_repair_goes_to_another_deployment_where_the_first_is_at_its_limit() -> None:
    """Better somebody else than nobody."""
    bench = Bench(
        {"default/a": [BAD_LABEL], "cheap/b": [GOOD]}, allowances={"default/a": ONE}, fallbacks={"default": ["cheap"]}
    )

    assert (await bench.complete()).deployment == "cheap/b"


async def test_admitted_call_forgets_the_refusal_before() -> None:
    """What is told of a call is how things stand, not how they stood."""
    bench = Bench({"default/a": [GOOD, outage()]}, allowances={"default/a": ONE}, attempts=1)
    await bench.complete()
    bench.clock.advance(50)
    call = bench.call()

    with pytest.raises(ProviderFailed, match="internal error"):
        await bench.complete(call)

    assert call.refusals == {}
    assert bench.clock.slept == [10]


def test_tokens_are_estimated_from_bytes_and_the_longest_answer() -> None:
    """A third of the messages' UTF-8 bytes, rounded up, and `max_tokens`."""
    two = replace(REQUEST, messages=(Message("system", "é"), Message("user", "How is it?")))

    assert token_estimate(REQUEST) == 4 + 50
    assert token_estimate(two) == 4 + 50
    assert token_estimate(replace(two, max_tokens=7)) == 4 + 7


async def test_deployment_that_cools_down_uses_up_nothing_of_its_allowance() -> None:
    """Nobody is admitted who is not sent."""
    bench = Bench({"default/a": [outage()]}, allowances={"default/a": Allowance(requests_per_minute=4)})
    with pytest.raises(ProviderFailed):
        await bench.complete()
    for _ in range(5):
        with pytest.raises(CoolingDown):
            await bench.complete(bench.call(deadline=1))
    bench.clients["default/a"].play([GOOD])

    completion = await bench.complete()

    assert completion.deployment == "default/a"
    assert bench.clock.monotonic() < 10
