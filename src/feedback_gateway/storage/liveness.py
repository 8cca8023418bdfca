"""Which processes are alive, by locks that the kernel or PostgreSQL lets go when their holder dies: no clock, no lease.

A process that is stopped or slow is alive. One whose lock was lost with the server, or with the file, counts as
dead until it renews it.
"""

import os
import re
import secrets
from pathlib import Path
from threading import RLock
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import DBAPIError

from feedback_gateway.errors import ConfigurationError, Unavailable
from feedback_gateway.storage.engine import RETRY_AFTER_S, describe, storage_errors
from feedback_gateway.storage.filelocks import hold, is_held
from feedback_gateway.storage.forks import in_forked_children

KEY = re.compile(r"[0-3][0-9a-f]{15}")
KEY_BITS = 62


class Liveness(Protocol):
    """The sign of life of one process. Every method may be called from any thread, blocks, and raises GatewayError."""

    @property
    def id(self) -> str:
        """16 characters, drawn at random; to be written beside what only a living process will settle."""
        ...

    def start(self) -> None:
        """Be alive from now on, for as long as this process is and `close` is not called."""
        ...

    def renew(self) -> None:
        """Be alive again where the sign of life was lost; cheap where it was not. To be called now and then."""
        ...

    def is_alive(self, other_id: str) -> bool:
        """Whether the process of that id is alive. Raises rather than guess where nobody can know."""
        ...

    def close(self) -> None:
        """Be dead to all others."""
        ...


def open_liveness(engine: Engine) -> Liveness:
    """The sign of life among the processes that share this database; not started yet."""
    key = secrets.randbits(KEY_BITS)
    if engine.dialect.name == "sqlite":
        return FileLiveness(Path(f"{engine.url.database}-alive"), key, name=describe(engine.url))
    return SessionLiveness(engine, key)


class FileLiveness:
    """Holds a lock on one byte of `file`, which stays empty; the id says which byte. For processes of one machine."""

    def __init__(self, file: Path, key: int, *, name: str) -> None:
        self.id = f"{key:016x}"
        self._file = file
        self._key = key
        self._name = name
        self._mutex = RLock()
        self._descriptor: int | None = None
        self._is_started = False
        in_forked_children(self, FileLiveness._leave_to_parent)

    def start(self) -> None:
        """Take the lock."""
        with self._mutex:
            self._is_started = True
            self.renew()

    def renew(self) -> None:
        """Take the lock again where the file was removed or replaced."""
        with self._mutex:
            self._opened()

    def is_alive(self, other_id: str) -> bool:
        """Ask the kernel."""
        if not KEY.fullmatch(other_id):
            return False
        with self._mutex:
            if other_id == self.id and self._is_started:
                return True
            descriptor = self._opened()
            try:
                return is_held(descriptor, int(other_id, 16))
            except OSError as error:
                raise self._explain(error) from error

    def close(self) -> None:
        """Let the lock go. The file stays: others may be about to use it."""
        with self._mutex:
            self._is_started = False
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def _opened(self) -> int:
        """The descriptor of the file that is at its place now, with our lock on it where we are alive."""
        try:
            while self._descriptor is None or not self._is_in_place(self._descriptor):
                if self._descriptor is not None:
                    os.close(self._descriptor)
                    self._descriptor = None
                self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o666)
                if self._is_started:
                    hold(self._descriptor, self._key)
        except OSError as error:
            raise self._explain(error) from error
        return self._descriptor

    def _is_in_place(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(self._file.stat(), os.fstat(descriptor))
        except FileNotFoundError:
            return False

    def _explain(self, error: OSError) -> ConfigurationError | Unavailable:
        said = f"{self._name}: {self._file.name} beside it: {error.strerror}"
        if isinstance(error, PermissionError | FileNotFoundError | IsADirectoryError | NotADirectoryError):
            return ConfigurationError(f"{said}; allow this user to write there")
        return Unavailable(said, retry_after=RETRY_AFTER_S)

    def _leave_to_parent(self) -> None:
        """Hold on to nothing: the lock is gone only when every process that shares its descriptor is."""
        self._mutex = RLock()
        self.close()


class SessionLiveness:
    """Holds an advisory lock of PostgreSQL in a session of its own; the id says which. For any number of machines.

    Through a pooler it must be one session for life, as in PgBouncer's session mode.
    """

    def __init__(self, engine: Engine, key: int) -> None:
        self.id = f"{key:016x}"
        self._engine = engine
        self._key = key
        self._mutex = RLock()
        self._session: Connection | None = None
        self._is_started = False
        in_forked_children(self, SessionLiveness._leave_to_parent)

    def start(self) -> None:
        """Open the session and take the lock."""
        with self._mutex:
            self._is_started = True
            self.renew()

    def renew(self) -> None:
        """Open another session where the server has ended ours.

        Where the server has not noticed yet that it lost the former one, that one keeps us alive until the next time.
        """
        with self._mutex, storage_errors(self._engine):
            if self._is_started and not self._is_connected():
                session = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
                session.detach()  # not one of the pool's any more
                if session.scalar(select(func.pg_try_advisory_lock(self._key))):
                    session.commit()
                    self._session = session
                else:
                    session.close()

    def is_alive(self, other_id: str) -> bool:
        """Ask PostgreSQL."""
        if not KEY.fullmatch(other_id):
            return False
        if other_id == self.id and self._is_started:
            return True
        attempt = select(func.pg_try_advisory_xact_lock_shared(int(other_id, 16)))
        with storage_errors(self._engine), self._engine.begin() as connection:
            return not connection.scalar(attempt)

    def close(self) -> None:
        """End the session."""
        with self._mutex:
            self._is_started = False
            if self._session is not None:
                self._session.close()
                self._session = None

    def _is_connected(self) -> bool:
        if self._session is None:
            return False
        try:
            self._session.scalar(select(1))
            self._session.commit()
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            self._session.close()
            self._session = None
        return self._session is not None

    def _leave_to_parent(self) -> None:
        """Let go of the parent's socket, or PostgreSQL would not see it close when the parent dies.

        What stands at its number afterwards is harmless to close, whenever the driver gets to it.
        """
        self._mutex = RLock()
        self._is_started = False
        if self._session is not None and not self._session.invalidated:
            connection: Any = self._session.connection.dbapi_connection
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, connection.fileno(), inheritable=False)
            os.close(nothing)
