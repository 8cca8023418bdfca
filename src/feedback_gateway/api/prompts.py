"""`GET /v1/prompts`: the prompts there are, with their versions and schemas; their wording stays inside."""

from typing import Any

from feedback_gateway.api.deps import Json, ServicesDep
from feedback_gateway.api.rendering import moment
from feedback_gateway.prompts.models import Prompt
from feedback_gateway.services import Services
from feedback_gateway.tasks.rollout import Deprecation


async def list_prompts(services: ServicesDep) -> Json:
    """Every prompt, and the files that cannot be read, in whose place the last good version serves."""
    return {
        "data": [prompt_json(services, name) for name in services.registry.names()],
        "next_cursor": None,
        "broken": list(services.registry.broken.values()),
    }


async def read_prompt(services: ServicesDep, name: str) -> Json:
    """One prompt and its versions."""
    return prompt_json(services, name)


def prompt_json(services: Services, name: str) -> dict[str, Any]:
    """The version that serves, and all versions with their schemas."""
    preference = services.settings.tasks.get(name)
    canary = preference.canary if preference else None
    serving = services.library.get(name, preference.version if preference else None)
    versions = [services.library.get(name, version) for version in services.registry.versions(name)]
    return {
        "name": name,
        "description": serving.description,
        "version": serving.version,
        "canary": None if canary is None else {"version": canary.version, "share": canary.share},
        "shadow": preference and preference.shadow,
        "versions": [version_json(prompt, services.tasks.deprecations.of(name, prompt.version)) for prompt in versions],
    }


def version_json(prompt: Prompt, deprecation: Deprecation | None) -> dict[str, Any]:
    """One version: what it asks for, what it answers, and how it is run."""
    return {
        "version": prompt.version,
        "description": prompt.description,
        "model": prompt.model,
        "temperature": prompt.temperature,
        "max_tokens": prompt.max_tokens,
        "batch": prompt.batch,
        "digest": prompt.digest,
        "deprecated_at": deprecation and moment(deprecation.since),
        "sunset_at": deprecation and deprecation.sunset and moment(deprecation.sunset),
        "input_schema": prompt.input_schema,
        "output_schema": prompt.output_schema,
    }
