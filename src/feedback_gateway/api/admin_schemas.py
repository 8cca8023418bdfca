"""JSON Schemas of the administration, for /openapi.json."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from feedback_gateway.api.schemas import (
    CALL_ID_HEADER,
    FLAG,
    MILLISECONDS,
    MOMENT,
    MONEY,
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

SIGNED: Schema = {"type": ["string", "null"], "pattern": r"^-?[0-9]+(\.[0-9]+)?$", "description": "USD, exact"}
SHARE: Schema = {"type": "number", "minimum": 0}
BUDGET: Mapping[str, Schema] = {
    "limit_usd": MONEY,
    "period": TEXT | {"enum": ["day", "week", "month", "total"]},
    "warn_at": SHARE,
}
NAMES: Schema = {"type": ["array", "null"], "items": TEXT}
CONSUMER: Mapping[str, Schema] = {
    "id": TEXT,
    "name": TEXT,
    "created_at": optional(MOMENT),
    "disabled_at": optional(MOMENT),
    "budget": {"anyOf": [ref("Budget"), {"type": "null"}]},
    "task_budgets": {"type": "object", "additionalProperties": ref("Budget")},
    "limits": record(requests_per_minute=optional(WHOLE), tokens_per_minute=optional(WHOLE)),
    "scopes": record(tasks=NAMES, models=NAMES),
}
STANDING: Schema = record(
    **BUDGET,
    task=optional(TEXT),
    spent_usd=MONEY,
    reserved_usd=MONEY,
    used=SHARE,
    warning=FLAG,
    resets_at=optional(MOMENT),
)
KEY: Mapping[str, Schema] = {
    "id": TEXT,
    "consumer": TEXT,
    "prefix": TEXT,
    "admin": FLAG,
    "created_at": MOMENT,
    "expires_at": optional(MOMENT),
    "revoked_at": optional(MOMENT),
}
ENTRY = record(
    id=TEXT,
    call_id=TEXT,
    kind=TEXT | {"enum": ["charge", "bound", "orphan", "correction"]},
    amount_usd=SIGNED,
    consumer=TEXT,
    task=TEXT,
    model=TEXT,
    booked_at=MOMENT,
    created_at=MOMENT,
    by=optional(TEXT),
    reason=optional(TEXT),
)
DEPLOYMENT = record(
    name=TEXT,
    alias=TEXT,
    model=TEXT,
    state=TEXT | {"enum": ["healthy", "cooling_down", "probing"]},
    cooling_down_until=optional(MOMENT),
    reason=optional(TEXT),
    latency=record(p50_ms=optional(MILLISECONDS), p95_ms=optional(MILLISECONDS)),
    share={"type": ["number", "null"], "minimum": 0, "maximum": 1},
    in_flight=WHOLE,
    attempts=WHOLE,
    failures=WHOLE,
    cooldowns=WHOLE,
)
CONTENT: Schema = {"type": "object", "description": "as a taxonomy file says it"}
PROPOSAL = record(
    id=TEXT,
    name=TEXT,
    names=listed(TEXT) | {"description": "every way to write it that models came up with"},
    items=WHOLE,
    people=WHOLE | {"description": "those of stored feedback whose author is known"},
    examples=listed(TEXT) | {"maxItems": 5, "description": "what users wrote, word for word"},
    rejected_at=optional(MOMENT),
)
ACCEPTED = record(category=TEXT, parent=optional(TEXT), taxonomy_version=TEXT, previous_version=TEXT, was_there=FLAG)
COMPONENTS: Mapping[str, Schema] = {
    "Taxonomy": record(version=TEXT, label=optional(TEXT), broken=optional(TEXT), content=CONTENT),
    "TaxonomyVersion": record(version=TEXT, label=optional(TEXT), first_seen_at=MOMENT, content=CONTENT),
    "TaxonomyVersionPage": page_of(ref("TaxonomyVersion")),
    "Proposal": PROPOSAL,
    "ProposalPage": page_of(ref("Proposal")),
    "AcceptedProposal": ACCEPTED,
    "Budget": record(**BUDGET),
    "Consumer": record(**CONSUMER),
    "ConsumerDetail": record(**CONSUMER, standings=listed(STANDING)),
    "ConsumerPage": page_of(ref("Consumer")),
    "Key": record(**KEY),
    "NewKey": record(**KEY, key=TEXT | {"description": "shown this once"}),
    "KeyPage": page_of(ref("Key")),
    "LedgerEntry": ENTRY,
    "LedgerPage": page_of(ref("LedgerEntry")),
    "Deployment": DEPLOYMENT,
    "DeploymentPage": page_of(ref("Deployment")),
}
BODY = (400, 413, 415, 422)


def created(component: str, *statuses: int) -> dict[int | str, Schema]:
    """The responses of a page that makes something."""
    made = {"description": "Made.", "headers": CALL_ID_HEADER, "content": json_of(ref(component))}
    return {201: made, **problems(401, 403, *BODY, *statuses)}


def changed(component: str, *statuses: int) -> dict[int | str, Schema]:
    """The responses of a page that shows, or changes and shows, something."""
    found = {"description": "The answer.", "headers": CALL_ID_HEADER, "content": json_of(ref(component))}
    return {200: found, **problems(401, 403, 422, *statuses)}


def gone() -> dict[int | str, Schema]:
    """The responses of a page that ends something."""
    return {204: {"description": "Done.", "headers": CALL_ID_HEADER}, **problems(401, 403, 404, 422)}


def request_body(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """What a page takes."""
    schema = inlined(model.model_json_schema())
    return {"requestBody": {"required": required, "content": json_of(schema)}}


def inlined(schema: Any, definitions: Mapping[str, Any] | None = None) -> Any:
    """`schema` with the definitions that it refers to in their places."""
    if isinstance(schema, list):
        return [inlined(entry, definitions) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    definitions = schema.get("$defs", definitions or {})
    if "$ref" in schema:
        return inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {key: inlined(value, definitions) for key, value in schema.items() if key != "$defs"}
