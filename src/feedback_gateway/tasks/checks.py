"""What every answer goes through after it fits its schema: evidence, consistency, routing, need of a person."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from feedback_gateway.llm.models import Completion
from feedback_gateway.tasks.evidence import Source, verify
from feedback_gateway.tasks.taxonomy import Taxonomy, route

MODEL_CLAIM_REVIEW_BELOW = 0.6

Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Checked:
    """The result as the caller gets it, and how many quotes were dropped on the way."""

    result: Result
    dropped: int


def check_answer(
    completion: Completion,
    *,
    task: str,
    inputs: Mapping[str, Any],
    taxonomy: Taxonomy,
    review_below: float | None,
    reviewed: bool,
) -> Checked:
    """Verify the completion's evidence and add what the gateway computes itself.

    `reviewed` says that the task's results carry `needs_review`: set where the model said so, where a quote was
    dropped, and where the confidence is under `review_below` (0.6 for a language model's own claim unless set).
    """
    verified = verify(completion.value, sources(inputs))
    result: Result = verified.value
    dropped = verified.dropped
    if isinstance(result.get("confidence"), int | float):
        result["confidence_source"] = completion.confidence_source
    if task in FINISHERS:
        result = FINISHERS[task](result, taxonomy)
    if reviewed:
        result["needs_review"] = completion.needs_review or dropped > 0 or is_doubtful(result, review_below)
    return Checked(result, dropped)


def sources(inputs: Mapping[str, Any]) -> dict[str, Source]:
    """Every text that may be quoted, by the name that evidence calls it: `text`, `logs`, and articles by their id."""
    named = {name: Source(inputs[name]) for name in ("text", "logs") if isinstance(inputs.get(name), str)}
    articles = {article["id"]: Source(article["text"]) for article in inputs.get("knowledge") or ()}
    return articles | named


def is_doubtful(result: Mapping[str, Any], review_below: float | None) -> bool:
    """Whether the confidence is too low to go without a person."""
    if "confidence" not in result:
        return False
    if review_below is None:
        review_below = MODEL_CLAIM_REVIEW_BELOW if result["confidence_source"] == "model_claim" else 0.0
    return bool(result["confidence"] < review_below)


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
