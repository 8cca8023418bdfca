"""Decides who calls, and keeps consumers and keys. Blocks: call it from a thread."""

import hmac
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from feedback_gateway.clock import Clock
from feedback_gateway.consumers.keys import PREFIX, SECRET_BYTES, digest_of, is_key, prefix_of
from feedback_gateway.consumers.models import LOCAL, LOCAL_CONSUMER, Caller, Consumer, Key, NewKey
from feedback_gateway.consumers.repository import ConsumerRepository
from feedback_gateway.errors import Conflict, NotFound, Unauthorized

HASHING = "key-hashing"
REFUSED = "this key is unknown, revoked or expired"


def new_secret() -> str:
    """256 random bits as text."""
    return secrets.token_urlsafe(SECRET_BYTES)


class Consumers:
    """Who calls. `secret` is what keys are hashed with, None for one that the database keeps.

    `revision` is another one after each change that this process makes.
    """

    def __init__(
        self,
        repository: ConsumerRepository,
        clock: Clock,
        *,
        secret: str | None = None,
        random: Callable[[], str] = new_secret,
    ) -> None:
        self._repository = repository
        self._clock = clock
        self._given_secret = secret
        self._random = random
        self._secret: str | None = None
        self._is_closed = False
        self._revisions = count(1)
        self.revision = 0

    def authenticate(self, key: str | None, *, is_local: bool) -> Caller:
        """Whose key this is. Raises Unauthorized for one that is unknown, revoked or expired, or whose consumer is off.

        Without a key a caller is `local`, and admin, as long as there never was an admin key and `is_local`.
        """
        if key is None:
            if is_local and not self.is_closed():
                local = self.local()
                if local.disabled_at is None:
                    return Caller(consumer=local, is_admin=True)
                raise Unauthorized("the consumer `local` is disabled; send a key")
            raise Unauthorized("send a key, as `Authorization: Bearer KEY` or `X-API-Key: KEY`")
        if not is_key(key):
            raise Unauthorized(REFUSED)
        digest = self._digest(key)
        found = self._repository.find_key(digest)
        if found is None or not hmac.compare_digest(found.digest, digest):
            raise Unauthorized(REFUSED)
        now = self._clock.now()
        if found.key.revoked_at is not None or (found.key.expires_at is not None and found.key.expires_at <= now):
            raise Unauthorized(REFUSED)
        if found.consumer.disabled_at is not None:
            raise Unauthorized("the consumer of this key is disabled")
        self._is_closed |= found.key.is_admin
        return Caller(consumer=found.consumer, is_admin=found.key.is_admin, ends_at=found.key.expires_at)

    def is_closed(self) -> bool:
        """Whether there is, or ever was, an admin key, so that every request needs one.

        A process that has known one never opens again, whatever becomes of its database.
        """
        if not self._is_closed:
            self._is_closed = self._repository.has_admin_key()
        return self._is_closed

    def local(self) -> Consumer:
        """Whoever works on this machine; their limits and budgets are those of a consumer of that name."""
        try:
            return self._repository.consumer(LOCAL)
        except NotFound:
            return LOCAL_CONSUMER

    def add(self, consumer: Consumer) -> Consumer:
        """Store a new consumer. Raises Conflict where the name is taken."""
        made = replace(consumer, id=self._clock.new_id(), created_at=self._clock.now())
        with self._changing():
            self._repository.add_consumer(made)
        return made

    def change(self, wanted: str, changes: Mapping[str, Any] | Callable[[Consumer], Mapping[str, Any]]) -> Consumer:
        """Change fields of a consumer, found by id or name, also as a function of what they are. Raises NotFound."""
        with self._changing():
            return self._repository.change_consumer(wanted, changes)

    def find(self, wanted: str) -> Consumer:
        """The consumer of that id or name. Raises NotFound."""
        return self._repository.consumer(wanted)

    def list_consumers(self, *, after: str | None = None, limit: int = 200) -> list[Consumer]:
        """Consumers in the order in which they were added, from the one `after` that id on."""
        return self._repository.consumers(after=after, limit=limit)

    def list_keys(self, *, consumer: str | None = None, after: str | None = None, limit: int = 200) -> list[Key]:
        """Keys in the order in which they were made, from the one `after` that id on."""
        return self._repository.keys(consumer=consumer, after=after, limit=limit)

    def key(self, key_id: str) -> Key:
        """One key. Raises NotFound."""
        return self._repository.key(key_id)

    def disable(self, wanted: str) -> Consumer:
        """Refuse the consumer's keys from now on. Raises NotFound."""
        return self.change(wanted, {"disabled_at": self._clock.now()})

    def create_key(self, consumer: str, *, is_admin: bool = False, expires_at: datetime | None = None) -> NewKey:
        """Make a key for a consumer, found by id or name, and show it once. Raises NotFound."""
        key, secret = self._new_key(consumer, is_admin=is_admin, expires_at=expires_at)
        with self._changing():
            made = NewKey(key=self._repository.add_key(key, digest=self._digest(secret)), secret=secret)
            self._is_closed |= is_admin
        return made

    def rotate_key(self, key_id: str, *, grace: timedelta = timedelta(0)) -> NewKey:
        """Make a key with the rights of another, which ends after `grace`. Raises NotFound, or Conflict if revoked."""
        key, secret = self._new_key("", is_admin=False, expires_at=None)
        ends_at = self._clock.now() + grace
        with self._changing():
            stored = self._repository.rotate_key(key_id, key, digest=self._digest(secret), ends_at=ends_at)
        return NewKey(key=stored, secret=secret)

    def change_key(self, key_id: str, *, expires_at: datetime | None) -> Key:
        """Let a key end at another moment, None for never. Raises NotFound, or Conflict if revoked."""
        if self._repository.key(key_id).revoked_at is not None:
            raise Conflict(f"the key {key_id} is revoked")
        with self._changing():
            return self._repository.change_key(key_id, {"expires_at": expires_at})

    def revoke_key(self, key_id: str) -> Key:
        """Refuse a key from now on; one that is revoked stays as it is. Raises NotFound."""
        known = self._repository.key(key_id)
        if known.revoked_at is not None:
            return known
        with self._changing():
            return self._repository.change_key(key_id, {"revoked_at": self._clock.now()})

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Give what is known by now another revision when this is over, also where nobody knows whether it was done."""
        try:
            yield
        finally:
            self.revision = next(self._revisions)

    def _new_key(self, consumer: str, *, is_admin: bool, expires_at: datetime | None) -> tuple[Key, str]:
        secret = PREFIX + self._random()
        key = Key(
            id=self._clock.new_id(),
            consumer=consumer,
            prefix=prefix_of(secret),
            is_admin=is_admin,
            created_at=self._clock.now(),
            expires_at=expires_at,
            revoked_at=None,
        )
        return key, secret

    def _digest(self, key: str) -> str:
        if self._secret is None:
            self._secret = self._given_secret or self._repository.secret(HASHING, new=self._random())
        return digest_of(key, secret=self._secret)
