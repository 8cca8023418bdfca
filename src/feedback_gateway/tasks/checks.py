"""What every answer goes through after it fits its schema: evidence, consistency, routing, need of a person."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from feedback_gateway.llm.models import Completion
from feedback_gateway.tasks.calibration import Calibration, claim_of, is_doubtful, state_confidence
from feedback_gateway.tasks.evidence import Source, verify
from feedback_gateway.tasks.schemas import REVIEW_REASONS
from feedback_gateway.tasks.taxonomy import Taxonomy, route

Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Checked:
    """The result as the caller gets it, how many quotes were dropped on the way, and the confidence claimed."""

    result: Result
    dropped: int
    claim: float | None = None


def check_answer(
    completion: Completion,
    *,
    task: str,
    inputs: Mapping[str, Any],
    taxonomy: Taxonomy,
    review_below: float | None,
    reviewed: bool,
    suspected: bool = False,
    calibration: Calibration | None = None,
) -> Checked:
    """Verify the completion's evidence and add what the gateway computes itself.

    `reviewed` says that the task's results carry `needs_review`, with its reasons: the model said so, a quote was
    dropped, the confidence is doubtful, or the input is `suspected` to give the model orders. `calibration` is what was
    measured of the confidence.
    """
    verified = verify(completion.value, sources(inputs))
    result: Result = verified.value
    dropped = verified.dropped
    claim, source = claim_of(result), completion.confidence_source
    result = state_confidence(result, source=source, calibration=calibration)
    if task in FINISHERS:
        result = FINISHERS[task](result, taxonomy)
    if reviewed:
        doubtful = is_doubtful(claim, source=source, calibration=calibration, review_below=review_below)
        found = (completion.needs_review, doubtful, dropped > 0, suspected)
        reasons = [reason for reason, holds in zip(REVIEW_REASONS, found, strict=True) if holds]
        result |= {"needs_review": bool(reasons), "review_reasons": reasons}
    return Checked(result, dropped, claim)


def sources(inputs: Mapping[str, Any]) -> dict[str, Source]:
    """Every text that may be quoted, by the name that evidence calls it: `text`, `logs`, and articles by their id."""
    named = {name: Source(inputs[name]) for name in ("text", "logs") if isinstance(inputs.get(name), str)}
    articles = {article["id"]: Source(article["text"]) for article in inputs.get("knowledge") or ()}
    return articles | named


def finish_category(result: Result, taxonomy: Taxonomy) -> Result:
    """Keep the subcategory only where it belongs to the category."""
    categories = {category.name: category for category in taxonomy.categories}
    category = categories.get(result["category"])
    allowed = {sub.name for sub in category.subcategories} if category else set()
    return result | {"subcategory": result["subcategory"] if result.get("subcategory") in allowed else None}


def finish_classify(result: Result, taxonomy: Taxonomy) -> Result:
    """Add the team, by rule and not by model."""
    result = finish_category(result, taxonomy)
    found = route(taxonomy, labels=result)
    return result | {"route": {"team": found.team, "rule": found.rule, "reason": found.reason}}


def finish_root_cause(result: Result, taxonomy: Taxonomy) -> Result:  # noqa: ARG001 one signature for all
    """Leave out hypotheses for which no line of the input speaks."""
    return result | {"hypotheses": [one for one in result["hypotheses"] if one["evidence"]]}


FINISHERS: Mapping[str, Callable[[Result, Taxonomy], Result]] = {
    "categorize": finish_category,
    "classify": finish_classify,
    "root-cause-suggest": finish_root_cause,
}
