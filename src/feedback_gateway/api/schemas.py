"""JSON Schemas of what the HTTP surface answers, for /openapi.json; those of tasks come from their prompts."""

from collections.abc import Mapping
from typing import Any

from feedback_gateway import errors
from feedback_gateway.api.problems import MEDIA_TYPE, URN, problem

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer", "minimum": 0}
MILLISECONDS: Schema = {"type": "number", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
MOMENT: Schema = {"type": "string", "format": "date-time"}
MONEY: Schema = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$", "description": "USD, exact"}


def record(**properties: Schema) -> Schema:
    """An object that has all of `properties` and nothing else."""
    return {"type": "object", "required": list(properties), "properties": properties, "additionalProperties": False}


def optional(schema: Schema) -> Schema:
    """`schema` or null."""
    return schema | {"type": [schema["type"], "null"]}


def listed(schema: Schema) -> Schema:
    """A list of `schema`."""
    return {"type": "array", "items": schema}


def ref(name: str) -> Schema:
    """A reference to a component."""
    return {"$ref": f"#/components/schemas/{name}"}


UNKNOWN_MONEY = optional(MONEY) | {"description": "USD, exact; null where it is unknown, which is not zero"}
ITEM_ID: Schema = {"type": ["string", "integer", "null"], "maxLength": 200}
USAGE = record(input_tokens=WHOLE, cached_input_tokens=WHOLE, output_tokens=WHOLE, cost_usd=UNKNOWN_MONEY)
PURPOSE: Schema = {
    "enum": ["answer", "shadow", "replay"],
    "description": "an answer that somebody asked for, another version beside it, or an earlier call once more",
}
TAXONOMY_VERSION = optional(TEXT) | {"description": "null for a task that asks no taxonomy"}
CALL: Mapping[str, Schema] = {
    "call_id": TEXT,
    "client_call_id": optional(TEXT) | {"description": "the `x-call-id` that it was sent with"},
    "created_at": MOMENT,
    "consumer": TEXT,
    "task": TEXT,
    "prompt_version": WHOLE,
    "taxonomy_version": TAXONOMY_VERSION,
    "model": TEXT,
    "deployment": optional(TEXT),
    "status": TEXT | {"enum": ["ok", "failed", "cancelled"]},
    "error": optional(TEXT) | {"description": "code of the failure"},
    "cached": FLAG,
    "latency_ms": MILLISECONDS,
    "attempt_count": WHOLE,
    "dropped_evidence": WHOLE | {"description": "quotes that were no verbatim span of the input"},
    "usage": record(
        input_tokens=WHOLE,
        cached_input_tokens=WHOLE,
        cache_write_tokens=WHOLE,
        output_tokens=WHOLE,
        reasoning_tokens=WHOLE,
        estimated=FLAG,
        cost_usd=UNKNOWN_MONEY,
    ),
    "saved_usd": optional(MONEY),
    "purpose": PURPOSE,
    "beside": optional(TEXT) | {"description": "the call that this one was made to be compared with"},
}
ATTEMPT = record(
    number=WHOLE,
    deployment=TEXT,
    model=TEXT,
    purpose=TEXT,
    status=TEXT,
    error=optional(TEXT),
    http_status=optional(WHOLE),
    finish_reason=optional(TEXT),
    started_at=MOMENT,
    latency_ms=MILLISECONDS,
    usage=record(
        uncached_input_tokens=optional(WHOLE),
        cache_read_tokens=optional(WHOLE),
        cache_write_tokens=optional(WHOLE),
        output_tokens=optional(WHOLE),
        reasoning_tokens=optional(WHOLE),
        estimated=FLAG,
        cost_usd=UNKNOWN_MONEY,
    ),
)
CHARGE = record(
    kind=TEXT | {"enum": ["charge", "bound", "orphan", "correction"]},
    amount_usd={"type": ["string", "null"], "description": "USD, exact, below zero where something is given back"},
    created_at=MOMENT,
    reason=optional(TEXT),
)
FIGURES: Mapping[str, Schema] = {
    "calls": WHOLE,
    "cached_calls": WHOLE,
    "failed_calls": WHOLE,
    "input_tokens": WHOLE,
    "cached_input_tokens": WHOLE,
    "output_tokens": WHOLE,
    "cost_usd": UNKNOWN_MONEY,
    "saved_usd": optional(MONEY),
    "unknown_cost_calls": WHOLE | {"description": "calls that cost_usd leaves out"},
}
DAY: Schema = {"type": "string", "format": "date"}
GROUP: Mapping[str, Schema] = {"consumer": TEXT, "task": TEXT, "model": TEXT, "day": DAY, "purpose": PURPOSE}
PROMPT_VERSION = record(
    version=WHOLE,
    description=TEXT,
    model=TEXT,
    temperature={"type": ["number", "null"]},
    max_tokens=WHOLE,
    batch=WHOLE,
    digest=TEXT | {"description": "SHA-256 of the file"},
    deprecated_at=optional(MOMENT),
    sunset_at=optional(MOMENT),
    input_schema={"type": "object"},
    output_schema={"type": "object"},
)
BY = record(prompt_version=WHOLE, model=TEXT)
SHARE: Schema = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
ANSWERED = record(call_id=optional(TEXT), prompt_version=WHOLE, model=TEXT, result={"type": ["object", "null"]})
COMPARISON = record(
    purpose=PURPOSE,
    answered=BY,
    beside=BY,
    pairs=WHOLE,
    failed=WHOLE | {"description": "pairs without a second answer"},
    unknown=WHOLE | {"description": "pairs whose results the log does not have"},
    compared=WHOLE,
    agreed=WHOLE | {"description": "pairs with the same value in every label"},
    agreement=SHARE,
    interval={"type": ["array", "null"], "items": {"type": "number"}, "description": "95 %, after Wilson"},
    fields=listed(
        record(
            field=TEXT,
            compared=WHOLE,
            differ=WHOLE,
            changes=listed(record(answered=TEXT, beside=TEXT, count=WHOLE)),
        )
    ),
)
RATE_LIMIT = record(
    source=TEXT | {"enum": ["gateway", "provider"], "description": "who refused"},
    scope=TEXT | {"enum": ["consumer", "deployment", "provider"], "description": "whose limit it was"},
    name=TEXT | {"description": "the consumer's or the deployment's name"},
    limit=optional(WHOLE) | {"description": "null where only the provider knows it"},
    unit={"type": ["string", "null"], "enum": ["requests", "tokens", None]},
    window_s=WHOLE,
    retry_after_s=optional(WHOLE) | {"description": "null where nobody knows it, or where waiting cannot help"},
)
PROBLEM: Schema = {
    "type": "object",
    "description": "RFC 9457",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": TEXT | {"pattern": f"^{URN}[a-z-]+$", "description": "ends with the error's code"},
        "title": TEXT,
        "status": WHOLE,
        "detail": TEXT,
        "call_id": TEXT,
        "errors": listed(record(loc=listed({"type": ["string", "integer"]}), msg=TEXT)),
        "rate_limit": ref("RateLimit"),
    },
    "additionalProperties": False,
}


