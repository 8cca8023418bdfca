"""`/openapi.json`: what the routes say of themselves, and one path for each task that there is at this moment."""

from collections.abc import Mapping
from typing import Any

from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.requests import Request

from feedback_gateway.api import admin_schemas, feedback_schemas, passthrough_schemas
from feedback_gateway.api.deps import Json, ServicesDep
from feedback_gateway.api.envelopes import Options
from feedback_gateway.api.schemas import (
    COMPONENTS,
    FLAG,
    ITEM_ID,
    MILLISECONDS,
    TASK_HEADERS,
    TAXONOMY_VERSION,
    TEXT,
    WHOLE,
    Schema,
    json_of,
    listed,
    problems,
    record,
    ref,
)
from feedback_gateway.services import Services
from feedback_gateway.tasks.registry import Task

DESCRIPTION = """Text that users wrote goes in; checked, structured answers and their exact cost come out.

Errors are `application/problem+json` (RFC 9457); `errors` names the places, and `x-call-id` finds the call in the log
(a request that was turned away is none).
"""
ANYTHING: Schema = {"description": "Anything else gets an error in its place; the other items are not touched."}
TASK_ERRORS = (400, 401, 402, 403, 404, 410, 413, 415, 422, 429, 502, 504)
TAGS = ("tasks", "openai", "feedback", "calls", "prompts", "admin", "health")
EXAMPLE_ID = "01K2V8Q9ZT4M6N7P8R9S0T1V2W"
EXAMPLE_TAXONOMY = "5d41402abc4b"


async def read_document(request: Request, services: ServicesDep) -> Json:
    """The OpenAPI 3.1 document of this moment."""
    routes = [route for route in request.app.routes if isinstance(route, APIRoute)]
    document: Json = get_openapi(
        title=request.app.title,
        version=request.app.version,
        description=DESCRIPTION,
        routes=routes,
        tags=[{"name": tag} for tag in TAGS],
    )
    schemas: Schema = {
        **COMPONENTS,
        **admin_schemas.COMPONENTS,
        **feedback_schemas.COMPONENTS,
        **passthrough_schemas.COMPONENTS,
    }
    document["paths"] |= passthrough_schemas.PATHS
    aliases = {route.path.removeprefix("/") for route in request.app.routes if route.path.count("/") == 1}
    for name in services.registry.names():
        preference = services.settings.tasks.get(name)
        task = services.registry.get(name, preference.version if preference else None)
        schemas |= task_schemas(task, results_of(services, name), most_items=services.settings.limits.items)
        schemas[f"{name}.options"] = options_schema(services, name)
        found = services.tasks.deprecations.of(name, task.version)
        outgoing = found is not None and found.since <= services.clock.now()
        document["paths"][f"/v1/{name}"] = {"post": operation(task, operation_id=name, is_deprecated=outgoing)}
        if name in aliases:
            document["paths"][f"/{name}"] = {
                "post": operation(task, operation_id=f"{name}.unversioned", is_deprecated=outgoing)
            }
    document["components"] = {
        "schemas": dict(sorted(schemas.items())),
        "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "or `X-API-Key: KEY`"}},
    }
    document["security"] = [{"key": []}, {}]
    return document


def results_of(services: Services, name: str) -> list[Mapping[str, Any]]:
    """The result schemas of every version that a caller may ask for, each once."""
    found: list[Mapping[str, Any]] = []
    for version in services.registry.versions(name):
        schema = services.registry.get(name, version).result_schema
        if schema not in found:
            found.append(schema)
    return found


def task_schemas(task: Task, results: list[Mapping[str, Any]], *, most_items: int) -> Schema:
    """The components of one task: its item, its request, its results by version, and its answers."""
    name = task.name
    item, one, options = f"{name}.item", f"{name}.one", ref(f"{name}.options")
    single = task.request_schema["anyOf"][0]
    inputs = rooted(single, f"#/components/schemas/{item}")
    properties = {key: value for key, value in inputs["properties"].items() if key != "options"}
    entries = listed({"anyOf": [ref(item), ANYTHING]}) | {"minItems": 1}
    made: Schema = {
        item: inputs | {"title": "Item", "properties": properties},
        one: inputs | {"title": "One item", "properties": properties | {"options": options}},
        f"{name}.many": record(items=entries)
        | {"title": "Many items", "description": f"At most {most_items:,} items; more are status 413."},
        f"{name}.answer": answer_schema(name, count=len(results)),
        f"{name}.answers": record(
            results=listed({"anyOf": [ref(f"{name}.answer"), ref("Failure")]}), usage=ref("Usage")
        ),
    }
    made[f"{name}.many"]["properties"]["options"] = options
    for number, result in enumerate(results, start=1):
        component = f"{name}.result.{number}"
        made[component] = rooted(result, f"#/components/schemas/{component}")
    return made


