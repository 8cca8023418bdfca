"""How often people agree with models, counted over the last word on each field of each item. Pure."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from feedback_gateway.errors import InvalidRequest, Problem
from feedback_gateway.feedback.corrections import Judged
from feedback_gateway.feedback.current import TEAM

GROUPINGS = ("field", "task", "label", "prompt_version", "taxonomy_version", "model", "by")
Z_95 = 1.959963984540054


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """One group: how many words were said, and how many repeat what the model had said; the interval is Wilson's."""

    group: tuple[Any, ...]
    judged: int
    agreed: int

    @property
    def rate(self) -> float:
        """The share of those that agree."""
        return self.agreed / self.judged

    @property
    def interval(self) -> tuple[float, float]:
        """Between what the rate lies with 95 % confidence."""
        return wilson(self.agreed, self.judged) or (0.0, 1.0)


def agreements(judged: Iterable[Judged], *, group_by: Sequence[str] = ("field",)) -> list[Agreement]:
    """Agreement in groups by `group_by`, those with most words first; what no model had answered is left out.

    `label` is what the model had said.
    """
    said: Counter[tuple[Any, ...]] = Counter()
    agreed: Counter[tuple[Any, ...]] = Counter()
    for one in judged:
        if one.analysis is None:
            continue
        label = answered(one)
        values = {
            "field": one.correction.field,
            "task": one.analysis.task,
            "label": None if label is None else str(label),
            "prompt_version": one.analysis.prompt_version,
            "taxonomy_version": one.analysis.taxonomy_version,
            "model": one.analysis.model,
            "by": one.correction.by,
        }
        group = tuple(values[name] for name in group_by)
        said[group] += 1
        agreed[group] += label == one.correction.value
    ordered = sorted(said, key=lambda group: (-said[group], [str(value) for value in group]))
    return [Agreement(group=group, judged=said[group], agreed=agreed[group]) for group in ordered]


def answered(one: Judged) -> Any:
    """What the model had said of the field."""
    result = {} if one.analysis is None else one.analysis.result
    if one.correction.field == TEAM:
        return (result.get("route") or {}).get("team")
    return result.get(one.correction.field)


def parse_group_by(text: str) -> tuple[str, ...]:
    """The names in a list with commas. Raises InvalidRequest for one that is none."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in GROUPINGS:
            message = f"{name[:50]!r} is none of {', '.join(GROUPINGS)}"
            raise InvalidRequest(f"group_by: {message}", problems=[Problem(("group_by",), message)])
    return names or ("field",)


def wilson(successes: int, trials: int) -> tuple[float, float] | None:
    """The 95 % interval of a share after Wilson (1927), None without trials."""
    if not trials:
        return None
    share, square = successes / trials, Z_95**2
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    half = Z_95 * math.sqrt(share * (1 - share) / trials + square / (4 * trials**2)) / (1 + square / trials)
    return max(0.0, middle - half), min(1.0, middle + half)
