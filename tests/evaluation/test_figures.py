"""What a run comes to."""

from decimal import Decimal
from typing import Any

import pytest

from feedback_gateway.evaluation.datasets import Dataset, Labelled
from feedback_gateway.evaluation.figures import predicted, report_on
from feedback_gateway.evaluation.runner import Run, Subject
from feedback_gateway.tasks.models import Answer, Failure
from tests.evaluation.runs import answered, failed, run_of

ROWS = [("one", "a"), ("two", "a"), ("three", "b"), ("four", "b")]
QUOTE = {"quote": "one", "start": 0, "end": 3}


def test_failures_are_counted_by_what_they_failed_with() -> None:
    """Those without valid output apart; all are wrong answers."""
    run = run_of(ROWS, [answered({"category": "a"}), failed(), failed(invalid=False), failed()])

    report = report_on(run)

    assert dict(report.failures) == {"no valid output": 2, "down": 1}
    assert (report.schema_failures, report.scores.accuracy) == (2, 0.25)


def test_cost_and_tokens_are_sums_and_exact() -> None:
    """Of everything that was billed."""
    report = report_on(run_of(ROWS, [answered({"category": "a"})] * 4))

    assert (report.cost_usd, report.unpriced) == (Decimal("0.04"), 0)
    assert (report.input_tokens, report.output_tokens) == (40, 8)
    assert (report.p50_ms, report.p95_ms, report.seconds) == (10, 10, 1.5)


def test_quotes_are_checked_against_the_text() -> None:
    """One is there, one is not, two answers have none although they could."""
    results: list[dict[str, Any]] = [
        {"category": "a", "evidence": [QUOTE, QUOTE | {"quote": "One"}]},
        {"category": "a", "evidence": []},
        {"category": "b", "evidence": []},
        {"category": "b"},
    ]

    report = report_on(run_of(ROWS, [answered(result) for result in results]))

    assert (report.evidence, report.evidence_valid, report.without_evidence) == (2, 1, 2)


def test_calibration_is_that_of_the_returned_confidence() -> None:
    """Not of the claimed one; answers without any have no part in it."""
    outcomes: list[Answer | Failure] = [
        answered({"category": "a", "confidence": 0.8}, claim=1.0),
        answered({"category": "b", "confidence": 0.8}, claim=1.0),
        answered({"category": "b"}, claim=1.0),
        failed(),
    ]

    report = report_on(run_of(ROWS, outcomes))

    assert report.calibration_error == pytest.approx(0.3)
    assert [one.rows for one in report.bins] == [2]


def test_review_share_and_what_the_others_are_worth() -> None:
    """Half is marked, and the rest is right."""
    results = [("a", False), ("b", True), ("b", False), ("a", True)]
    outcomes = [answered({"category": label, "needs_review": marked}) for label, marked in results]

    report = report_on(run_of(ROWS, outcomes))

    assert (report.review_share, report.unreviewed_accuracy) == (0.5, 1.0)


def test_an_answer_that_mentions_the_label_is_right() -> None:
    """Where no enumeration holds it, and only in the part that is asked for."""
    dataset = Dataset(
        name="faults",
        task="root-cause-suggest",
        rows=[Labelled("slow", "pod-7", {"logs": "pod-7 is down"})] * 2,
        answer=("hypotheses",),
        mentioned=True,
    )
    quote = {"source": "logs", "quote": "pod-7", "start": 0, "end": 5}
    results: list[dict[str, Any]] = [
        {"hypotheses": [{"cause": "c", "evidence": [quote]}]},
        {"hypotheses": [], "five_whys": ["pod-7"]},
    ]
    run = Run(dataset=dataset, subject=Subject(), outcomes=[answered(one) for one in results], seconds=1.0)

    assert predicted(run) == ["pod-7", None]
    assert (report_on(run).evidence, report_on(run).evidence_valid) == (1, 1)
