"""Builds the rollouts and deprecations of tasks from the settings, and refuses what no prompt file gives."""

from collections.abc import Iterable
from contextlib import AsyncExitStack

from feedback_gateway.errors import ConfigurationError, InvalidRequest
from feedback_gateway.llm.models import Deployment
from feedback_gateway.llm.providers import EMBEDDED_MODEL
from feedback_gateway.settings import Settings, TaskSettings
from feedback_gateway.tasks.examples import Embed, ExampleBook, ExampleUse
from feedback_gateway.tasks.registry import TaskRegistry
from feedback_gateway.tasks.rollout import Canary, Deprecation, Deprecations, Rollout
from feedback_gateway.tasks.shadows import Shadows


def rollouts_of(settings: Settings, registry: TaskRegistry) -> dict[str, Rollout]:
    """The rollouts of the tasks that have one. Raises ConfigurationError for a version that there is not."""
    found = {}
    for name, task in settings.tasks.items():
        if name not in registry.names():
            continue  # told of with its model and version
        for place, version in named_versions(task).items():
            try:
                registry.get(name, version)
            except InvalidRequest as error:
                raise ConfigurationError(f"tasks.{name}.{place}: {error.detail}") from None
        if task.canary is None and task.shadow is None:
            continue
        serving = registry.get(name, task.version).version
        for place, own in (("canary.version", task.canary and task.canary.version), ("shadow", task.shadow)):
            if own == serving:
                raise ConfigurationError(f"tasks.{name}.{place}: version {own} serves already; name another, or none")
        canary = None if task.canary is None else Canary(version=task.canary.version, share=task.canary.share)
        # Pinned as it is now, so that a new file does not change what is being compared.
        found[name] = Rollout(serving=serving, canary=canary, shadow=task.shadow)
    return found


def named_versions(task: TaskSettings) -> dict[str, int]:
    """Every version that the settings of a task name, by its place there."""
    named = {f"deprecations.{version}": version for version in task.deprecations}
    if task.canary is not None:
        named["canary.version"] = task.canary.version
    if task.shadow is not None:
        named["shadow"] = task.shadow
    return named


def open_shadows(settings: Settings, stack: AsyncExitStack) -> Shadows:
    """What runs beside answers, until `stack` is closed."""
    shadows = Shadows(at_once=settings.limits.shadows)
    stack.push_async_callback(shadows.close)
    return shadows


def deprecations_of(settings: Settings) -> Deprecations:
    """The versions that are on their way out."""
    return Deprecations(
        {
            (name, version): Deprecation(since=one.since, sunset=one.sunset)
            for name, task in settings.tasks.items()
            for version, one in task.deprecations.items()
        }
    )


def examples_of(settings: Settings, deployments: Iterable[Deployment], *, embed: Embed) -> ExampleBook:
    """An empty book for the tasks that use people's corrections; `embed` is called only where there are any."""
    uses = {
        name: ExampleUse(most=task.examples.most, shared=task.examples.scope == "shared")
        for name, task in settings.tasks.items()
        if task.examples is not None
    }
    embedded: set[str] = set()
    others: set[str] = set()
    for one in deployments:
        (embedded if one.model == EMBEDDED_MODEL else others).add(one.alias)
    return ExampleBook(uses, readers=others, learners=embedded, embed=embed)
