"""Who is asked, how often, and how long is waited between: deployments, fallbacks, retries, one budget of attempts."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedback_gateway.calls.models import Call
from feedback_gateway.errors import (
    ContextTooLong,
    DeadlineExceeded,
    GatewayError,
    InvalidModelOutput,
    ProviderError,
    ProviderFailed,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnauthorized,
    ProviderUnavailable,
    RateLimited,
    TaskUnsupported,
    Unavailable,
)
from feedback_gateway.llm.models import Completion, CompletionRequest, Message, Usage
from feedback_gateway.llm.scripted import Step
from feedback_gateway.ratelimits.models import Allowance
from tests.llm.bench import BAD_LABEL, GOOD, RATES, Bench, outage

pytestmark = pytest.mark.anyio


async def test_second_deployment_is_asked_at_once_when_the_first_fails() -> None:
    """Nobody waits while another deployment is eligible, not even for a Retry-After."""
    bench = Bench({"default/a": [ProviderRateLimited("slow down", status=429, retry_after=20)], "default/b": [GOOD]})

    completions = [await bench.complete() for _ in range(10)]

    assert {completion.deployment for completion in completions} == {"default/b"}
    assert bench.clock.slept == []


async def test_fallback_is_asked_at_once_when_every_deployment_of_the_alias_failed() -> None:
    """The fallback is another eligible deployment, so there is no wait before it either."""
    bench = Bench({"default/a": [outage()], "cheap/b": [GOOD]}, fallbacks={"default": ["cheap"]})
    call = bench.call()

    completion = await bench.complete(call)

    assert completion.deployment == "cheap/b"
    assert call.deployment == "cheap/b"
    assert bench.clock.slept == []


async def test_alone_failing_deployment_is_retried_with_jitter_up_to_the_configured_attempts() -> None:
    """Three attempts, two waits, each within its doubling bound."""
    bench = Bench({"default/a": [outage()]})

    with pytest.raises(ProviderFailed, match=r"default/a: provider-unavailable \(HTTP 500\): internal error"):
        await bench.complete()

    assert bench.sent == 3
    assert len(bench.clock.slept) == 2
    assert 0 <= bench.clock.slept[0] <= 0.5
    assert 0 <= bench.clock.slept[1] <= 1.0


async def test_retry_after_is_honoured_to_the_second() -> None:
    """A provider that says when to come back is asked then, not before."""
    bench = Bench({"default/a": [ProviderRateLimited("slow down", status=429, retry_after=7), GOOD]})

    await bench.complete()

    assert bench.clock.slept == [7]


async def test_deployment_under_retry_after_is_left_out_while_another_is_retried() -> None:
    """Its own moment is kept for each deployment: the other one's retry does not ask it early."""
    bench = Bench(
        {"default/a": [ProviderRateLimited("slow down", status=429, retry_after=60)], "default/b": [outage(), GOOD]}
    )

    completion = await bench.complete()

    assert completion.deployment == "default/b"
    assert len(bench.clients["default/a"].requests) <= 1


async def test_wait_that_would_outlast_the_deadline_is_not_begun() -> None:
    """The failure is told at once instead of after a wait that cannot help."""
    bench = Bench({"default/a": [ProviderRateLimited("slow down", status=429, retry_after=31)]})

    with pytest.raises(RateLimited) as failure:
        await bench.complete(bench.call(deadline=30))

    assert bench.clock.slept == []
    assert failure.value.retry_after == 31


@pytest.mark.parametrize("kind", [ProviderRejected, ProviderUnauthorized, ContextTooLong])
async def test_rejected_request_is_not_sent_to_the_same_deployment_again(kind: type[ProviderError]) -> None:
    """What was refused for good is refused again; another deployment may still take it."""
    bench = Bench(
        {"default/a": [kind("no", status=400)], "cheap/b": [outage(), GOOD]}, fallbacks={"default": ["cheap"]}
    )

    completion = await bench.complete()

    assert completion.deployment == "cheap/b"
    assert len(bench.clients["default/a"].requests) == 1


async def test_every_fallback_keeps_an_attempt_where_attempts_are_fewer_than_deployments() -> None:
    """Four dead deployments do not use up the attempt that the healthy fallback needs."""
    scripts: dict[str, Sequence[Step]] = {f"default/{name}": [outage()] for name in "abcd"}
    bench = Bench(scripts | {"cheap/z": [GOOD]}, fallbacks={"default": ["cheap"]})

    completion = await bench.complete()

    assert completion.deployment == "cheap/z"
    assert bench.sent == 3


