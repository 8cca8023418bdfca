"""Which aliases a call turns to, by what went wrong with the one before."""

import pytest

from feedback_gateway.errors import (
    ContentRefused,
    ContextTooLong,
    ProviderError,
    ProviderFailed,
    ProviderRejected,
    TaskUnsupported,
)
from feedback_gateway.llm.chains import Fallbacks
from tests.llm.bench import GOOD, Bench, outage

pytestmark = pytest.mark.anyio

LONG = ContextTooLong("too long", status=400)
REFUSED = ContentRefused("refused", status=400)


async def asked(bench: Bench) -> list[str]:
    """Whom one call asked, in that order, however it ended."""
    call = bench.call()
    try:
        await bench.complete(call)
    except ProviderFailed:
        assert call.attempts
    return [attempt.deployment for attempt in call.attempts]


async def test_context_too_long_goes_to_the_larger_model_at_once() -> None:
    """Past a deployment of the same model, and before any ordinary fallback."""
    bench = Bench(
        {"default/a": [LONG], "default/b": [LONG], "large/c": [GOOD], "cheap/d": [GOOD]},
        models={"default/a": "p/m", "default/b": "p/m"},
        fallbacks={"default": ["cheap"]},
        context={"default": ["large"]},
        attempts=2,
    )

    found = await asked(bench)

    assert found[0] in ("default/a", "default/b")
    assert found[1:] == ["large/c"]


async def test_refused_content_goes_to_the_one_configured_for_it() -> None:
    """Not to the one for long contexts."""
    bench = Bench(
        {"default/a": [REFUSED], "large/b": [GOOD], "mild/c": [GOOD]},
        context={"default": ["large"]},
        content={"default": ["mild"]},
    )

    assert await asked(bench) == ["default/a", "mild/c"]


@pytest.mark.parametrize("error", [outage(), ProviderRejected("no", status=400), TaskUnsupported("no")])
async def test_other_failures_do_not_trigger_them(error: ProviderError) -> None:
    """Only what is listed."""
    bench = Bench(
        {"default/a": [error], "large/b": [GOOD], "mild/c": [GOOD]},
        context={"default": ["large"]},
        content={"default": ["mild"]},
        attempts=1,
    )
    call = bench.call()

    with pytest.raises(Exception, match=r"no|internal error"):
        await bench.complete(call)

    assert [attempt.deployment for attempt in call.attempts] == ["default/a"]


async def test_without_such_a_fallback_every_deployment_has_its_say() -> None:
    """As with any other failure."""
    bench = Bench(
        {"default/a": [LONG], "default/b": [LONG], "cheap/c": [GOOD]},
        models={"default/a": "p/m", "default/b": "p/m"},
        fallbacks={"default": ["cheap"]},
    )

    assert sorted(await asked(bench)) == ["cheap/c", "default/a", "default/b"]


async def test_another_model_of_the_alias_is_asked_after_the_configured_one() -> None:
    """It may have a larger context, but nobody said so."""
    bench = Bench({"default/a": [LONG], "default/b": [LONG], "large/c": [outage()]}, context={"default": ["large"]})

    found = await asked(bench)

    assert found[1] == "large/c"
    assert sorted(found) == ["default/a", "default/b", "large/c"]


async def test_fallback_of_a_fallback_is_found_for_the_kinds_that_say_so() -> None:
    """A larger one, and a larger one still; a fallback's own wins over the first alias's."""
    bench = Bench(
        {"default/a": [LONG], "large/b": [LONG], "larger/c": [GOOD]},
        context={"default": ["large"], "large": ["larger"]},
    )

    assert await asked(bench) == ["default/a", "large/b", "larger/c"]


async def test_fallback_for_a_kind_holds_for_the_ordinary_fallbacks_too() -> None:
    """The alias that was asked for says what to do, where its fallback does not."""
    bench = Bench(
        {"default/a": [outage()], "cheap/b": [LONG], "large/c": [GOOD]},
        fallbacks={"default": ["cheap"]},
        context={"default": ["large"]},
    )

    assert await asked(bench) == ["default/a", "cheap/b", "large/c"]


async def test_answer_names_who_gave_it() -> None:
    """So that nobody keeps a fallback's answer as the first model's."""
    bench = Bench({"default/a": [LONG], "large/b": [GOOD]}, context={"default": ["large"]})
    call = bench.call()

    completion = await bench.complete(call)

    assert completion.deployment == call.deployment == "large/b"


def test_whoever_may_answer_is_within_reach() -> None:
    """What is held before a call covers each of them."""
    fallbacks = Fallbacks(
        general={"default": ["cheap"], "cheap": ["never"]},
        context={"cheap": ["large"], "large": ["larger"]},
        content={"default": ["mild"], "larger": ["default"]},
    )

    assert set(fallbacks.reachable("default")) == {"default", "cheap", "large", "larger", "mild"}


async def test_nobody_waits_for_a_deployment_that_would_say_the_same() -> None:
    """The same model under the same alias, which failed or cools down, is no hope for a request that is too long."""
    bench = Bench(
        {"default/a": [LONG], "default/b": [outage()], "large/c": [ProviderRejected("no", status=400)]},
        models={"default/a": "p/m", "default/b": "p/m"},
        weights={"default/a": 0.0},
        context={"default": ["large"]},
    )
    for _ in range(4):
        with pytest.raises(ProviderFailed) as failure:
            await bench.complete()
        assert not failure.value.retryable

    assert bench.health["default/b"].cooldowns == 1
    assert bench.clock.slept == []
