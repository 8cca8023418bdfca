"""What models suggest, what is made of it, and what people say to that."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Verdict = Literal["accepted", "rejected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """One item that a model would have given a category that there is not.

    `item` and `person` name them, each once however often they come; the person is None where nobody knows.
    """

    name: str
    item: str
    person: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Suggestions that mean the same: `form` is the leading spelling, `forms` all of them; both are normalised."""

    form: str
    forms: frozenset[str]
    name: str
    names: tuple[str, ...]
    items: frozenset[str]
    people: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A category that somebody may accept; `examples` are texts of users, word for word.

    `id` stays the same as long as its leading spelling does; those of its other spellings lead to it too.
    """

    id: str
    cluster: Cluster
    rejected_at: datetime | None
    examples: tuple[str, ...] = field(default=(), repr=False)

    @property
    def support(self) -> int:
        """How many items ask for it."""
        return len(self.cluster.items)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a person said to a proposal."""

    decision_id: str
    proposal_id: str
    verdict: Verdict
    forms: tuple[str, ...]
    support: int
    category: str | None
    parent: str | None
    taxonomy_version: str | None
    by: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxonomyVersion:
    """A taxonomy that serves or served."""

    version: str
    label: str | None
    content: Mapping[str, Any] = field(repr=False)
    first_seen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """An item with what its newest analysis of a task says; `suggested` tells that the model missed a category."""

    item_id: str
    consumer: str
    task: str
    text: str = field(repr=False)
    taxonomy_version: str | None
    category: str
    subcategory: str | None
    suggested: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Retag:
    """An item that is to be analysed again, those of a lower `rank` first."""

    item_id: str
    task: str
    rank: int
