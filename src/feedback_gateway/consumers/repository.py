"""Consumers and keys in the database. Blocks: call it from a thread."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, Select, delete, exists, insert, select, update
from sqlalchemy.exc import IntegrityError

from feedback_gateway.consumers.models import Consumer, Key, Limits, Scopes
from feedback_gateway.consumers.tables import budgets, consumers, keys, secrets
from feedback_gateway.errors import Conflict, NotFound
from feedback_gateway.ledger.models import Budget
from feedback_gateway.storage.engine import storage_errors, writing
from feedback_gateway.storage.locks import lock_name
from feedback_gateway.storage.upserts import insert_or_update


@dataclass(frozen=True, slots=True)
class Found:
    """A key that was looked up, its hash, and whose it is."""

    key: Key
    digest: str
    consumer: Consumer


class ConsumerRepository:
    """Those who call. Raises ConfigurationError or Unavailable where the database fails."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def secret(self, name: str, *, new: str) -> str:
        """The secret stored as `name`, which becomes `new` where there is none; the same for every process."""
        query = select(secrets.c.value).where(secrets.c.name == name)
        with storage_errors(self._engine), self._engine.connect() as connection:
            known: str | None = connection.scalar(query)
        if known is not None:
            return known
        with writing(self._engine) as connection:
            insert_or_update(connection, secrets, [{"name": name, "value": new}])
            return str(connection.scalar(query))

    def has_admin_key(self) -> bool:
        """Whether there ever was an admin key: one that expired or was revoked opens nothing again."""
        with storage_errors(self._engine), self._engine.connect() as connection:
            return bool(connection.scalar(select(exists().where(keys.c.is_admin))))

    def find_key(self, digest: str) -> Found | None:
        """The key stored under a hash, with its consumer."""
        query = select(keys, consumers.c.name).join_from(keys, consumers).where(keys.c.digest == digest)
        with storage_errors(self._engine), self._engine.connect() as connection:
            row = connection.execute(query).mappings().first()
            if row is None:
                return None
            [consumer] = read_consumers(connection, select(consumers).where(consumers.c.name == row["name"]))
        return Found(key_of(row), row["digest"], consumer)

    def consumers(self, *, after: str | None = None, limit: int = 200) -> list[Consumer]:
        """Consumers in the order in which they were made, from the one `after` that id on."""
        query = select(consumers).order_by(consumers.c.consumer_id).limit(limit)
        if after is not None:
            query = query.where(consumers.c.consumer_id > after)
        with storage_errors(self._engine), self._engine.connect() as connection:
            return read_consumers(connection, query)

    def consumer(self, wanted: str) -> Consumer:
        """The consumer of that id or name. Raises NotFound."""
        with storage_errors(self._engine), self._engine.connect() as connection:
            return one_consumer(connection, wanted)

    def add_consumer(self, consumer: Consumer) -> None:
        """Store a consumer. Raises Conflict where the name is taken."""
        try:
            with writing(self._engine) as connection:
                connection.execute(insert(consumers), [consumer_row(consumer)])
                insert_budgets(connection, consumer)
        except IntegrityError:
            raise Conflict(f"there is a consumer {consumer.name!r} already") from None

    def change_consumer(
        self, wanted: str, changes: Mapping[str, Any] | Callable[[Consumer], Mapping[str, Any]]
    ) -> Consumer:
        """Change fields of `Consumer`, and give it back as it is then; one change after the other. Raises NotFound."""
        with writing(self._engine) as connection:
            lock_name(connection, "consumers")
            known = one_consumer(connection, wanted)
            changed = replace(known, **(changes(known) if callable(changes) else changes))
            where = consumers.c.consumer_id == changed.id
            connection.execute(update(consumers).where(where).values(consumer_row(changed)))
            connection.execute(delete(budgets).where(budgets.c.consumer_id == changed.id))
            insert_budgets(connection, changed)
        return changed

    def keys(self, *, consumer: str | None = None, after: str | None = None, limit: int = 200) -> list[Key]:
        """Keys in the order in which they were made, from the one `after` that id on; of one consumer or of all."""
        query = select(keys, consumers.c.name).join_from(keys, consumers).order_by(keys.c.key_id).limit(limit)
        if after is not None:
            query = query.where(keys.c.key_id > after)
        if consumer is not None:
            query = query.where(consumers.c.name == consumer)
        with storage_errors(self._engine), self._engine.connect() as connection:
            return [key_of(row) for row in connection.execute(query).mappings()]

    def add_key(self, key: Key, *, digest: str) -> Key:
        """Store a key for its consumer. Raises NotFound where there is no such consumer."""
        with writing(self._engine) as connection:
            return insert_key(connection, key, digest=digest)

    def rotate_key(self, old_id: str, key: Key, *, digest: str, ends_at: datetime) -> Key:
        """Store `key` in place of an old one of the same rights, which ends at `ends_at`. Raises NotFound, Conflict."""
        with writing(self._engine) as connection:
            old = one_key(connection, old_id)
            if old.revoked_at is not None or (old.expires_at is not None and old.expires_at <= key.created_at):
                raise Conflict(f"the key {old.id} is revoked or expired; create one instead")
            until = ends_at if old.expires_at is None else min(old.expires_at, ends_at)
            connection.execute(update(keys).where(keys.c.key_id == old.id).values(expires_at=until))
            new = replace(key, consumer=old.consumer, is_admin=old.is_admin, expires_at=old.expires_at)
            return insert_key(connection, new, digest=digest)

    def change_key(self, key_id: str, changes: Mapping[str, Any]) -> Key:
        """Change fields of `Key`, and give it back as it is then. Raises NotFound."""
        with writing(self._engine) as connection:
            one_key(connection, key_id)
            if changes:
                connection.execute(update(keys).where(keys.c.key_id == key_id).values(dict(changes)))
            return one_key(connection, key_id)

    def key(self, key_id: str) -> Key:
        """One key. Raises NotFound."""
        with storage_errors(self._engine), self._engine.connect() as connection:
            return one_key(connection, key_id)