async def test_deployments_share_the_load_by_weight() -> None:
    """Three to one means three to one; a weight of 0 takes no share."""
    bench = Bench(
        {"default/a": [GOOD], "default/b": [GOOD], "default/c": [GOOD]},
        weights={"default/a": 3, "default/b": 1, "default/c": 0},
    )

    for _ in range(2000):
        await bench.complete()

    share = len(bench.clients["default/a"].requests) / 2000
    assert 0.71 < share < 0.79
    assert bench.clients["default/c"].requests == []


async def test_invalid_answer_is_shown_to_the_model_that_gave_it_once() -> None:
    """The repair turn holds the answer and its flaw, and goes to the deployment that erred."""
    bench = Bench({"default/a": [BAD_LABEL, GOOD], "default/b": [BAD_LABEL, GOOD]})
    call = bench.call()

    completion = await bench.complete(call)

    assert completion.value == {"label": "good"}
    assert [attempt.purpose for attempt in call.attempts] == ["answer", "repair"]
    assert call.attempts[0].deployment == call.attempts[1].deployment
    repair = bench.clients[call.attempts[1].deployment].requests[1].messages
    assert repair[-2] == Message("assistant", '{"label": "great"}')
    assert 'label: the value is not one of "good"' in repair[-1].content


async def test_repair_turn_goes_to_whoever_erred_among_many() -> None:
    """Also where attempts are fewer than deployments."""
    scripts: dict[str, Sequence[Step]] = {f"default/{name}": [BAD_LABEL, GOOD] for name in "abcdef"}

    for seed in range(20):
        bench = Bench(scripts, attempts=2, seed=seed)
        call = bench.call()
        await bench.complete(call)
        assert call.attempts[0].deployment == call.attempts[1].deployment


async def test_deployment_that_hangs_leaves_time_for_the_others() -> None:
    """Its share of the deadline over, the fallback is asked, and what it may still answer stays in the books."""
    bench = Bench({"default/a": [GOOD], "cheap/b": [GOOD]}, fallbacks={"default": ["cheap"]})
    never = asyncio.Event()

    async def hang(request: CompletionRequest, call: Call) -> Completion:
        await never.wait()
        return GOOD

    bench.clients["default/a"].complete = hang  # type: ignore[method-assign]
    call = bench.call(deadline=0.2)

    completion = await bench.complete(call)

    assert completion.deployment == "cheap/b"
    assert [(attempt.status, attempt.error) for attempt in call.attempts] == [
        ("abandoned", "provider-timeout"),
        ("ok", None),
    ]
    never.set()
    await asyncio.gather(*call.pending)


async def test_answer_that_stays_invalid_is_an_error_and_both_attempts_are_billed() -> None:
    """Nothing outside the enumeration leaves, and what it cost is known."""
    bench = Bench({"default/a": [BAD_LABEL]})
    call = bench.call()

    with pytest.raises(InvalidModelOutput, match="label: the value is not one of"):
        await bench.complete(call)

    assert bench.sent == 2
    assert call.receipt().cost_usd == 2 * (100 * RATES.input + 20 * RATES.output)


async def test_invalid_answers_of_one_go_to_the_other_deployment_and_then_to_the_fallback() -> None:
    """Each is told once what was wrong; who errs again is not asked any more, and nobody is waited for."""
    bench = Bench(
        {"default/a": [BAD_LABEL], "default/b": [BAD_LABEL], "cheap/c": [GOOD]},
        attempts=5,
        fallbacks={"default": ["cheap"]},
    )
    call = bench.call()

    completion = await bench.complete(call)

    assert completion.deployment == "cheap/c"
    assert sorted(attempt.deployment for attempt in call.attempts[:4]) == ["default/a"] * 2 + ["default/b"] * 2
    assert [attempt.purpose for attempt in call.attempts] == ["answer", "repair", "answer", "repair", "answer"]
    assert bench.clock.slept == []


@pytest.mark.parametrize("attempts", [2, 3])
async def test_last_attempt_after_an_invalid_answer_is_the_fallbacks(attempts: int) -> None:
    """As every alias of a chain keeps one, whether or not that leaves one for the repair."""
    bench = Bench({"default/a": [BAD_LABEL], "cheap/b": [GOOD]}, attempts=attempts, fallbacks={"default": ["cheap"]})
    call = bench.call()

    completion = await bench.complete(call)

    assert completion.deployment == "cheap/b"
    assert [attempt.deployment for attempt in call.attempts] == ["default/a"] * (attempts - 1) + ["cheap/b"]


async def test_error_after_invalid_answers_names_everyone_who_erred_and_what_is_used_up() -> None:
    """So that nobody wonders why there was no further question."""
    bench = Bench({"default/a": [BAD_LABEL], "cheap/b": [BAD_LABEL]}, fallbacks={"default": ["cheap"]})

    with pytest.raises(InvalidModelOutput) as caught:
        await bench.complete()

    assert caught.value.detail.startswith("default/a: label: ")
    assert ", also after the repair turn; cheap/b: label: " in caught.value.detail
    assert caught.value.detail.endswith("no attempt of `retry.attempts` was left to ask again")