def page_of(schema: Schema, **more: Schema) -> Schema:
    """A page of a list."""
    return record(data=listed(schema), next_cursor=optional(TEXT), **more)


COMPONENTS: Schema = {
    "Problem": PROBLEM,
    "RateLimit": RATE_LIMIT,
    "Usage": USAGE,
    "Failure": record(id=ITEM_ID, error=ref("Problem")),
    "Call": record(**CALL),
    "CallDetail": record(
        **CALL,
        attempts=listed(ref("Attempt")),
        charges=listed(CHARGE),
        inputs={"type": ["object", "null"], "description": "what was sent, as far as the log keeps it"},
        result={"type": ["object", "null"], "description": "what was answered, as far as the log keeps it"},
    ),
    "CallPage": page_of(ref("Call")),
    "Attempt": ATTEMPT,
    "UsageRow": record(**FIGURES) | {"properties": {**GROUP, **FIGURES}},
    "UsagePage": page_of(ref("UsageRow")),
    "PromptVersion": PROMPT_VERSION,
    "Prompt": record(
        name=TEXT,
        description=TEXT,
        version=WHOLE,
        canary={"anyOf": [record(version=WHOLE, share={"type": "number"}), {"type": "null"}]},
        shadow=optional(WHOLE),
        versions=listed(ref("PromptVersion")),
    ),
    "Disagreements": page_of(
        record(
            purpose=PURPOSE,
            differs=listed(TEXT),
            inputs={"type": ["object", "null"]},
            answered=ANSWERED,
            beside=ANSWERED,
        ),
        notice=optional(TEXT) | {"description": "what is missing here, and why"},
        comparisons=listed(COMPARISON),
    ),
    "PromptPage": page_of(ref("Prompt"), broken=listed(TEXT)),
    "Live": record(status=TEXT),
    "Ready": record(status=TEXT, checks={"type": "object", "additionalProperties": TEXT}, warnings=listed(TEXT)),
}