def options_schema(services: Services, name: str) -> Schema:
    """The options of one task, with the models and versions that there are."""
    schema: Schema = Options.model_json_schema()
    models = sorted({deployment.alias for deployment in services.deployments})
    known: Mapping[str, list[Any]] = {"model": models, "prompt_version": list(services.registry.versions(name))}
    for option, values in known.items():
        schema["properties"][option] = {
            "description": schema["properties"][option]["description"],
            "enum": [*values, None],
        }
    outgoing = [str(version) for task, version in services.tasks.deprecations.known if task == name]
    if outgoing:
        schema["properties"]["prompt_version"]["description"] += f"; deprecated: {', '.join(outgoing)}"
    return schema


def answer_schema(name: str, *, count: int) -> Schema:
    """The answer for one item; `count` is the number of result schemas that its versions have."""
    results = [ref(f"{name}.result.{number}") for number in range(1, count + 1)]
    return record(
        call_id=TEXT,
        task=TEXT | {"const": name},
        prompt_version=WHOLE,
        taxonomy_version=TAXONOMY_VERSION,
        model=TEXT | {"description": "the alias that was asked"},
        deployment=TEXT | {"description": "the deployment that answered"},
        id=ITEM_ID,
        result=results[0] if count == 1 else {"anyOf": results},
        cached=FLAG,
        latency_ms=MILLISECONDS,
        usage=ref("Usage"),
    )


def operation(task: Task, *, operation_id: str, is_deprecated: bool) -> Schema:
    """`POST` to one task, with the examples of its prompt file; deprecated where the version that serves is."""
    name = task.name
    request = json_of({"anyOf": [ref(f"{name}.one"), ref(f"{name}.many")]})
    response = json_of({"anyOf": [ref(f"{name}.answer"), ref(f"{name}.answers")]})
    if task.example_request is not None:
        request["application/json"]["examples"] = {
            "one": {"summary": "One item", "value": task.example_request},
            "many": {"summary": "Many items", "value": {"items": [{"id": "1", **task.example_request}]}},
        }
    if task.example_result is not None:
        response["application/json"]["examples"] = {"one": {"summary": "One item", "value": example_answer(task)}}
    answer = {"description": "The answer, or one for each item in order.", "headers": TASK_HEADERS, "content": response}
    return {
        "tags": ["tasks"],
        "operationId": operation_id,
        "summary": task.prompt.description,
        **({"deprecated": True} if is_deprecated else {}),
        "requestBody": {"required": True, "content": request},
        "responses": {"200": answer, **{str(status): found for status, found in problems(*TASK_ERRORS).items()}},
    }


def example_answer(task: Task) -> Schema:
    """The example result of the prompt file in the envelope of an answer."""
    usage = {"input_tokens": 310, "cached_input_tokens": 0, "output_tokens": 58, "cost_usd": "0.0001935"}
    return {
        "call_id": EXAMPLE_ID,
        "task": task.name,
        "prompt_version": task.version,
        "taxonomy_version": EXAMPLE_TAXONOMY if task.uses_taxonomy else None,
        "model": task.prompt.model,
        "deployment": "openai/gpt-5-mini",
        "id": None,
        "result": task.example_result,
        "cached": False,
        "latency_ms": 412.7,
        "usage": usage,
    }


def rooted(schema: Any, root: str) -> Any:
    """`schema` with its references to itself made to hold under `root`, and a pattern that refuses blank texts."""
    if isinstance(schema, list):
        return [rooted(entry, root) for entry in schema]
    if not isinstance(schema, Mapping):
        return schema
    made = {key: rooted(value, root) for key, value in schema.items()}
    reference = made.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        made["$ref"] = root + reference.removeprefix("#")
    properties = made.get("properties")
    if isinstance(properties, dict) and isinstance(properties.get("text"), dict):
        properties["text"] = {"pattern": r"\S"} | properties["text"]
    return made