async def test_error_after_invalid_answers_says_why_the_fallback_did_not_answer() -> None:
    """Both are told: what was wrong with the answers, and what came of the fallback."""
    bench = Bench({"default/a": [BAD_LABEL], "cheap/b": [outage()]}, fallbacks={"default": ["cheap"]})

    with pytest.raises(InvalidModelOutput, match=r"a: label: .*; nobody else answered: .*cheap/b: provider-unavail"):
        await bench.complete()


async def test_failed_attempts_are_billed_when_the_provider_reported_usage() -> None:
    """An answer that arrived and could not be used is in the sum beside the one that could."""
    wasted = ProviderUnavailable("no choices", status=200, usage=Usage(uncached_input_tokens=100))
    bench = Bench({"default/a": [wasted, GOOD]})
    call = bench.call()

    await bench.complete(call)

    assert call.receipt().cost_usd == 200 * RATES.input + 20 * RATES.output
    assert call.receipt().input_tokens == 200


async def test_task_that_no_deployment_can_do_is_unavailable() -> None:
    """503, with the sentence that names the setting, and not a provider's failure."""
    bench = Bench({"default/a": [TaskUnsupported("add a language model")]})

    with pytest.raises(Unavailable, match="add a language model"):
        await bench.complete()


async def test_task_that_the_first_model_cannot_do_goes_to_the_fallback() -> None:
    """The embedded model in front of a language model."""
    bench = Bench({"default/a": [TaskUnsupported("no")], "cheap/b": [GOOD]}, fallbacks={"default": ["cheap"]})

    assert (await bench.complete()).deployment == "cheap/b"


def step() -> st.SearchStrategy[Step]:
    """Any way in which a provider may answer."""
    failures = st.sampled_from(
        [
            outage(),
            ProviderRateLimited("slow down", status=429, retry_after=2),
            ProviderRateLimited("slow down", status=429),
            ProviderRejected("no", status=400),
            ContextTooLong("too long", status=400),
            TaskUnsupported("cannot"),
            ProviderUnavailable("empty", status=200, usage=Usage(uncached_input_tokens=5)),
        ]
    )
    return st.one_of(failures, st.just(GOOD), st.just(BAD_LABEL))


@settings(max_examples=300, deadline=None)
@given(
    scripts=st.fixed_dictionaries(
        {},
        optional={
            name: st.lists(step(), min_size=1, max_size=4) for name in ("default/a", "default/b", "cheap/c", "last/d")
        },
    ).filter(bool),
    limits=st.dictionaries(st.sampled_from(["default/a", "default/b", "cheap/c", "last/d"]), st.integers(0, 2)),
    attempts=st.integers(1, 6),
    deadline=st.floats(0.5, 40),
    seed=st.integers(0, 2**16),
)
def test_whatever_fails_attempts_time_and_books_stay_in_bounds(
    scripts: dict[str, Sequence[Step]], limits: dict[str, int], attempts: int, deadline: float, seed: int
) -> None:
    """For every pattern of failures: at most the configured attempts, nobody waits past the deadline, all is booked."""
    allowances = {name: Allowance(requests_per_minute=limit) for name, limit in limits.items()}
    fallbacks = {"default": ["cheap", "last"]}
    bench = Bench(scripts, attempts=attempts, fallbacks=fallbacks, allowances=allowances, seed=seed)
    call = bench.call(deadline=deadline)

    async def run() -> Completion | GatewayError:
        try:
            return await bench.complete(call)
        except GatewayError as error:
            return error

    outcome = asyncio.run(run())

    assert bench.sent == len(call.attempts) <= attempts
    assert bench.clock.monotonic() < deadline
    assert all(len(bench.clients[name].requests) <= limit for name, limit in limits.items() if name in scripts)
    failures = Completion | ProviderFailed | RateLimited | InvalidModelOutput | Unavailable | DeadlineExceeded
    assert isinstance(outcome, failures)
    if isinstance(outcome, RateLimited):
        assert {attempt.error for attempt in call.attempts} <= {"provider-rate-limited", "task-unsupported"}
    if isinstance(outcome, Completion):
        assert outcome.value == {"label": "good"}
    billed = [attempt for attempt in call.attempts if attempt.usage is not None]
    assert call.receipt().cost_usd == sum((attempt.cost_usd or Decimal(0) for attempt in billed), Decimal(0))
    final = [attempt for attempt in call.attempts if attempt.error in ("provider-rejected", "context-too-long")]
    assert len({attempt.deployment for attempt in final}) == len(final)
