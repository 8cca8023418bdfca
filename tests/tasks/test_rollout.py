"""Which version answers an item: the same one always, as many as the share says, and none let go by a larger share."""

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback_gateway.errors import Gone
from feedback_gateway.tasks.rollout import Canary, Deprecation, Deprecations, Rollout

ids = st.one_of(st.text(min_size=1, max_size=20), st.integers())
items = st.one_of(
    st.fixed_dictionaries({"id": ids, "text": st.text(max_size=30)}),
    st.fixed_dictionaries({"text": st.text(max_size=30)}),
    st.fixed_dictionaries({"texts": st.lists(st.fixed_dictionaries({"id": ids, "text": st.text(max_size=9)}))}),
)
shares = st.floats(min_value=0, max_value=1)


def version_for(item: object, share: float) -> int:
    """The version that answers `item` where version 2 is tried on a share."""
    return Rollout(serving=1, canary=Canary(version=2, share=share)).version_for("mood", item)


@given(items, shares, shares)
def test_growing_the_share_keeps_those_already_in_it(item: dict[str, Any], one: float, other: float) -> None:
    """Whoever had the canary has it still when more have it."""
    low, high = sorted((one, other))

    assert version_for(item, low) <= version_for(item, high)


@given(items, shares, st.text(), st.dictionaries(st.text(max_size=5), st.text(max_size=5)))
def test_item_keeps_its_version_whatever_else_it_brings(
    item: dict[str, Any], share: float, text: str, metadata: dict[str, str]
) -> None:
    """With an id neither another text nor metadata matter, without one metadata and an empty id do not."""
    changed = {**item, "metadata": metadata, "taxonomy": {"categories": [text]}}
    changed |= {"text": text} if "id" in item else {"id": ""}

    assert version_for(item, share) == version_for(changed, share)


@given(items)
def test_share_of_nothing_and_of_everything_are_exact(item: dict[str, Any]) -> None:
    """Nobody has the canary at 0, everybody at 1."""
    assert (version_for(item, 0.0), version_for(item, 1.0)) == (1, 2)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2, 0.5, 0.9])
def test_measured_share_is_within_binomial_bounds(share: float) -> None:
    """Of 20,000 items five standard deviations at most are too many or too few."""
    count = 20_000

    found = sum(version_for({"id": number, "text": "x"}, share) == 2 for number in range(count))

    assert abs(found - count * share) <= 5 * math.sqrt(count * share * (1 - share))


def test_canaries_of_two_tasks_try_different_items() -> None:
    """It is not always the same items that meet what is new."""
    rollout = Rollout(serving=1, canary=Canary(version=2, share=0.5))

    same = sum(
        rollout.version_for("mood", {"id": number}) == rollout.version_for("other", {"id": number})
        for number in range(2_000)
    )

    assert 850 < same < 1_150


@pytest.mark.parametrize(("answered_by", "beside"), [(1, 3), (2, 3), (3, 1)])
def test_shadow_runs_beside_every_other_version(answered_by: int, beside: int) -> None:
    """Where it answered itself, as the canary, the version that serves runs beside it."""
    assert Rollout(serving=1, canary=Canary(version=3, share=0.5), shadow=3).beside(answered_by) == beside


def test_without_a_shadow_nothing_runs_beside() -> None:
    """A canary alone costs nothing more."""
    assert Rollout(serving=1, canary=Canary(version=2, share=0.5)).beside(1) is None


def test_version_is_refused_from_its_sunset_on() -> None:
    """Not a moment before, and only where its caller names it."""
    sunset = datetime(2026, 6, 1, tzinfo=UTC)
    known = Deprecations({("mood", 1): Deprecation(since=datetime(2026, 3, 1, tzinfo=UTC), sunset=sunset)})

    known.refuse_ended("mood", 1, now=datetime(2026, 5, 31, 23, 59, 59, tzinfo=UTC))
    known.refuse_ended("mood", None, now=sunset)
    with pytest.raises(Gone, match="ended at 2026-06-01T00:00:00Z"):
        known.refuse_ended("mood", 1, now=sunset)
