"""Has stored feedback analysed again after the taxonomy has changed: only what the change can touch, at a known price.

Each item gets one more analysis, and the old one stays in its history; what a person has set is left alone.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from feedback_gateway.clock import Clock
from feedback_gateway.errors import GatewayError
from feedback_gateway.tasks.taxonomy import Taxonomy
from feedback_gateway.tasks.taxonomy_file import TaxonomyFile
from feedback_gateway.tasks.taxonomy_reader import plain
from feedback_gateway.taxonomies.models import Retag, Tagged, TaxonomyVersion
from feedback_gateway.taxonomies.repository import TaxonomyRepository

Price = Callable[[Tagged], Decimal | None]
"""The most that one attempt at an item can cost, in USD; None where nobody knows."""

REST = plain("other")
"""The category of what fits nowhere."""
SUGGESTED, UNPLACED, GROWN = 0, 1, 2
"""Who goes first: items that a model wanted a new category for, those that fit nowhere, those whose category grew."""

Labels = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a retagging would do. `most_usd` is of one attempt an item, None where a price is not known.

    `refused` counts items whose text the task does not take any more; `untouched` those that the change cannot touch.
    """

    version: str
    retags: tuple[Retag, ...]
    most_usd: Decimal | None
    untouched: int
    refused: int


class Retagging:
    """Plans and begins the job; the engine does it. Blocks: call it from a thread."""

    def __init__(self, repository: TaxonomyRepository, file: TaxonomyFile, clock: Clock, *, price: Price) -> None:
        self._repository = repository
        self._file = file
        self._clock = clock
        self._price = price

    def plan(self, *, since: datetime | None = None) -> Plan:
        """Count and price what would be asked again; nothing is written."""
        current = self._file.current
        known = {one.version: one for one in self._repository.versions()}
        retags: list[Retag] = []
        amounts: list[Decimal | None] = []
        untouched = refused = 0
        for tagged in self._repository.tagged(since=since, but=current.version):
            rank = rank_of(tagged, current, known.get(tagged.taxonomy_version or ""))
            if rank is None:
                untouched += 1
                continue
            try:
                amounts.append(self._price(tagged))
            except GatewayError:
                refused += 1
                continue
            retags.append(Retag(item_id=tagged.item_id, task=tagged.task, rank=rank))
        retags.sort(key=lambda one: (one.rank, one.item_id, one.task))
        return Plan(
            version=current.version,
            retags=tuple(retags),
            most_usd=total(amounts),
            untouched=untouched,
            refused=refused,
        )

    def begin(self, plan: Plan, *, consumer: str) -> str:
        """Queue what was planned; the job's id. What an earlier job of the same version has done is not done again."""
        return self._repository.queue(plan.retags, version=plan.version, consumer=consumer, clock=self._clock)


def rank_of(tagged: Tagged, current: Taxonomy, before: TaxonomyVersion | None) -> int | None:
    """How likely it is that the change touches an item, 0 the likeliest; None where it cannot.

    `before` is the taxonomy that the item was analysed with, None where nobody knows it: all may be new then.
    """
    now, then = labels_of(current.as_json()), None if before is None else labels_of(before.content)
    added = set(now) if then is None else set(now) - set(then)
    category, subcategory = plain(tagged.category), plain(tagged.subcategory or "")
    if category not in now or (subcategory and subcategory not in now[category]):
        return UNPLACED
    grown = now[category] - (then or {}).get(category, frozenset())
    if tagged.suggested and (added or grown or grew_anywhere(now, then)):
        return SUGGESTED
    if category == REST and (added or grew_anywhere(now, then)):
        return UNPLACED
    return GROWN if grown and not subcategory else None


def grew_anywhere(now: Labels, then: Labels | None) -> bool:
    """Whether any category has subcategories that it had not."""
    return any(subs - (then or {}).get(name, frozenset()) for name, subs in now.items())


def labels_of(content: Mapping[str, Any]) -> Labels:
    """The categories of a taxonomy as it is given out, each with its subcategories, by plain names."""
    return {
        plain(one["name"]): frozenset(plain(sub["name"]) for sub in one.get("subcategories", ()))
        for one in content["categories"]
    }


def total(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """Their sum, None where one is not known."""
    sums = list(amounts)
    known = [amount for amount in sums if amount is not None]
    return sum(known, Decimal(0)) if len(known) == len(sums) else None
