"""Stored feedback as the JSON that callers see, over HTTP and from the command line. Pure: knows no web framework."""

from typing import Any

from feedback_gateway.api.rendering import moment
from feedback_gateway.feedback.current import current_of, shown_analyses
from feedback_gateway.feedback.models import Analysis, Correction, ItemHistory
from feedback_gateway.tasks.taxonomy import Taxonomy


def item_json(history: ItemHistory, *, task: str, taxonomy: Taxonomy) -> dict[str, Any]:
    """A stored item and all that was made of it; `result` is what `task` says of it now, `problem` why it waits."""
    item, current = history.item, current_of(history, task, taxonomy=taxonomy)
    problems = [run.problem for run in history.runs if run.status in ("waiting", "failed")]
    return {
        "id": item.item_id,
        "consumer": item.consumer,
        "source": item.source,
        "external_id": item.external_id,
        "author_id": item.author_id,
        "text": item.text,
        "created_at": moment(item.created_at),
        "received_at": moment(item.received_at),
        "rating": item.rating,
        "metadata": item.metadata,
        "status": item.status,
        "problem": problems[0] if problems else None,
        "result": None if current is None else current.result,
        "analyses": [analysis_json(one) for one in shown_analyses(history, taxonomy=taxonomy)],
        "corrections": [correction_json(one) for one in history.corrections],
    }


def analysis_json(analysis: Analysis) -> dict[str, Any]:
    """One analysis; the first one of a task in a list is what holds."""
    return {
        "id": analysis.analysis_id,
        "task": analysis.task,
        "prompt_version": analysis.prompt_version,
        "taxonomy_version": analysis.taxonomy_version,
        "model": analysis.model,
        "call_id": analysis.call_id,
        "result": analysis.result,
        "by": analysis.by,
        "at": moment(analysis.at),
    }


def correction_json(correction: Correction) -> dict[str, Any]:
    """What a person said."""
    return {
        "id": correction.correction_id,
        "field": correction.field,
        "value": correction.value,
        "by": correction.by,
        "reason": correction.reason,
        "at": moment(correction.at),
    }
