"""What /openapi.json says of the routes in OpenAI's own terms: what is read here, and that the rest is passed on."""

from feedback_gateway.api.schemas import (
    CALL_ID_HEADER,
    TASK_HEADERS,
    TEXT,
    WHOLE,
    Schema,
    json_of,
    listed,
    problems,
    record,
    ref,
)

ERRORS = (400, 401, 402, 403, 404, 413, 415, 422, 429, 502, 504)
PASSED_ON = "Every other member is passed on as it stands."
COUNT: Schema = {"type": ["integer", "null"], "minimum": 1}
MODEL = TEXT | {"minLength": 1, "description": "an alias of `model_list`; GET /v1/models lists them"}
CACHE: Schema = {
    "type": ["object", "null"],
    "description": "as LiteLLM's: what may come from the cache, and what may go there",
    "properties": {
        "no-cache": {"type": "boolean"},
        "no-store": {"type": "boolean"},
        "use-cache": {"type": "boolean"},
        "ttl": {"type": "number", "minimum": 0, "description": "seconds"},
        "s-maxage": {"type": "number", "minimum": 0, "description": "seconds"},
    },
    "additionalProperties": False,
}
COMPONENTS: Schema = {
    "ChatCompletionRequest": {
        "type": "object",
        "description": f"OpenAI's request for a chat completion. {PASSED_ON}",
        "required": ["model", "messages"],
        "properties": {
            "model": MODEL,
            "messages": {"type": "array", "minItems": 1, "items": {"type": "object"}},
            "n": COUNT,
            "max_tokens": COUNT,
            "max_completion_tokens": COUNT,
            "stream": {"type": ["boolean", "null"]},
            "stream_options": {"type": ["object", "null"]},
            "cache": CACHE,
        },
    },
    "EmbeddingRequest": {
        "type": "object",
        "description": f"OpenAI's request for embeddings. {PASSED_ON}",
        "required": ["model", "input"],
        "properties": {
            "model": MODEL,
            "input": {"type": ["string", "array"], "minLength": 1, "minItems": 1},
            "cache": CACHE,
        },
    },
    "Model": record(id=TEXT, object=TEXT, created=WHOLE, owned_by=TEXT),
    "ModelList": record(object=TEXT, data=listed(ref("Model"))),
    "ProblemWithError": {
        "type": "object",
        "description": "A problem document (RFC 9457) that carries what OpenAI's clients read.",
        "required": ["type", "title", "status", "detail", "error"],
        "properties": {
            "type": TEXT,
            "title": TEXT,
            "status": WHOLE,
            "detail": TEXT,
            "error": record(
                message=TEXT,
                type=TEXT,
                param={"type": ["string", "null"]},
                code={"type": ["string", "null"]},
            ),
        },
    },
}


def refusals(*statuses: int) -> Schema:
    """The problem responses of a path, each with OpenAI's `error` in it."""
    found: Schema = {}
    for status, response in problems(*statuses).items():
        content = {kind: {"schema": ref("ProblemWithError")} for kind in response["content"]}
        found[str(status)] = {**response, "content": content}
    return found


def posted(component: str, summary: str, answer: str, *, streams: bool) -> Schema:
    """`POST` of `component`, answered in OpenAI's terms."""
    content = json_of({"type": "object", "description": answer})
    if streams:
        content |= {"text/event-stream": {"schema": TEXT | {"description": "with `stream`: OpenAI's chunks as events"}}}
    return {
        "post": {
            "tags": ["openai"],
            "operationId": component,
            "summary": summary,
            "requestBody": {"required": True, "content": json_of(ref(component))},
            "responses": {
                "200": {"description": answer, "headers": TASK_HEADERS, "content": content},
                **refusals(*ERRORS),
            },
        }
    }


def read(component: str, summary: str, *statuses: int, parameters: list[Schema] | None = None) -> Schema:
    """`GET` of `component`."""
    found = {"description": "The answer.", "headers": CALL_ID_HEADER, "content": json_of(ref(component))}
    operation: Schema = {
        "tags": ["openai"],
        "operationId": component,
        "summary": summary,
        "responses": {"200": found, **refusals(401, 422, *statuses)},
    }
    return {"get": operation | ({"parameters": parameters} if parameters else {})}


PATHS: Schema = {
    "/v1/chat/completions": posted(
        "ChatCompletionRequest", "Complete a conversation", "OpenAI's chat completion.", streams=True
    ),
    "/v1/embeddings": posted("EmbeddingRequest", "Embed texts", "OpenAI's list of embeddings.", streams=False),
    "/v1/models": read("ModelList", "List the models that the key may ask"),
    "/v1/models/{model}": read(
        "Model",
        "Tell of one model",
        404,
        parameters=[{"name": "model", "in": "path", "required": True, "schema": TEXT | {"minLength": 1}}],
    ),
}
