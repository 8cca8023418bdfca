"""Runs a task over labelled rows through the ordinary services, so that what is measured is what users get."""

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from feedback_gateway.evaluation.datasets import ANSWERS, Dataset
from feedback_gateway.evaluation.metrics import (
    Scores,
    expected_calibration_error,
    majority_baseline,
    quantile,
    ratio,
    score,
)
from feedback_gateway.services import open_services
from feedback_gateway.settings import Settings
from feedback_gateway.tasks.models import Answer, CallOptions, Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is measured: an alias and a prompt version, None for the configured ones."""

    model: str | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was measured.

    Latencies are in milliseconds a call, many calls being under way at once; cost is in USD over the rows whose
    price is known. `calibration_error` is None where the answers carry no confidence in the label.
    `unreviewed_accuracy` is about the answers that were not marked for review; `evidence_valid` of `evidence` quotes
    are the text at their offsets.
    """

    scores: Scores
    majority: Scores
    failures: Mapping[str, int]
    calibration_error: float | None
    evidence: int
    evidence_valid: int
    review_share: float
    unreviewed_accuracy: float
    cost_usd: Decimal
    unpriced: int
    p50_ms: float
    p95_ms: float
    seconds: float


async def evaluate(settings: Settings, dataset: Dataset, *, subject: Subject, limit: int | None = None) -> Report:
    """Measure one set. Raises what opening the services raises, and UnknownTask or InvalidRequest for the subject."""
    rows = dataset.rows[:limit]
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        if dataset.taxonomy is not None:
            file = Path(folder) / "taxonomy.yaml"
            file.write_text(json.dumps(dataset.taxonomy, ensure_ascii=False), encoding="utf-8")
            settings = settings.model_copy(update={"taxonomy": file})
        async with open_services(settings) as services:
            outcomes = await services.tasks.run_many(
                dataset.task,
                [{"text": row.text} for row in rows],
                consumer=await asyncio.to_thread(services.books.consumers.local),
                options=CallOptions(model=subject.model, prompt_version=subject.version, cache="bypass"),
            )
    return summarise(dataset, outcomes, seconds=time.perf_counter() - started)


async def evaluate_all(
    settings: Settings,
    datasets: Sequence[Dataset],
    *,
    subject: Subject,
    limit: int | None,
    report: Callable[[Dataset], None],
) -> list[tuple[Dataset, Report]]:
    """Measure one set after the other; `report` is told which one is next."""
    measured = []
    for dataset in datasets:
        report(dataset)
        measured.append((dataset, await evaluate(settings, dataset, subject=subject, limit=limit)))
    return measured


def summarise(dataset: Dataset, outcomes: Sequence[Answer | Failure], *, seconds: float) -> Report:
    """The figures of one run."""
    rows = dataset.rows[: len(outcomes)]
    truths = [row.label for row in rows]
    predictions = [predicted_label(dataset, outcome) for outcome in outcomes]
    right = [truth == prediction for truth, prediction in zip(truths, predictions, strict=True)]
    answers = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
    believed = [
        (float(outcome.result["confidence"]), hit)
        for outcome, hit in zip(outcomes, right, strict=True)
        if isinstance(outcome, Answer) and isinstance(outcome.result.get("confidence"), int | float)
    ]
    sure = [
        hit
        for outcome, hit in zip(outcomes, right, strict=True)
        if isinstance(outcome, Answer) and not outcome.result.get("needs_review", False)
    ]
    quotes = [
        valid_quote(quote, row.text)
        for row, outcome in zip(rows, outcomes, strict=True)
        if isinstance(outcome, Answer)
        for quote in quotes_in(outcome.result)
    ]
    costs = [outcome.receipt.cost_usd for outcome in outcomes if outcome.receipt is not None]
    latencies = [answer.latency_ms for answer in answers]
    return Report(
        scores=score(truths, predictions),
        majority=majority_baseline(truths),
        failures=count_failures(outcomes),
        calibration_error=calibration(believed) if dataset.answer == ANSWERS.get(dataset.task) else None,
        evidence=len(quotes),
        evidence_valid=sum(quotes),
        review_share=1 - ratio(len(sure), len(answers)) if answers else 0.0,
        unreviewed_accuracy=ratio(sum(sure), len(sure)),
        cost_usd=sum((cost for cost in costs if cost is not None), Decimal(0)),
        unpriced=sum(cost is None for cost in costs),
        p50_ms=quantile(latencies, 0.5),
        p95_ms=quantile(latencies, 0.95),
        seconds=seconds,
    )


def calibration(believed: Sequence[tuple[float, bool]]) -> float | None:
    """The calibration error of (confidence, right) pairs, None where there are none."""
    if not believed:
        return None
    return expected_calibration_error([confidence for confidence, _ in believed], [hit for _, hit in believed])


def predicted_label(dataset: Dataset, outcome: Answer | Failure) -> str | None:
    """The label in a result, None where there is none."""
    if isinstance(outcome, Failure):
        return None
    value: Any = outcome.result
    for name in dataset.answer:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else None


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


def valid_quote(quote: Mapping[str, Any], text: str) -> bool:
    """Whether a quote is the text at its offsets."""
    return bool(text[quote["start"] : quote["end"]] == quote["quote"])


def count_failures(outcomes: Sequence[Answer | Failure]) -> dict[str, int]:
    """How many rows failed, by what they failed with."""
    counts: dict[str, int] = {}
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            counts[outcome.error.detail] = counts.get(outcome.error.detail, 0) + 1
    return counts