def one_consumer(connection: Connection, wanted: str) -> Consumer:
    """The consumer of that id or name. Raises NotFound."""
    either = (consumers.c.consumer_id == wanted) | (consumers.c.name == wanted)
    query = select(consumers).where(either).order_by(consumers.c.name == wanted)  # a name may look like another's id
    found = read_consumers(connection, query) if "\0" not in wanted else []
    if not found:
        raise NotFound(f"there is no consumer {wanted[:80]!r}")
    return found[0]


def one_key(connection: Connection, key_id: str) -> Key:
    """One key. Raises NotFound."""
    query = select(keys, consumers.c.name).join_from(keys, consumers).where(keys.c.key_id == key_id)
    row = connection.execute(query).mappings().first() if "\0" not in key_id else None
    if row is None:
        raise NotFound(f"there is no key {key_id[:80]!r}")
    return key_of(row)


def insert_key(connection: Connection, key: Key, *, digest: str) -> Key:
    """Store a key. Raises NotFound where its consumer is not."""
    consumer = one_consumer(connection, key.consumer)
    row = {
        "key_id": key.id,
        "consumer_id": consumer.id,
        "digest": digest,
        "prefix": key.prefix,
        "is_admin": key.is_admin,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    }
    connection.execute(insert(keys), [row])
    return one_key(connection, key.id)


def insert_budgets(connection: Connection, consumer: Consumer) -> None:
    """Store a consumer's budgets."""
    rows = [
        {
            "consumer_id": consumer.id,
            "task": budget.task or "",
            "limit_usd": budget.limit_usd,
            "period": budget.period,
            "warn_at": budget.warn_at,
        }
        for budget in consumer.budgets
    ]
    if rows:
        connection.execute(insert(budgets), rows)


def read_consumers(connection: Connection, query: Select[Any]) -> list[Consumer]:
    """The consumers that `query` selects, with their budgets."""
    rows = connection.execute(query).mappings().all()
    found: dict[str, list[Budget]] = {row["consumer_id"]: [] for row in rows}
    theirs = select(budgets).where(budgets.c.consumer_id.in_(list(found))).order_by(budgets.c.task)
    for row in connection.execute(theirs).mappings() if found else ():
        found[row["consumer_id"]].append(
            Budget(
                limit_usd=Decimal(row["limit_usd"]),
                period=row["period"],
                warn_at=row["warn_at"],
                task=row["task"] or None,
            )
        )
    return [consumer_of(row, found[row["consumer_id"]]) for row in rows]


def consumer_of(row: RowMapping, theirs: Sequence[Budget]) -> Consumer:
    """A consumer from its row and its budgets."""
    return Consumer(
        id=row["consumer_id"],
        name=row["name"],
        created_at=row["created_at"],
        disabled_at=row["disabled_at"],
        budgets=tuple(theirs),
        limits=Limits(requests_per_minute=row["requests_per_minute"], tokens_per_minute=row["tokens_per_minute"]),
        scopes=Scopes(tasks=names_of(row["tasks"]), models=names_of(row["models"])),
    )


def consumer_row(consumer: Consumer) -> dict[str, Any]:
    """The row of a consumer."""
    return {
        "consumer_id": consumer.id,
        "name": consumer.name,
        "created_at": consumer.created_at,
        "disabled_at": consumer.disabled_at,
        "tasks": None if consumer.scopes.tasks is None else sorted(consumer.scopes.tasks),
        "models": None if consumer.scopes.models is None else sorted(consumer.scopes.models),
        "requests_per_minute": consumer.limits.requests_per_minute,
        "tokens_per_minute": consumer.limits.tokens_per_minute,
    }


def names_of(value: Sequence[str] | None) -> frozenset[str] | None:
    """A scope as it is stored."""
    return None if value is None else frozenset(value)


def key_of(row: RowMapping) -> Key:
    """A key from its row, joined with its consumer's name."""
    return Key(
        id=row["key_id"],
        consumer=row["name"],
        prefix=row["prefix"],
        is_admin=row["is_admin"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
    )
