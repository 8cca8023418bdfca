"""Budgets, holds and charges. All money is USD in Decimal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

Period = Literal["day", "week", "month", "total"]
CallPurpose = Literal["answer", "shadow", "replay"]
"""What a call is for: an answer that somebody asked for, another version beside it, or an earlier call once more."""
Kind = Literal["charge", "bound", "orphan", "correction"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """At most `limit_usd` a `period`, of one `task` or of all; from the share `warn_at` on whoever calls is warned."""

    limit_usd: Decimal
    period: Period
    warn_at: Decimal = Decimal("0.8")
    task: str | None = None

    @property
    def span(self) -> str:
        """Its period in words: `a day`, or `in all`."""
        return "in all" if self.period == "total" else f"a {self.period}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Money set aside for a call before a provider is asked: `amount_usd` in all, None where no price is known.

    It counts in the periods that hold `created_at`. `owner` is the process that will settle it. Where several calls
    share it, `parts` says how much each of them holds; they are granted or refused as one.
    """

    call_id: str
    consumer: str
    task: str
    prompt_version: int
    model: str
    created_at: datetime
    owner: str
    amount_usd: Decimal | None
    purpose: CallPurpose = "answer"
    budgets: tuple[Budget, ...] = ()
    parts: Mapping[str, Decimal | None] = field(default_factory=dict)

    @property
    def amounts(self) -> Mapping[str, Decimal | None]:
        """What each call holds, by its id."""
        return self.parts or {self.call_id: self.amount_usd}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a budget stands in its present period, which ends at `resets_at` (None: never)."""

    budget: Budget
    spent_usd: Decimal
    reserved_usd: Decimal
    resets_at: datetime | None

    @property
    def used(self) -> Decimal:
        """The share of the limit that is spent or reserved; 1 where the limit is 0."""
        used = self.spent_usd + self.reserved_usd
        return used / self.budget.limit_usd if self.budget.limit_usd else Decimal(1)

    @property
    def is_warning(self) -> bool:
        """Whether the soft limit is reached."""
        return self.used >= self.budget.warn_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a hold was refused, and how its budget stands without it.

    It is `final` where the period's charges alone leave no room; else calls under way may leave some when they end.
    """

    standing: Standing
    final: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """That money was set aside; `warnings` are the budgets that have reached their soft limit with it."""

    warnings: tuple[Standing, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line of the ledger, which is never changed. `booked_at` is the moment whose periods it counts in.

    `charge` is a call's known cost, `bound` the most that it can have cost where the provider never said, `orphan` the
    same for a call whose process died, `correction` what somebody added to one of these, or took away. An amount of
    None is one that nobody knows, for want of a price.
    """

    entry_id: str
    call_id: str
    kind: Kind
    amount_usd: Decimal | None
    consumer: str
    task: str
    model: str
    booked_at: datetime
    created_at: datetime
    by: str | None
    reason: str | None
