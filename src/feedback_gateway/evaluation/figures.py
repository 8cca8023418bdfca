"""What a run comes to: every figure of one run, from its rows and what came back for them. Runs nothing."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from feedback_gateway.errors import InvalidModelOutput
from feedback_gateway.evaluation.datasets import ANSWERS, Dataset, Labelled
from feedback_gateway.evaluation.intervals import Interval, resampled
from feedback_gateway.evaluation.metrics import (
    Bin,
    Scores,
    expected_calibration_error,
    majority_baseline,
    quantile,
    ratio,
    reliability,
    score,
)
from feedback_gateway.evaluation.runner import Run
from feedback_gateway.evaluation.thresholds import Believed
from feedback_gateway.tasks.models import Answer, Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was measured.

    Latencies are in milliseconds a call, many calls being under way at once; cost is in USD over the rows whose
    price is known. `calibration_error` is None where the answers carry no confidence in the label; `bins` show it.
    `schema_failures` counts rows that failed because no valid output came, of all `failures`.
    `unreviewed_accuracy` is about the answers that were not marked for review; `evidence_valid` of `evidence` quotes
    are the text at their offsets, and `without_evidence` answers that should quote do not.
    """

    scores: Scores
    majority: Scores
    accuracy: Interval
    macro_f1: Interval
    failures: Mapping[str, int]
    schema_failures: int
    calibration_error: float | None
    bins: Sequence[Bin]
    evidence: int
    evidence_valid: int
    without_evidence: int
    review_share: float
    unreviewed_accuracy: float
    cost_usd: Decimal
    unpriced: int
    input_tokens: int
    output_tokens: int
    p50_ms: float
    p95_ms: float
    seconds: float


def report_on(run: Run) -> Report:
    """The figures of one run."""
    outcomes, truths, predictions = run.outcomes, [row.label for row in run.rows], predicted(run)
    right = [truth == prediction for truth, prediction in zip(truths, predictions, strict=True)]
    answers = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
    sure = [
        hit
        for outcome, hit in zip(outcomes, right, strict=True)
        if isinstance(outcome, Answer) and not outcome.result.get("needs_review", False)
    ]
    stated = beliefs(run, right, claimed=False)
    scores = score(truths, predictions)
    accuracy, macro_f1 = resampled(scores.confusion)
    quotes, without = evidence_of(run.rows, outcomes)
    receipts = [outcome.receipt for outcome in outcomes if outcome.receipt is not None]
    latencies = [answer.latency_ms for answer in answers]
    return Report(
        scores=scores,
        majority=majority_baseline(truths),
        accuracy=accuracy,
        macro_f1=macro_f1,
        failures=Counter(outcome.error.detail for outcome in outcomes if isinstance(outcome, Failure)),
        schema_failures=sum(
            isinstance(outcome, Failure) and isinstance(outcome.error, InvalidModelOutput) for outcome in outcomes
        ),
        calibration_error=error_of(stated) if stated else None,
        bins=reliability([confidence for confidence, _ in stated], [hit for _, hit in stated]),
        evidence=len(quotes),
        evidence_valid=sum(quotes),
        without_evidence=without,
        review_share=1 - ratio(len(sure), len(answers)) if answers else 0.0,
        unreviewed_accuracy=ratio(sum(sure), len(sure)),
        cost_usd=sum((one.cost_usd for one in receipts if one.cost_usd is not None), Decimal(0)),
        unpriced=sum(one.cost_usd is None for one in receipts),
        input_tokens=sum(one.input_tokens for one in receipts),
        output_tokens=sum(one.output_tokens for one in receipts),
        p50_ms=quantile(latencies, 0.5),
        p95_ms=quantile(latencies, 0.95),
        seconds=run.seconds,
    )


def predicted(run: Run) -> list[str | None]:
    """The label that was answered for each row, None where none was."""
    return [predicted_label(run.dataset, row, outcome) for row, outcome in zip(run.rows, run.outcomes, strict=True)]


def predicted_label(dataset: Dataset, row: Labelled, outcome: Answer | Failure) -> str | None:
    """The label in a result, None where there is none."""
    if isinstance(outcome, Failure):
        return None
    value: Any = outcome.result
    for name in dataset.answer:
        value = value.get(name) if isinstance(value, Mapping) else None
    if dataset.mentioned:
        return row.label if any(row.label in text for text in texts_in(value)) else None
    return value if isinstance(value, str) else None


def beliefs(run: Run, right: Sequence[bool], *, claimed: bool) -> list[Believed]:
    """The confidence of every answer that has one in its label: the one returned, or the one that the model claimed."""
    if run.dataset.answer != ANSWERS.get(run.dataset.task):
        return []
    found = []
    for outcome, hit in zip(run.outcomes, right, strict=True):
        if isinstance(outcome, Answer):
            confidence = outcome.claim if claimed else outcome.result.get("confidence")
            if isinstance(confidence, int | float):
                found.append((float(confidence), hit))
    return found


def error_of(believed: Sequence[Believed]) -> float:
    """The calibration error of (confidence, right) pairs."""
    return expected_calibration_error([confidence for confidence, _ in believed], [hit for _, hit in believed])


def evidence_of(rows: Sequence[Labelled], outcomes: Sequence[Answer | Failure]) -> tuple[list[bool], int]:
    """Whether each quote is in its text at its place, and how many answers could quote and do not."""
    quotes: list[bool] = []
    without = 0
    for row, outcome in zip(rows, outcomes, strict=True):
        if isinstance(outcome, Answer):
            found = [valid_quote(quote, row) for quote in quotes_in(outcome.result)]
            quotes += found
            without += "evidence" in outcome.result and not found
    return quotes, without


def texts_in(value: Any) -> Iterator[str]:
    """Every text anywhere in a result."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from texts_in(item)


def quotes_in(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every quote with offsets anywhere in a result."""
    if isinstance(value, Mapping):
        if {"quote", "start", "end"} <= value.keys():
            yield value
            return
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from quotes_in(item)


def valid_quote(quote: Mapping[str, Any], row: Labelled) -> bool:
    """Whether a quote is the text at its offsets, of the source that it names."""
    text = row.inputs.get(str(quote.get("source", "text")), row.text)
    return bool(text[quote["start"] : quote["end"]] == quote["quote"])
