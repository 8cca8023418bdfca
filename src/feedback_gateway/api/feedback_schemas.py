"""JSON Schemas of stored feedback and jobs, for /openapi.json."""

from collections.abc import Mapping
from typing import Any

from feedback_gateway.api.admin_schemas import BODY, inlined
from feedback_gateway.api.feedback_bodies import LINES, FeedbackBatch, FeedbackBody
from feedback_gateway.api.schemas import (
    CALL_ID_HEADER,
    FLAG,
    MOMENT,
    TEXT,
    WHOLE,
    Schema,
    json_of,
    listed,
    optional,
    page_of,
    problems,
    record,
    ref,
)
from feedback_gateway.feedback.models import DISPUTED, STATUSES
from feedback_gateway.tasks.schemas import REVIEW_REASONS

STATUS: Schema = TEXT | {"enum": list(STATUSES)}
ANALYSIS = record(
    id=TEXT,
    task=TEXT,
    prompt_version=WHOLE,
    taxonomy_version=optional(TEXT),
    model=TEXT,
    call_id=TEXT,
    result={"type": "object"},
    by=TEXT | {"description": "the deployment that answered, or the person whose word holds"},
    at=MOMENT,
)
CORRECTION = record(id=TEXT, field=TEXT, value={}, by=TEXT, reason=optional(TEXT), at=MOMENT)
ITEM = record(
    id=TEXT,
    consumer=TEXT,
    source=TEXT,
    external_id=optional(TEXT),
    author_id=optional(TEXT),
    text=TEXT,
    created_at=MOMENT,
    received_at=MOMENT,
    rating={"type": ["number", "null"]},
    metadata={"type": "object"},
    status=STATUS,
    problem=optional(TEXT) | {"description": "why it waits or failed"},
    result={"type": ["object", "null"], "description": "what holds of it now, people's words in it"},
    analyses=listed(ref("Analysis")) | {"description": "the newest first; before them what holds, where people spoke"},
    corrections=listed(ref("Correction")) | {"description": "the newest first"},
)
RATE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
AGREEMENT: Schema = {
    "type": "object",
    "description": "a group by the names that were asked for, and how often people repeated what the model had said",
    "properties": {"judged": WHOLE, "agreed": WHOLE, "rate": RATE, "low": RATE, "high": RATE},
    "required": ["judged", "agreed", "rate", "low", "high"],
}
PLACED: Mapping[str, Schema] = {"id": TEXT, "duplicate": FLAG | {"description": "whether it was stored before"}}
IDS: Mapping[str, Schema] = {"job_id": TEXT, "ids": listed(optional(TEXT))}
JOB = record(
    id=TEXT,
    kind=TEXT,
    consumer=TEXT,
    created_at=MOMENT,
    status=TEXT | {"enum": ["running", "done"]},
    total=WHOLE,
    counts=record(**dict.fromkeys(STATUSES, WHOLE)),
    problems=listed(record(problem=TEXT, count=WHOLE)),
)
COMPONENTS: Mapping[str, Schema] = {
    "Analysis": ANALYSIS,
    "Correction": CORRECTION,
    "FeedbackItem": ITEM,
    "FeedbackPage": page_of(ref("FeedbackItem")),
    "ReviewPage": page_of(record(**ITEM["properties"], reasons=listed(TEXT | {"enum": [*REVIEW_REASONS, DISPUTED]}))),
    "AgreementPage": page_of(AGREEMENT),
    "StoredItem": record(**IDS, **PLACED),
    "StoredItems": record(**IDS, results=listed({"anyOf": [record(**PLACED), record(error=ref("Problem"))]})),
    "Job": JOB,
}


def stored() -> dict[int | str, Schema]:
    """The responses of `POST /v1/feedback`."""
    content = json_of({"anyOf": [ref("StoredItem"), ref("StoredItems")]})
    headers = CALL_ID_HEADER | {"location": {"description": "the job", "schema": TEXT}}
    made = {"description": "Stored; the analysis follows.", "headers": headers, "content": content}
    return {202: made, **problems(401, *BODY)}


def corrected() -> dict[int | str, Schema]:
    """The responses of `POST /v1/feedback/{item_id}/corrections`."""
    made = {"description": "It holds.", "headers": CALL_ID_HEADER, "content": json_of(ref("Correction"))}
    return {201: made, **problems(401, 404, *BODY)}


def followed() -> dict[int | str, Schema]:
    """The responses of `GET /v1/jobs/{job_id}/events`."""
    event = record(event=TEXT | {"enum": ["progress", "done"]}, data=TEXT | {"description": "the job as JSON"})
    content = {"text/event-stream": {"schema": event | {"description": "of each event"}}}
    return {200: {"description": "Events.", "headers": CALL_ID_HEADER, "content": content}, **problems(401, 404, 422)}


def submission() -> dict[str, Any]:
    """What `POST /v1/feedback` takes."""
    one, many = inlined(FeedbackBody.model_json_schema()), inlined(FeedbackBatch.model_json_schema())
    many["properties"]["items"]["minItems"] = 1
    content = json_of({"anyOf": [one, many]}) | {LINES[0]: {"schema": TEXT}}
    return {"requestBody": {"required": True, "content": content}}
