"""Which version of a prompt answers an item, which one runs beside it, and which are on their way out. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b

from feedback_gateway.errors import Gone

BUCKETS = 2**64
NOT_OF_THE_ITEM = frozenset({"id", "metadata", "taxonomy"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A version that answers a `share` (0 to 1) of a task's items."""

    version: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Deprecation:
    """From when on a version should not be used any more (`since`), and when it ends (`sunset`, None: not yet set)."""

    since: datetime
    sunset: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """The version of one task that serves, and those beside it.

    `shadow` runs beside the answers and is never answered itself.
    """

    serving: int
    canary: Canary | None = None
    shadow: int | None = None

    def version_for(self, task: str, item: object) -> int:
        """The version that answers `item` where its caller names none.

        An item keeps its version for as long as the canary has its number and does not shrink: a larger share takes
        in more items and lets go of none.
        """
        canary = self.canary
        if canary is None or bucket_of(task, canary.version, item) >= canary.share * BUCKETS:
            return self.serving
        return canary.version

    def beside(self, answered_by: int) -> int | None:
        """The version that runs beside an answer of version `answered_by`, None where there is none.

        Where the shadow's own version answered, as a canary, it is compared with the one that serves.
        """
        if self.shadow is None:
            return None
        other = self.serving if answered_by == self.shadow else self.shadow
        return None if other == answered_by else other


def bucket_of(task: str, version: int, item: object) -> int:
    """A number below BUCKETS, the same for the same item wherever and whenever it is computed.

    An item is its id, or its inputs where it has none. The task and the version are in it, so that it is not always
    the same items that try what is new.
    """
    key = f"{task}\0{version}\0{item_key(item)}"
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def item_key(item: object) -> str:
    """What an item is told apart by."""
    if not isinstance(item, Mapping):
        return f"no item: {item!r}"
    item_id = item.get("id")
    if isinstance(item_id, str | int) and item_id != "":
        return f"id {item_id}"
    inputs = {name: value for name, value in item.items() if name not in NOT_OF_THE_ITEM}
    if inputs.keys() == {"text"}:
        return f"text {inputs['text']}"
    return "inputs " + json.dumps(inputs, sort_keys=True, default=repr)


@dataclass(frozen=True, slots=True)
class Deprecations:
    """The versions that are on their way out, by task and number."""

    known: Mapping[tuple[str, int], Deprecation] = field(default_factory=dict)

    def of(self, task: str, version: int) -> Deprecation | None:
        """What is known of one version."""
        return self.known.get((task, version))

    def refuse_ended(self, task: str, version: int | None, *, now: datetime) -> None:
        """Refuse a version that a caller names after its sunset. Raises Gone."""
        found = None if version is None else self.of(task, version)
        if found is not None and found.sunset is not None and found.sunset <= now:
            raise Gone(
                f"version {version} of the prompt {task!r} ended at {found.sunset:%Y-%m-%dT%H:%M:%SZ}; "
                f"leave prompt_version out, or see /v1/prompts/{task} for those that there are"
            )

    def is_ending(self, task: str, version: int | None) -> bool:
        """Whether a version that a caller names will be refused one day."""
        found = None if version is None else self.of(task, version)
        return found is not None and found.sunset is not None

    def warnings(self, serving: Mapping[str, int], *, now: datetime) -> list[str]:
        """What an operator should know of the versions that serve: a sentence for each that is on its way out."""
        found = []
        for (task, version), deprecation in sorted(self.known.items()):
            if serving.get(task) != version or deprecation.since > now:
                continue
            ends = deprecation.sunset
            when = "" if ends is None else f", {'ended' if ends <= now else 'ends'} at {ends:%Y-%m-%d}"
            found.append(f"tasks.{task}: version {version} serves and is deprecated{when}")
        return found


def earliest(deprecations: Sequence[Deprecation]) -> Deprecation | None:
    """What is to be said of an answer that several versions took part in."""
    if not deprecations:
        return None
    sunsets = [one.sunset for one in deprecations if one.sunset is not None]
    return Deprecation(since=min(one.since for one in deprecations), sunset=min(sunsets, default=None))
