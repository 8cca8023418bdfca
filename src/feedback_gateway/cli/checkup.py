"""The checks of `doctor`: each looks at one part and says what it found; none of them shows a key."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from feedback_gateway.errors import ConfigurationError, GatewayError
from feedback_gateway.llm.embedded_client import EmbeddedClient
from feedback_gateway.llm.models import Deployment
from feedback_gateway.prompts.library import PromptLibrary
from feedback_gateway.services import deployments_of, open_services, prompt_folders
from feedback_gateway.settings import CacheSettings, LogSettings, Settings, load_settings
from feedback_gateway.storage.engine import open_engine, upgrade
from feedback_gateway.tasks.models import CallOptions
from feedback_gateway.tasks.registry import TaskRegistry
from feedback_gateway.tasks.taxonomy import load_taxonomy

State = Literal["ok", "warn", "fail"]
PLACEHOLDERS = ("sk-...", "your-", "changeme", "xxx", "<", "todo", "example")
KEYLESS = ("embedded/", "ollama/", "ollama_chat/", "hosted_vllm/", "llamafile/", "lm_studio/", "bedrock/", "vertex_ai/")
LIVE_ITEM = {"text": "The app crashes when I open it."}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found at one part, and how to mend it where it needs that."""

    state: State
    part: str
    message: str
    mend: str = ""


async def examine(config: Path | None, *, live: bool) -> list[Finding]:
    """Every finding, in the order in which the parts depend on each other."""
    try:
        settings = load_settings(config)
    except ConfigurationError as error:
        return [Finding(state="fail", part="configuration", message=error.detail, mend="correct that setting")]
    source = str(config) if config else "./gateway.yaml and the environment, where they say something"
    findings = [Finding(state="ok", part="configuration", message=f"read from {source}")]
    findings += without_effect(settings)
    findings += await asyncio.to_thread(lambda: [*database(settings), *prompts(settings), *taxonomy(settings)])
    findings += redis(settings)
    findings += [finding async for finding in deployments(settings)]
    if live:
        findings += await live_calls(settings)
    return findings


def without_effect(settings: Settings) -> Iterator[Finding]:
    """Settings that are accepted and do nothing yet."""
    inert = {
        "webhooks": bool(settings.webhooks),
        "digests": bool(settings.digests),
        "alerts": bool(settings.alerts),
        "cache": settings.cache != CacheSettings(),
        "log": settings.log != LogSettings(),
    }
    inert |= {
        f"tasks.{name}.{what}": True
        for name, task in settings.tasks.items()
        for what, value in (("canary", task.canary), ("shadow", task.shadow))
        if value is not None
    }
    for name, is_set in inert.items():
        if is_set:
            yield Finding(state="warn", part=name, message="is set and has no effect in this version", mend="remove it")


def database(settings: Settings) -> Iterator[Finding]:
    """Opens, migrates and locks the database for writing."""
    try:
        engine = open_engine(settings.database_url)
        try:
            upgrade(engine)
            with engine.connect() as connection:
                connection.execution_options(begin="BEGIN IMMEDIATE")
                connection.begin().rollback()
        finally:
            engine.dispose()
    except GatewayError as error:
        yield Finding(state="fail", part="database", message=error.detail)
        return
    yield Finding(state="ok", part="database", message="opens, its schema is up to date, and it can be written")


def prompts(settings: Settings) -> Iterator[Finding]:
    """Every prompt file, and the versions that the configuration names."""
    library = PromptLibrary(prompt_folders(settings))
    try:
        broken = list(TaskRegistry(library).broken.values())
    except ConfigurationError as error:
        broken = [*library.broken.values(), error.detail]
    for reason in broken:
        yield Finding(state="fail", part="prompts", message=reason, mend="correct the file, or take it away")
    for name, task in settings.tasks.items():
        try:
            library.get(name, task.version)
        except GatewayError as error:
            yield Finding(state="fail", part=f"tasks.{name}", message=error.detail)
    if not broken:
        yield Finding(state="ok", part="prompts", message=f"{', '.join(library.names())}")


def taxonomy(settings: Settings) -> Iterator[Finding]:
    """The categories, teams and rules."""
    try:
        found = load_taxonomy(settings.taxonomy)
    except GatewayError as error:
        yield Finding(state="fail", part="taxonomy", message=error.detail, mend="correct the file")
        return
    examples = sum(len(category.examples) for category in found.categories)
    counts = f"{len(found.categories)} categories, {examples} examples"
    routing = f"{len(found.teams)} teams, {len(found.rules)} rules"
    yield Finding(state="ok", part="taxonomy", message=f"{counts}, {routing}")


def redis(settings: Settings) -> Iterator[Finding]:
    """Redis is not used yet."""
    if settings.redis_url is not None:
        message = "is set and has no effect in this version"
        yield Finding(state="warn", part="redis_url", message=message, mend="remove it")


async def deployments(settings: Settings) -> AsyncIterator[Finding]:
    """Each deployment: its files or its key, and its price."""
    try:
        listed = deployments_of(settings)
    except ConfigurationError as error:
        yield Finding(state="fail", part="model_list", message=error.detail)
        return
    for deployment in listed:
        yield await embedded(deployment) if deployment.model.startswith("embedded/") else provider(deployment)


async def embedded(deployment: Deployment) -> Finding:
    """The files of the embedded model are there and whole."""
    part = f"deployment {deployment.name}"
    client = EmbeddedClient()
    try:
        await client.warm_up()
    except (GatewayError, OSError, ValueError) as error:
        return Finding(state="fail", part=part, message=str(error), mend="install feedback-gateway again")
    finally:
        await client.aclose()
    return Finding(state="ok", part=part, message="loads; free of charge; no network")


def provider(deployment: Deployment) -> Finding:
    """A provider's deployment as far as can be told without asking it."""
    part = f"deployment {deployment.name} ({deployment.alias})"
    if "/" not in deployment.model:
        mend = f"write openai/{deployment.model}, or whichever provider it is"
        return Finding(state="fail", part=part, message="the model names no provider", mend=mend)
    key = str(deployment.params.get("api_key", ""))
    if key and any(mark in key.lower() for mark in PLACEHOLDERS):
        mend = "give the key, best as ${NAME} from the environment"
        return Finding(state="fail", part=part, message="api_key is a placeholder", mend=mend)
    if not key and not deployment.model.startswith(KEYLESS):
        mend = "set litellm_params.api_key, best as ${NAME} from the environment"
        return Finding(state="warn", part=part, message="no api_key", mend=mend)
    if deployment.rates is None:
        mend = "give input_cost_per_token and output_cost_per_token in litellm_params"
        return Finding(state="warn", part=part, message="its price is not known: costs are shown as unknown", mend=mend)
    return Finding(state="ok", part=part, message="has a key or needs none; its price is known")


async def live_calls(settings: Settings) -> list[Finding]:
    """One small request to each deployment, written to the ledger as any other."""
    findings = []
    for entry in settings.model_list:
        only = settings.model_copy(update={"model_list": [entry], "fallbacks": {}, "tasks": {}})
        part = f"live {entry.model_name} ({entry.litellm_params.model})"
        try:
            async with open_services(only) as services:
                answer = await services.tasks.run("sentiment", LIVE_ITEM, consumer="local", options=CallOptions())
        except GatewayError as error:
            findings.append(Finding(state="fail", part=part, message=error.detail))
            continue
        findings.append(Finding(state="ok", part=part, message=f"answered in {answer.latency_ms:.0f} ms"))
    return findings
