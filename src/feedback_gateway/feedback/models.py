"""Feedback as it is stored: items, the runs that analyse them, what came of those, corrections, and jobs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

RunStatus = Literal["stored", "queued", "waiting", "analysed", "failed"]
"""`stored`: to be queued. `queued`: to be worked on. `waiting`: tried, and to be tried again when it is due.

`analysed` and `failed` are for good; a failed run is tried again only when somebody asks for it.
"""
STATUSES: tuple[RunStatus, ...] = ("stored", "queued", "waiting", "analysed", "failed")
DISPUTED = "versions_disagree"
"""Why a person should look at an item whose answer another version of the prompt does not share."""
OPEN: tuple[RunStatus, ...] = ("stored", "queued", "waiting")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewItem:
    """An item as it comes; without `created_at` it was written when it came."""

    text: str = field(repr=False)
    source: str
    external_id: str | None = None
    author_id: str | None = field(default=None, repr=False)
    created_at: datetime | None = None
    rating: float | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackItem:
    """A stored item; `status` is that of its first run."""

    item_id: str
    consumer: str
    source: str
    external_id: str | None
    author_id: str | None = field(repr=False)
    text: str = field(repr=False)
    created_at: datetime
    received_at: datetime
    rating: float | None
    metadata: Mapping[str, Any] = field(repr=False)
    status: RunStatus
    review: str | None = None

    @property
    def review_reasons(self) -> tuple[str, ...]:
        """Why a person should look at it; none where nobody need."""
        return tuple((self.review or "").split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One analysis that is to be made of one item."""

    run_id: str
    item_id: str
    task: str
    options: Mapping[str, Any]
    status: RunStatus
    tries: int
    due_at: datetime
    problem: str | None
    bundle: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What one run found; `by` is the deployment that answered, `model` the alias that was asked."""

    analysis_id: str
    run_id: str
    item_id: str
    task: str
    prompt_version: int
    taxonomy_version: str | None
    model: str
    call_id: str
    result: Mapping[str, Any] = field(repr=False)
    by: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What a person says a field of an item should be."""

    correction_id: str
    item_id: str
    field: str
    value: Any
    by: str
    reason: str | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemHistory:
    """An item with all that was ever made of it, the newest first."""

    item: FeedbackItem
    analyses: tuple[Analysis, ...]
    corrections: tuple[Correction, ...]
    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where an item is kept, and whether it was there before."""

    item_id: str
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one request asked for, and how many of its runs have each status."""

    job_id: str
    consumer: str
    kind: str
    created_at: datetime
    counts: Mapping[RunStatus, int]
    problems: Mapping[str, int] = field(default_factory=dict)
    """Why runs wait or failed, the most frequent reasons first."""

    @property
    def total(self) -> int:
        """How many runs there are."""
        return sum(self.counts.values())

    @property
    def is_done(self) -> bool:
        """Whether nothing more will happen by itself."""
        return not any(self.counts.get(status, 0) for status in OPEN)


def first_run_id(item_id: str, task: str) -> str:
    """The name of the run that every new item gets."""
    return f"{item_id}:{task}:first"
