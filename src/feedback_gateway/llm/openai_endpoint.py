"""Which deployments speak OpenAI's protocol themselves, where they are, and what a request to them looks like. Pure.

A deployment with any parameter that is not known here, such as `custom_llm_provider`, is left to LiteLLM.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from feedback_gateway.llm.models import Deployment, Operation
from feedback_gateway.llm.prices import is_price
from feedback_gateway.llm.structured import Mode

LIMITS = ("max_tokens", "max_completion_tokens")
"""The two names of the most tokens of an answer."""
PATHS: Mapping[Operation, str] = {"chat": "/chat/completions", "embeddings": "/embeddings"}
REASONING = re.compile(r"(?:ft:)?gpt-[5-9](?!-chat)")
"""OpenAI's models that think: they take `max_completion_tokens`, and a temperature only where they need not think."""
ODD = re.compile(r"(?:ft:)?o\d|responses/|chat/|.*(?:audio|realtime|search|codex|deep-research|cyber|-pro\b)")
"""OpenAI's models for which LiteLLM rewrites messages or asks another endpoint."""
FORMATLESS = frozenset({"gpt-4", "gpt-3.5-turbo-16k"})
TAKE_SCHEMAS = frozenset({"azure", "hosted_vllm", "llamafile", "ollama", "ollama_chat", "openai", "openrouter", "xai"})
"""Providers that take a JSON Schema, or say so with a 400, where LiteLLM's table does not know the model."""
GIVEN = frozenset({"api_key", "api_base", "organization", "extra_headers"})
DEFAULTS = frozenset({
    "frequency_penalty", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens", "metadata",
    "parallel_tool_calls", "presence_penalty", "prompt_cache_key", "reasoning_effort", "safety_identifier", "seed",
    "service_tier", "stop", "store", "temperature", "top_logprobs", "top_p", "user", "verbosity",
})  # fmt: skip
"""Parameters of a deployment that go with every request that does not set them itself."""
OURS = frozenset({"weight", "rpm", "tpm", "timeout", "max_retries", "base_model"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """A provider that speaks the protocol: its address, None where only `api_base` says it.

    `limit` is what it calls the most tokens of an answer; `counts_streams` whether it must be asked to count them in a
    stream; `extra` goes with every request.
    """

    base: str | None = None
    limit: str = "max_tokens"
    counts_streams: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)


SPEAKERS: Mapping[str, Speaker] = {
    "cerebras": Speaker(base="https://api.cerebras.ai/v1"),
    "deepseek": Speaker(base="https://api.deepseek.com/beta"),
    "groq": Speaker(base="https://api.groq.com/openai/v1"),
    "hosted_vllm": Speaker(),
    "llamafile": Speaker(),
    "lm_studio": Speaker(),
    "mistral": Speaker(base="https://api.mistral.ai/v1", counts_streams=False),
    "openai": Speaker(base="https://api.openai.com/v1"),
    "openrouter": Speaker(base="https://openrouter.ai/api/v1", extra={"usage": {"include": True}}),
    "together_ai": Speaker(base="https://api.together.ai/v1"),
    "xai": Speaker(base="https://api.x.ai/v1"),
}
"""Those to whom LiteLLM sends a request as it stands, by its names for them; tests hold the two side by side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where one deployment is, and what goes with every request to it."""

    base: str
    provider: str
    model: str
    headers: Mapping[str, str] = field(repr=False)
    defaults: Mapping[str, Any]
    limit: str
    counts_streams: bool
    modes: tuple[Mode, ...]
    supported: frozenset[str]

    def url(self, operation: Operation) -> str:
        """The address of one operation."""
        return self.base + PATHS[operation]

    def body(self, operation: Operation, asked: Mapping[str, Any], *, streamed: bool = False) -> dict[str, Any]:
        """What is sent: what was asked for, under the provider's own names, over the deployment's defaults."""
        if operation == "embeddings":
            return {**asked, "model": self.model}
        body = {**without_limits(self.defaults, asked), **asked, "model": self.model}
        for name in LIMITS:
            if name != self.limit and name in body:
                body.setdefault(self.limit, body[name])
                del body[name]
        if streamed and self.counts_streams:
            body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
        elif not self.counts_streams:
            body.pop("stream_options", None)
        return body


def without_limits(defaults: Mapping[str, Any], asked: Mapping[str, Any]) -> Mapping[str, Any]:
    """A deployment's defaults; a request that bounds its answer by either name is bound by no default."""
    if not any(asked.get(name) is not None for name in LIMITS):
        return defaults
    return {name: value for name, value in defaults.items() if name not in LIMITS}


def endpoint_of(deployment: Deployment) -> Endpoint | None:
    """How the deployment is asked without LiteLLM; None where it does not speak the protocol, or not exactly."""
    provider, _, model = deployment.model.partition("/")
    params = {key: value for key, value in deployment.params.items() if value is not None}
    speaker = SPEAKERS.get(provider)
    base = params.get("api_base") or (speaker and speaker.base)
    unknown = {key for key in params if key not in GIVEN | DEFAULTS | OURS and not is_price(key)}
    is_keyless = params.get("api_key") is None and (provider == "openai" or "api_base" not in params)
    is_odd = provider == "openai" and ODD.match(model) is not None
    if speaker is None or not base or not model or unknown or is_keyless or is_odd:
        return None
    headers = {"content-type": "application/json", **(params.get("extra_headers") or {})}
    if params.get("api_key") is not None:
        headers["authorization"] = f"Bearer {params['api_key']}"
    if params.get("organization") is not None:
        headers["openai-organization"] = str(params["organization"])
    thinks = provider == "openai" and REASONING.match(model) is not None
    return Endpoint(
        base=str(base).rstrip("/"),
        provider=provider,
        model=model,
        headers=headers,
        defaults={**speaker.extra, **{key: value for key, value in params.items() if key in DEFAULTS}},
        limit="max_completion_tokens" if thinks else speaker.limit,
        counts_streams=speaker.counts_streams,
        modes=modes_of(provider, deployment.listed),
        supported=supported_by(provider, model, listed=deployment.listed, thinks=thinks),
    )


def modes_of(provider: str, listed: Mapping[str, Any] | None) -> tuple[Mode, ...]:
    """The ways to ask a model for JSON, best first: what LiteLLM's table lists; a schema where it does not know it."""
    row = listed or {}
    modes: list[Mode] = ["text"]
    if row.get("supports_function_calling"):
        modes.insert(0, "tool")
    if row.get("supports_response_schema") or provider == "lm_studio" or (provider in TAKE_SCHEMAS and listed is None):
        modes.insert(0, "schema")
    return tuple(modes)


def supported_by(provider: str, model: str, *, listed: Mapping[str, Any] | None, thinks: bool) -> frozenset[str]:
    """The parameters of a task that the model takes."""
    supported = {"max_tokens", "temperature", "response_format", "tools", "tool_choice"}
    if thinks and (listed or {}).get("default_reasoning_effort") != "none":
        supported -= {"temperature"}
    if provider == "openai" and model in FORMATLESS:
        supported -= {"response_format"}
    return frozenset(supported)
