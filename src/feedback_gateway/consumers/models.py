"""Consumers, keys and what they may do."""

from dataclasses import dataclass
from datetime import datetime

from feedback_gateway.errors import Forbidden
from feedback_gateway.ledger.models import Budget

LOCAL = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a minute allows; None is no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scopes:
    """The tasks that may be run and the model aliases that may be asked; None is all of them."""

    tasks: frozenset[str] | None = None
    models: frozenset[str] | None = None

    def require(self, *, task: str, model: str) -> None:
        """Refuse what is out of scope. Raises Forbidden."""
        if self.tasks is not None and task not in self.tasks:
            raise Forbidden(f"this key may not use the task {task!r}; it may use {listed(self.tasks)}")
        if self.models is not None and model not in self.models:
            raise Forbidden(f"this key may not use the model {model!r}; it may use {listed(self.models)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """Somebody who calls and is billed for it. `id` is None for one that no row speaks of."""

    name: str
    id: str | None = None
    created_at: datetime | None = None
    disabled_at: datetime | None = None
    budgets: tuple[Budget, ...] = ()
    limits: Limits = Limits()
    scopes: Scopes = Scopes()

    @property
    def identity(self) -> str:
        """What tells them from everybody else, also from whoever had their name before them."""
        return f"name {self.name}" if self.id is None else f"id {self.id}"

    def budgets_for(self, task: str) -> tuple[Budget, ...]:
        """The budgets that a call of `task` is charged to."""
        return tuple(budget for budget in self.budgets if budget.task in (None, task))


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key as it is stored: never the key itself. `prefix` is how people tell keys apart."""

    id: str
    consumer: str
    prefix: str
    is_admin: bool
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key at the one moment when it can be read."""

    key: Key
    secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whoever sent a request, with a key that holds until `ends_at`; None is for ever."""

    consumer: Consumer
    is_admin: bool
    ends_at: datetime | None = None

    def require_admin(self) -> None:
        """Raises Forbidden for anybody else."""
        if not self.is_admin:
            raise Forbidden("this takes an admin key")

    @property
    def sees(self) -> str | None:
        """The consumer whose rows this caller may read; None for all of them."""
        return None if self.is_admin else self.consumer.name


LOCAL_CONSUMER = Consumer(name=LOCAL)
"""Whoever works on this machine, where nothing else is stored of them."""


def listed(names: frozenset[str]) -> str:
    """Names in a sentence."""
    return ", ".join(sorted(names)) or "none"
