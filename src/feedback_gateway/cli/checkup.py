"""The checks of `doctor`: each looks at one part and says what it found; none of them shows a key."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from feedback_gateway.cli.deployment_checks import check_provider, check_time, known_providers
from feedback_gateway.cli.findings import Finding
from feedback_gateway.clock import SystemClock
from feedback_gateway.consumers.models import LOCAL_CONSUMER
from feedback_gateway.deployments import deployments_of
from feedback_gateway.errors import ConfigurationError, GatewayError
from feedback_gateway.llm.embedded_client import EmbeddedClient
from feedback_gateway.llm.models import Deployment
from feedback_gateway.llm.price_table import load_price_table
from feedback_gateway.prompts.library import PromptLibrary
from feedback_gateway.prompts.render import render
from feedback_gateway.redis_link.link import ping
from feedback_gateway.services import open_services, prompt_folders
from feedback_gateway.settings import ModelEntry, Settings, load_settings
from feedback_gateway.storage.engine import open_engine, try_writing, upgrade
from feedback_gateway.tasks.models import CallOptions
from feedback_gateway.tasks.opening import deprecations_of, rollouts_of
from feedback_gateway.tasks.registry import TaskRegistry
from feedback_gateway.tasks.taxonomy import load_taxonomy
from feedback_gateway.tasks.taxonomy_checks import warnings_of

FENCE = "0" * 16
LIVE_ITEM = {"text": "The app crashes when I open it."}
REDIS_S = 1.0
LIVE_MEND = "check the deployment's api_key, api_base, model and timeout"


async def examine(config: Path | None, *, live: bool) -> list[Finding]:
    """Every finding, in the order in which the parts depend on each other."""
    try:
        settings = load_settings(config)
    except ConfigurationError as error:
        return [Finding(state="fail", part="configuration", message=error.detail)]
    findings = [Finding(state="ok", part="configuration", message=source_of(config))]
    findings += without_effect(settings)
    findings += await asyncio.to_thread(lambda: [*database(settings), *prompts(settings), *taxonomy(settings)])
    findings += [finding async for finding in redis(settings)]
    findings.append(cache(settings))
    findings += [finding async for finding in deployments(settings)]
    if live:
        findings += await live_calls(settings)
    return findings


def source_of(config: Path | None) -> str:
    """Where the settings are from; the environment may override each of them."""
    if config is not None or Path("gateway.yaml").exists():
        return f"read from {config or './gateway.yaml'}"
    return "the defaults; there is no ./gateway.yaml"


def without_effect(settings: Settings) -> Iterator[Finding]:
    """Settings that are accepted and do nothing yet."""
    inert = {
        "webhooks": bool(settings.webhooks),
        "digests": bool(settings.digests),
        "alerts": bool(settings.alerts),
    }
    for name, is_set in inert.items():
        if is_set:
            yield Finding(state="warn", part=name, message="is set and has no effect in this version", mend="remove it")


def database(settings: Settings) -> Iterator[Finding]:
    """Opens and migrates the database, and writes what stands there already."""
    try:
        engine = open_engine(settings.database_url)
        try:
            upgrade(engine)
            try_writing(engine)
        finally:
            engine.dispose()
    except GatewayError as error:
        yield Finding(state="fail", part="database", message=error.detail)
        return
    message = f"{engine.name} opens, its schema is up to date, and it can be written"
    yield Finding(state="ok", part="database", message=message)


def prompts(settings: Settings) -> Iterator[Finding]:
    """Every prompt file, the folder they are in, and the versions that the configuration names."""
    if "prompts" in settings.model_fields_set and not settings.prompts.is_dir():
        message = f"there is no folder {settings.prompts}: only the built-in prompts serve"
        yield Finding(state="warn", part="prompts", message=message, mend="create it, or correct the setting")
    library = PromptLibrary(prompt_folders(settings))
    try:
        registry = TaskRegistry(library)
        broken = list(registry.broken.values())
        yield from renderings(registry, settings)
    except ConfigurationError as error:
        broken = [*library.broken.values(), error.detail]
    for reason in broken:
        yield Finding(state="fail", part="prompts", message=reason, mend="correct the file, or take it away")
    serving = {}
    for name, task in settings.tasks.items():
        try:
            serving[name] = library.get(name, task.version).version
        except GatewayError as error:
            yield Finding(state="fail", part=f"tasks.{name}", message=error.detail)
    if not broken and serving.keys() == settings.tasks.keys():
        try:
            rollouts_of(settings, TaskRegistry(library))
        except GatewayError as error:
            yield Finding(state="fail", part="tasks", message=error.detail)
    for warning in deprecations_of(settings).warnings(serving, now=SystemClock().now()):
        yield Finding(state="warn", part="tasks", message=warning, mend="name another version in tasks")
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
    yield Finding(state="ok", part="taxonomy", message=f"version {found.version}: {counts}, {routing}")
    for warning in warnings_of(found):
        yield Finding(state="warn", part="taxonomy", message=warning, mend="see `feedback-gateway taxonomy check`")


def renderings(registry: TaskRegistry, settings: Settings) -> Iterator[Finding]:
    """Prompts whose own example cannot be put into words with the configured taxonomy, where that can be read."""
    try:
        variables = {"taxonomy": load_taxonomy(settings.taxonomy).as_json()}
    except GatewayError:
        return
    for name in registry.names():
        task = registry.get(name)
        try:
            render(task.prompt, {**(task.example_request or {}), **variables}, fence=FENCE)
        except GatewayError as error:
            yield Finding(state="fail", part="prompts", message=error.detail, mend="correct the file")


async def redis(settings: Settings) -> AsyncIterator[Finding]:
    """Redis, where it is to be used, answers in time; without it the gateway runs, but each process for itself."""
    if settings.redis_url is None:
        return
    try:
        silence = await ping(settings.redis_url.get_secret_value(), timeout_s=REDIS_S)
    except ConfigurationError as error:
        yield Finding(state="fail", part="redis", message=error.detail, mend="correct redis_url")
        return
    if silence is None:
        yield Finding(state="ok", part="redis", message="answers; limits, cooldowns and answers are shared there")
        return
    message = f"does not answer within {REDIS_S:g} s ({silence}): each process goes on alone"
    yield Finding(state="fail", part="redis", message=message, mend="start Redis, or correct or remove redis_url")


def cache(settings: Settings) -> Finding:
    """Where answers are kept, how long, and who shares them."""
    kept = settings.cache
    if not kept.max_entries:
        return Finding(state="ok", part="cache", message="is off (max_entries: 0)")
    room = f"in this process, up to {kept.max_entries:,} in {kept.max_bytes / 1e6:g} MB"
    where = room if settings.redis_url is None else "in Redis, for all processes"
    sharing = "all consumers share them" if kept.scope == "shared" else "each consumer has its own"
    return Finding(state="ok", part="cache", message=f"keeps answers for {kept.ttl} {where}; {sharing}")


async def deployments(settings: Settings) -> AsyncIterator[Finding]:
    """Each deployment: its files or its key, and its price."""
    try:
        listed = deployments_of(settings)
    except ConfigurationError as error:
        yield Finding(state="fail", part="model_list", message=error.detail)
        return
    distant = [deployment for deployment in listed if not deployment.model.startswith("embedded/")]
    known = known_providers(load_price_table()) if distant else frozenset()
    for deployment in listed:
        if deployment not in distant:
            yield await embedded(deployment)
            continue
        for finding in check_provider(deployment, known=known):
            yield finding
        for finding in check_time(deployment, settings):
            yield finding


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


async def live_calls(settings: Settings) -> list[Finding]:
    """One small request to each deployment, written to the ledger as any other."""
    findings = []
    for entry in settings.model_list:
        only = settings.model_copy(update={"model_list": [entry], "fallbacks": {}, "tasks": {}})
        part = f"live {entry.model_name} ({entry.litellm_params.model})"
        try:
            async with open_services(only) as services:
                answer = await services.tasks.run(
                    "sentiment", LIVE_ITEM, consumer=LOCAL_CONSUMER, options=CallOptions()
                )
        except GatewayError as error:
            findings.append(Finding(state="fail", part=part, message=each_once(error.detail, entry), mend=LIVE_MEND))
            continue
        findings.append(Finding(state="ok", part=part, message=f"answered in {answer.latency_ms:.0f} ms"))
    return findings


def each_once(detail: str, entry: ModelEntry) -> str:
    """What the attempts failed with, without the deployment's name before each and without repetitions."""
    told = detail.removeprefix(f"model {entry.model_name!r}: ").split("; ")
    return "; then ".join(dict.fromkeys(part.removeprefix(f"{entry.litellm_params.model}: ") for part in told))