CALL_ID_HEADER: Schema = {
    "x-call-id": {
        "description": "the `x-call-id` that was sent, else the call's id, or the request's",
        "schema": TEXT,
        "required": True,
    },
    "x-request-id": {"description": "the call's id, or the request's", "schema": TEXT, "required": True},
}
RETRY_HEADER: Schema = {"retry-after": {"description": "seconds", "schema": {"type": "integer", "minimum": 1}}}
LIMIT_HEADERS: Schema = {
    "ratelimit-limit": {"description": "requests or tokens a minute", "schema": WHOLE},
    "ratelimit-remaining": {"description": "what of them is left", "schema": WHOLE},
    "ratelimit-reset": {"description": "seconds until there is more", "schema": WHOLE},
}
COST_HEADER: Schema = {"x-cost-usd": {"description": "USD, exact, or `unknown`", "schema": TEXT}}
TASK_HEADERS: Schema = {
    **CALL_ID_HEADER,
    "x-cache": {"description": "whether stored answers were used", "schema": TEXT | {"enum": ["hit", "miss"]}},
    **COST_HEADER,
    "deprecation": {
        "description": "since when the version that answered is deprecated, or will be (RFC 9745)",
        "schema": TEXT | {"pattern": "^@[0-9]+$"},
    },
    "sunset": {"description": "when the version that answered ends (RFC 8594)", "schema": TEXT},
}
WHEN: Mapping[int, str] = {
    400: "The body is not JSON.",
    401: "No key, or one that is unknown, revoked or expired.",
    402: "The consumer's budget cannot cover the call; `detail` says when it resets.",
    403: "This key may not do that.",
    404: "There is no such task or record.",
    405: "The path has other methods; see the `allow` header.",
    409: "It does not fit what there is, such as a name that is taken.",
    410: "The prompt version that was asked for is past its sunset.",
    413: "The body or the batch is over its limit.",
    415: "The body does not call itself JSON.",
    422: "The request cannot be used; `errors` names the places.",
    429: "A limit of requests or tokens a minute is used up; `rate_limit` says whose.",
    500: "A fault of the gateway.",
    502: "Every provider failed, or none gave a valid answer.",
    503: "Shutting down, or a needed part is missing.",
    504: "The call's deadline passed.",
}
EXAMPLES: Mapping[int, errors.GatewayError] = {
    400: errors.MalformedRequest("the body is not JSON: Expecting value at line 1, column 1"),
    401: errors.Unauthorized("this key is unknown, revoked or expired"),
    402: errors.BudgetExceeded(
        "the budget of 25 USD a month: 24.99 are spent and 0 reserved for calls under way; this call may cost up to "
        "0.02; it resets at 2026-04-01T00:00:00Z"
    ),
    403: errors.Forbidden("this key may not use the task 'translate'; it may use classify, sentiment"),
    404: errors.UnknownTask("no task 'sentimet'; there are: categorize, classify, sentiment"),
    405: errors.MethodNotAllowed("PUT is not for this path; GET is"),
    409: errors.Conflict("there is a consumer 'support' already"),
    410: errors.Gone(
        "version 1 of the prompt 'classify' ended at 2026-06-01T00:00:00Z; leave prompt_version out, or see "
        "/v1/prompts/classify for those that there are"
    ),
    413: errors.TooLarge("the body is over the limit of 10,000,000 bytes"),
    415: errors.UnsupportedMediaType("send JSON, as content-type: application/json"),
    422: errors.InvalidRequest(
        "the item does not fit the task 'sentiment': text: must not be empty",
        problems=[errors.Problem(("text",), "must not be empty")],
    ),
    429: errors.RateLimited(
        "model 'default': openai/gpt-5-mini: its limit of 500 requests a minute is used up, again in 12 s",
        source="gateway",
        scope="deployment",
        name="openai/gpt-5-mini",
        limit=500,
        unit="requests",
        retry_after=12,
    ),
    500: errors.GatewayError(""),
    502: errors.ProviderFailed(
        "model 'default': openai/gpt-5-mini: provider-unavailable (HTTP 500): the provider failed", retryable=True
    ),
    503: errors.Unavailable("the embedded model does not do 'translate'; add a language model to `model_list`"),
    504: errors.DeadlineExceeded("no answer within 30 s; asked: openai/gpt-5-mini"),
}
EVERYWHERE = (405, 500, 503)


def problems(*statuses: int) -> dict[int | str, Schema]:
    """The problem responses of a path: these, and those that every path has."""
    found: dict[int | str, Schema] = {}
    for status in sorted({*statuses, *EVERYWHERE}):
        headers = CALL_ID_HEADER | (RETRY_HEADER if status in {429, 502, 503} else {})
        headers |= COST_HEADER if status in {429, 502, 504} else {}
        headers |= LIMIT_HEADERS if status == 429 else {}  # noqa: PLR2004 - the one status of limits
        if status == 405:  # noqa: PLR2004 - the one status that names methods
            headers = headers | {"allow": {"description": "methods that there are", "schema": TEXT}}
        example = problem(EXAMPLES[status], call_id="01KAQ3V5Z8Q0W3T9Y6M2C4D7EF")
        content = {MEDIA_TYPE: {"schema": ref("Problem"), "example": example}}
        found[status] = {"description": WHEN[status], "headers": headers, "content": content}
    return found


def answers(component: str, *statuses: int) -> dict[int | str, Schema]:
    """The responses of a page that answers with `component`, or with one of these statuses."""
    found = {"description": "The answer.", "headers": CALL_ID_HEADER, "content": json_of(ref(component))}
    return {200: found, **problems(*statuses)}


def usage_answers() -> dict[int | str, Schema]:
    """The responses of the usage report, which also comes as a table."""
    found = answers("UsagePage", 422)
    found[200]["content"] = {**found[200]["content"], "text/csv": {"schema": TEXT}}
    return found


def json_of(schema: Schema) -> Schema:
    """A JSON body of that schema."""
    return {"application/json": {"schema": schema}}
