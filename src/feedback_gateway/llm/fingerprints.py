"""What a stored answer is an answer to: everything of a request, whoever may answer it, and for whom. Pure.

Fields are walked, never listed, so that one added later is in the key from its first day.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from feedback_gateway import __version__
from feedback_gateway.cache.keys import digest
from feedback_gateway.llm.models import Deployment, Message, Request

SECRETS = frozenset({"api_key"})
"""What of a deployment's parameters says who pays and nothing about the answer: a new key keeps the old answers."""

NO_PART = frozenset({"fence", "cache", "size"})
"""What of a request is drawn anew each time, says how its answer is kept, or only measures the rest of it."""


def request_key(request: Request, *, scope: str, answering: bytes) -> bytes:
    """The key of `request` for one scope of sharing; `answering` is the fingerprint of those who may answer it.

    Raises UnkeyableError.
    """
    fence = getattr(request, "fence", "")
    asked = [[one.name, keyed(one.name, getattr(request, one.name), fence)] for one in fields(request)]
    return digest([type(request).__name__, scope, answering, asked])


def keyed(name: str, value: Any, fence: str) -> Any:
    """A field as it stands in the key."""
    if name in NO_PART:
        return None
    if name in ("sink", "gatherer"):
        return value is not None
    if name == "messages" and fence:
        return [cut(message, fence) for message in value]
    return value


def cut(message: Message, fence: str) -> list[Any]:
    """The message in the parts between its fences.

    Its text can be put together again from the parts and the fence, so whatever anybody writes, two texts have the
    same parts only where they differ in nothing but their fence.
    """
    return [message.role, message.content.split(fence)]


def alias_fingerprints(deployments: Sequence[Deployment], *, version: str = __version__) -> Mapping[str, bytes]:
    """By alias, everything of its deployments that can change an answer, in no order, and the gateway's `version`."""
    aliases = dict.fromkeys(deployment.alias for deployment in deployments)
    return {
        alias: fingerprint((one for one in deployments if one.alias == alias), version=version) for alias in aliases
    }


def fingerprint(deployments: Iterable[Deployment], *, version: str) -> bytes:
    """One for all of them. What is no JSON counts as it is written."""
    described = [
        digest(
            [one.model, [[name, describe(value)] for name, value in sorted(one.params.items()) if name not in SECRETS]]
        )
        for one in deployments
    ]
    return digest([version, sorted(described)])


def describe(value: Any) -> Any:
    """A parameter as JSON or, where it is none, in Python's words for it."""
    return value if isinstance(value, str | int | float | None) else repr(value)
