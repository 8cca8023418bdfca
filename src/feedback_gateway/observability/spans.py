"""What a request and a call look like as spans: names, times and attributes, after OpenTelemetry's conventions.

No prompt, no answer, no sentence of an error, no path: what users wrote is in none of it. Knows no library.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from feedback_gateway.calls.models import Attempt, Call
from feedback_gateway.llm.models import Usage
from feedback_gateway.observability.models import ServedRequest, Trace, span_id_of

Value = str | int | float | bool | tuple[str, ...]
Kind = Literal["server", "internal", "client"]
SERVER_ERROR = 500
# The names of https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai/; others are as LiteLLM has them.
PROVIDERS: Mapping[str, str] = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex_ai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}
EMBEDDINGS = "embeddings"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanData:
    """One span; times are in UTC, and ids as in `Trace`."""

    name: str
    kind: Kind
    trace_id: str
    span_id: str
    parent_id: str | None
    parent_is_remote: bool = False
    started_at: datetime
    ended_at: datetime
    error: str | None = None
    attributes: Mapping[str, Value] = field(default_factory=dict)


def request_span(request: ServedRequest, *, ended_at: datetime) -> SpanData:
    """The span of a request, under the sender's if there was one."""
    trace = request.origin.trace
    attributes: dict[str, Value | None] = {
        "http.request.method": "_OTHER" if request.method == "other" else request.method,
        "http.route": request.route,
        "http.response.status_code": request.status,
        "feedback_gateway.call_id": request.call_id,
        "feedback_gateway.client_call_id": request.origin.client_call_id,
        "feedback_gateway.consumer": request.consumer,
    }
    error = str(request.status) if request.status >= SERVER_ERROR else None
    return SpanData(
        name=request.method if request.route is None else f"{request.method} {request.route}",
        kind="server",
        trace_id=trace.trace_id,
        span_id=trace.span_id,
        parent_id=trace.parent_id,
        parent_is_remote=True,
        started_at=ended_at - timedelta(seconds=request.seconds),
        ended_at=ended_at,
        error=error,
        attributes=known(attributes | {"error.type": error}),
    )


def call_spans(call: Call, trace: Trace) -> Iterator[SpanData]:
    """The span of a call that is over, under its request's, and one of each of its attempts."""
    receipt = call.receipt()
    attributes: dict[str, Value | None] = {
        "gen_ai.request.model": call.model,
        "gen_ai.usage.input_tokens": receipt.input_tokens,
        "gen_ai.usage.output_tokens": receipt.output_tokens,
        "feedback_gateway.call_id": call.call_id,
        "feedback_gateway.task": call.task,
        "feedback_gateway.prompt_version": call.prompt_version,
        "feedback_gateway.examples": call.examples,
        "feedback_gateway.consumer": call.consumer,
        "feedback_gateway.deployment": call.deployment,
        "feedback_gateway.cached": call.cached,
        "feedback_gateway.cost_usd": None if receipt.cost_usd is None else float(receipt.cost_usd),
        "error.type": error_of(call),
    }
    yield SpanData(
        name=f"call {call.task}",
        kind="internal",
        trace_id=trace.trace_id,
        span_id=span_id_of(call.call_id),
        parent_id=trace.span_id,
        started_at=call.created_at,
        ended_at=call.created_at + timedelta(milliseconds=call.latency_ms),
        error=error_of(call),
        attributes=known(attributes),
    )
    for attempt in call.attempts:
        yield attempt_span(attempt, call, trace)


def attempt_span(attempt: Attempt, call: Call, trace: Trace) -> SpanData:
    """The span of one request to a provider; one that nobody waited for may end after its call."""
    provider, _, model = attempt.model.rpartition("/")
    provider = provider.partition("/")[0]
    operation = EMBEDDINGS if call.task == EMBEDDINGS else "chat"
    error = attempt.error or (None if attempt.status == "ok" else attempt.status)
    attributes: dict[str, Value | None] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": PROVIDERS.get(provider, provider) or None,
        "gen_ai.request.model": model,
        "gen_ai.response.model": attempt.answered_by,
        "gen_ai.response.finish_reasons": None if attempt.finish_reason is None else (attempt.finish_reason,),
        "http.response.status_code": attempt.http_status,
        "error.type": error,
        "feedback_gateway.call_id": call.call_id,
        "feedback_gateway.deployment": attempt.deployment,
        "feedback_gateway.attempt": attempt.number,
        "feedback_gateway.purpose": attempt.purpose,
        "feedback_gateway.cost_usd": None if attempt.cost_usd is None else float(attempt.cost_usd),
    }
    return SpanData(
        name=f"{operation} {model}",
        kind="client",
        trace_id=trace.trace_id,
        span_id=span_id_of(call.call_id, attempt.number),
        parent_id=span_id_of(call.call_id),
        started_at=attempt.started_at,
        ended_at=attempt.started_at + timedelta(milliseconds=attempt.latency_ms),
        error=error,
        attributes=known(attributes) | usage_attributes(attempt.usage),
    )


def usage_attributes(usage: Usage | None) -> dict[str, Value]:
    """The tokens of one attempt, none where nobody knows them; those of the cache are parts of the input."""
    if usage is None:
        return {}
    return {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read_tokens,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens,
    }


def error_of(call: Call) -> str | None:
    """The code of a call's failure, or that its caller left."""
    return call.error or (None if call.status == "ok" else call.status)


def known(attributes: Mapping[str, Value | None]) -> dict[str, Value]:
    """The attributes that have a value."""
    return {name: value for name, value in attributes.items() if value is not None}
