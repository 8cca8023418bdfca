"""What counts as a disagreement, and how sure the rate is."""

from typing import Any

import pytest

from feedback_gateway.calls.pairs import Pair, Side
from feedback_gateway.evaluation.disagreements import Disagreements
from feedback_gateway.feedback.agreement import wilson
from feedback_gateway.tasks.labels import labels_of

SCHEMA = {
    "type": "object",
    "properties": {
        "category": {"type": "string", "x-enum-from": "taxonomy.categories.name"},
        "severity": {"type": "string", "enum": ["major", "minor"]},
        "language": {"type": "string", "pattern": "^[a-z]{2}$"},
        "urgent": {"type": "boolean"},
        "summary": {"type": "string"},
        "confidence": {"type": "number"},
        "evidence": {"type": "array", "items": {"type": "object"}},
        "inner": {"type": "object", "properties": {"kind": {"enum": ["a", "b"]}}},
    },
}


def pair(left: Any, right: Any, *, status: str = "ok") -> Pair:
    """Two answers to one item."""
    one = Side(call_id="one", version=1, model="default", status="ok", result=left)
    other = Side(call_id="other", version=2, model="default", status=status, result=right)
    return Pair(purpose="shadow", answered=one, beside=other, inputs={"text": "x"})


def test_labels_are_compared_and_prose_is_not() -> None:
    """Enumerations, patterns, flags and the team; no sentences, numbers or lists."""
    found = labels_of([SCHEMA])

    assert found == ("category", "severity", "language", "urgent", "inner.kind", "route.team")


def test_pairs_are_counted_by_label_with_what_changed() -> None:
    """Failures and what the log does not have are no disagreement."""
    pairs = [
        pair({"category": "bug", "summary": "one"}, {"category": "bug", "summary": "other"}),
        pair({"category": "bug", "route": {"team": "core"}}, {"category": "praise", "route": {"team": None}}),
        pair({"category": "bug"}, None, status="failed"),
        pair(None, {"category": "bug"}),
    ]

    found = Disagreements(labels_of([SCHEMA]), 10).add(pairs)

    (comparison,) = found.comparisons.values()
    assert (comparison.pairs, comparison.failed, comparison.unknown, comparison.compared) == (4, 1, 1, 2)
    assert comparison.agreement == 0.5
    assert comparison.fields["category"].changes == {("bug", "praise"): 1}
    assert comparison.fields["route.team"].changes == {("core", "(none)"): 1}
    assert [difference.fields for difference in found.differences] == [("category", "route.team")]


def test_interval_is_that_of_wilson() -> None:
    """As published tables have it, and none without trials."""
    assert wilson(8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775328), abs=1e-6)
    assert wilson(0, 0) is None
