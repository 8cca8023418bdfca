"""What holds of an item now: a model's last answer with what people said laid over it. Pure; it is never stored."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from feedback_gateway.errors import InvalidRequest, Problem
from feedback_gateway.feedback.models import Analysis, Correction, ItemHistory
from feedback_gateway.prompts.schemas import compile_schema
from feedback_gateway.tasks.checks import FINISHERS
from feedback_gateway.tasks.registry import Task
from feedback_gateway.tasks.taxonomy import Taxonomy

COMPUTED = ("confidence", "confidence_source", "alternatives")
"""What a model said of its own choice, and what does not hold of a person's."""
NOT_CORRECTED = frozenset({*COMPUTED, "evidence", "aspects", "needs_review", "review_reasons", "suggested_category"})
TEAM = "team"
MOST_SHOWN = 30


def last_words(corrections: Sequence[Correction]) -> dict[str, Correction]:
    """The newest correction of each field, whatever order they come in."""
    ordered = sorted(corrections, key=lambda one: (one.at, one.correction_id))
    return {one.field: one for one in ordered}


def current_of(history: ItemHistory, task: str, *, taxonomy: Taxonomy) -> Analysis | None:
    """The newest analysis by `task` as it holds now; None where there is none.

    `by` and `at` are those of the person who spoke last where people changed or confirmed it. What follows from labels
    by rule follows from theirs: a sub-category of another category goes, and the team is chosen anew.
    """
    newest = next((one for one in history.analyses if one.task == task), None)
    if newest is None:
        return None
    words = {name: one for name, one in last_words(history.corrections).items() if is_about(name, newest.result)}
    if not words:
        return newest
    last = max(words.values(), key=lambda one: (one.at, one.correction_id))
    return replace(newest, result=laid_over(newest.result, words, task=task, taxonomy=taxonomy), by=last.by, at=last.at)


def shown_analyses(history: ItemHistory, *, taxonomy: Taxonomy) -> list[Analysis]:
    """All analyses, newest first, and before the newest one of each task what holds of it, where people spoke of it."""
    shown: list[Analysis] = []
    seen: set[str] = set()
    for one in history.analyses:
        if one.task not in seen:
            seen.add(one.task)
            current = current_of(history, one.task, taxonomy=taxonomy)
            if current is not None and current is not one:
                shown.append(current)
        shown.append(one)
    return shown


def is_about(field: str, result: Mapping[str, Any]) -> bool:
    """Whether a field is one of a result."""
    return field in result or (field == TEAM and "route" in result)


def laid_over(
    result: Mapping[str, Any], words: Mapping[str, Correction], *, task: str, taxonomy: Taxonomy
) -> dict[str, Any]:
    """A result with people's values in it."""
    made = {**result, **{name: one.value for name, one in words.items() if name != TEAM}}
    if "category" in words:
        made = {name: value for name, value in made.items() if name not in COMPUTED}
        if "subcategory" in made and "subcategory" not in words and made["category"] != result["category"]:
            made["subcategory"] = None
    if task in FINISHERS and any(made[name] != result.get(name) for name in made):
        made = FINISHERS[task](made, taxonomy)
    if TEAM in words:
        said = words[TEAM]
        made["route"] = {"team": said.value, "rule": None, "reason": f"set by {said.by}"}
    if "needs_review" in made:
        made |= {"needs_review": False, "review_reasons": []}
    return made


def check_correction(field: str, value: Any, *, tasks: Sequence[Task], taxonomy: Taxonomy) -> None:
    """Raises InvalidRequest where `field` is none of what `tasks` answer, or `value` is none that it can have."""
    allowed: dict[str, Any] = {}
    for task in tasks:
        answer = task.answer_schema({"taxonomy": taxonomy.as_json()})["properties"]
        allowed = {name: schema for name, schema in answer.items() if name not in NOT_CORRECTED} | allowed
        if "route" in task.result_schema["properties"]:
            allowed[TEAM] = {"type": ["string", "null"], "enum": [*(team.name for team in taxonomy.teams), None]}
    if field not in allowed:
        message = f"there is no field {field[:50]!r} to correct; there are {', '.join(sorted(allowed))}"
        raise InvalidRequest(f"field: {message}", problems=[Problem(("field",), message)])
    schema = allowed[field]
    if not compile_schema(schema).is_valid(value):
        labels = [str(one) for one in schema.get("enum", ()) if one is not None][:MOST_SHOWN]
        message = f"must be one of {', '.join(labels)}" if labels else "does not fit the field"
        raise InvalidRequest(f"value: {message}", problems=[Problem(("value",), message)])
