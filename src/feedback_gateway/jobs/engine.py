"""The only importer of DBOS: bundles become workflows of its queue, which outlive whoever works on them.

Whose work is taken over is decided by `storage/liveness.py`: DBOS itself knows executors by their names only.
Everything here blocks but `work`, which is awaited in the loop that it came from: call it from a thread.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar

from feedback_gateway.storage.engine import open_engine

if TYPE_CHECKING:
    from dbos import DBOSConfig

NAME = "feedback-gateway"
WORKFLOW = "analyse"
VERSION = "1"
"""Of the workflow: another one leaves what is queued to processes of the old one."""
POLL_S = 0.5
KEPT = timedelta(hours=1)
CLEARED = 500
IN_WORK = ("ENQUEUED", "DELAYED", "PENDING")
POOL = 5

Work = Callable[[str], Coroutine[Any, Any, None]]


class Complaints(logging.Handler):
    """Hands what DBOS complains of to the gateway's own log; it knows ids only, nothing that users wrote."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line."""
        logging.getLogger("feedback_gateway.jobs").handle(record)


class Engine:
    """DBOS, of which there is one a process: `open` gives None where another one is open already."""

    _taken: ClassVar[Lock] = Lock()

    @classmethod
    def open(
        cls,
        database_url: str,
        work: Work,
        loop: asyncio.AbstractEventLoop,
        *,
        executor_id: str,
        concurrency: int,
    ) -> "Engine | None":
        """Load DBOS and begin to work, `concurrency` bundles at the same time."""
        if not cls._taken.acquire(blocking=False):
            return None
        with ExitStack() as undo:
            undo.callback(cls._taken.release)
            engine = cls(database_url, work, loop, executor_id=executor_id, concurrency=concurrency)
            undo.pop_all()
        return engine

    def __init__(
        self,
        database_url: str,
        work: Work,
        loop: asyncio.AbstractEventLoop,
        *,
        executor_id: str,
        concurrency: int,
    ) -> None:
        from dbos import DBOS  # noqa: PLC0415 - 24 MiB, which a gateway without stored feedback need not carry

        quieten()
        self._dbos = DBOS
        DBOS(config=configuration(jobs_url(database_url), executor_id=executor_id))

        async def analyse(bundle: str) -> None:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(bundle), loop))

        self._workflow = DBOS.workflow(name=WORKFLOW)(analyse)
        DBOS.launch()
        DBOS.register_queue(WORKFLOW, worker_concurrency=concurrency, polling_interval_sec=POLL_S)

    def enqueue(self, bundle: str) -> None:
        """Have somebody work on `bundle`; a second time changes nothing."""
        from dbos import SetWorkflowID  # noqa: PLC0415 - likewise

        with SetWorkflowID(bundle):
            self._dbos.enqueue_workflow(WORKFLOW, self._workflow, bundle)

    def is_in_work(self, bundle: str) -> bool:
        """Whether somebody works, or will work, on `bundle`."""
        status = self._dbos.get_workflow_status(bundle)
        return status is not None and status.status in IN_WORK

    def take_over(self, is_alive: Callable[[str], bool]) -> int:
        """Queue again what processes that died were working on; of how many processes."""
        pending = self._dbos.list_workflows(status="PENDING", load_input=False, load_output=False)
        owners = {workflow.executor_id for workflow in pending if workflow.executor_id is not None}
        dead = [owner for owner in sorted(owners) if not is_alive(owner)]
        if dead:
            self._dbos._recover_pending_workflows(dead)  # noqa: SLF001 - what its own recovery service calls
        return len(dead)

    def clear(self) -> int:
        """Forget some workflows that ended a while ago; how many."""
        before = (datetime.now(UTC) - KEPT).isoformat()
        ended = self._dbos.list_workflows(
            status=["SUCCESS", "ERROR"], end_time=before, limit=CLEARED, load_input=False, load_output=False
        )
        if ended:
            self._dbos.delete_workflows([workflow.workflow_id for workflow in ended])
        return len(ended)

    def close(self, *, within_s: int) -> None:
        """End, after having waited for what is in work; what is not done by then is left to others."""
        self._dbos.destroy(destroy_registry=True, workflow_completion_timeout_sec=within_s)
        self._taken.release()


def configuration(url: str, *, executor_id: str) -> "DBOSConfig":
    """DBOS beside, or in, our own database: no telemetry, no service of theirs, JSON instead of pickles."""
    from dbos import DBOSPortableJSONSerializer  # noqa: PLC0415 - likewise

    return {
        "name": NAME,
        "system_database_url": url,
        "executor_id": executor_id,
        "application_version": VERSION,
        "serializer": DBOSPortableJSONSerializer(),
        "sys_db_pool_size": POOL,
        "use_listen_notify": False,
        "enable_otlp": False,
        "log_level": "ERROR",
    }


def quieten() -> None:
    """Keep DBOS from writing to the terminal by itself."""
    logger = logging.getLogger("dbos")
    logger.propagate = False
    logger.handlers = [Complaints()]


def jobs_url(database_url: str) -> str:
    """Where DBOS keeps its own: a file beside ours on SQLite, a schema in the same database on PostgreSQL."""
    if not database_url.startswith("sqlite"):
        return database_url.replace("postgres://", "postgresql://", 1)
    url = f"sqlite:///{open_engine(database_url).url.database}-jobs"
    engine = open_engine(url)
    with engine.connect():  # which makes it a file whose readers never wait for its writer; DBOS would not
        pass
    engine.dispose()
    return url
