"""Opens the database and all that is kept in it; what is written and looked after in the background as well."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from random import Random

from sqlalchemy import Engine

from feedback_gateway.background import start
from feedback_gateway.calls.corrections import Corrections
from feedback_gateway.calls.orphans import watch_orphans
from feedback_gateway.calls.pairs import Pairs
from feedback_gateway.calls.payloads import payloads_kept
from feedback_gateway.calls.recorder import CallObserver, Recorder
from feedback_gateway.calls.reports import UsageReport
from feedback_gateway.calls.repository import CallFilters, CallRepository
from feedback_gateway.calls.retention import Retention, watch_retention
from feedback_gateway.calls.writer import BatchWriter, LogWriter
from feedback_gateway.clock import Clock
from feedback_gateway.consumers.callers import Callers
from feedback_gateway.consumers.repository import ConsumerRepository
from feedback_gateway.consumers.service import Consumers
from feedback_gateway.feedback.corrections import CorrectionRepository
from feedback_gateway.feedback.examples import CorrectionReader
from feedback_gateway.feedback.repository import FeedbackRepository
from feedback_gateway.jobs.repository import RunRepository
from feedback_gateway.ledger.repository import LedgerRepository
from feedback_gateway.ledger.service import Ledger
from feedback_gateway.redaction.redactor import Redactor
from feedback_gateway.settings import Settings
from feedback_gateway.storage.engine import load_orm, open_engine, try_writing, upgrade
from feedback_gateway.storage.liveness import Liveness, open_liveness
from feedback_gateway.storage.probe import DatabaseProbe
from feedback_gateway.taxonomies.repository import TaxonomyRepository

DRAIN_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Everything that is kept in the database."""

    calls: CallRepository
    writer: LogWriter
    recorder: Recorder
    reports: UsageReport
    pairs: Pairs
    consumers: Consumers
    callers: Callers
    ledger: LedgerRepository
    purse: Ledger
    corrections: Corrections
    redactor: Redactor
    probe: DatabaseProbe
    liveness: Liveness
    feedback: FeedbackRepository
    people: CorrectionRepository
    runs: RunRepository
    taxonomies: TaxonomyRepository
    corrected: CorrectionReader


def open_books(settings: Settings, stack: AsyncExitStack, *, observer: CallObserver, clock: Clock) -> Books:
    """Open the database and all that is kept in it; `stack` writes down what is in flight, and closes it.

    `observer` is told of every call.
    """
    load_orm()
    engine = open_engine(settings.database_url)
    stack.callback(engine.dispose)
    upgrade(engine)
    liveness = open_liveness(engine)
    liveness.start()
    stack.callback(liveness.close)
    redactor = Redactor()
    calls = CallRepository(engine, payload=payloads_kept(settings.log.payloads, redactor))
    retention = Retention(engine, clock, log=settings.log.retention, rollups=settings.log.rollups)
    pruning = watch_retention(retention.prune, clock, Random())  # noqa: S311 spreads processes, keeps no secret
    start(stack, pruning, name="retention")
    start(stack, watch_orphans(partial(settle_orphans, calls, liveness), clock), name="orphans")
    probe = DatabaseProbe(partial(look_at, engine, calls), clock)
    stack.callback(probe.close)
    writer = BatchWriter(calls.add, clock)
    writer.start()
    stack.push_async_callback(writer.close)
    recorder = recorder_of(settings, writer, observer=observer, clock=clock)
    stack.push_async_callback(recorder.drain, DRAIN_S)
    ledger = LedgerRepository(engine)
    purse = Ledger(ledger.hold, owner=liveness.id, hurry=writer.hurry)
    stack.push_async_callback(purse.close)
    consumers = Consumers(ConsumerRepository(engine), clock, secret=key_secret_of(settings))
    consumers.is_closed()  # known from the start, so that a lost database opens nothing
    return Books(
        calls=calls,
        writer=writer,
        recorder=recorder,
        reports=UsageReport(engine),
        pairs=Pairs(engine),
        consumers=consumers,
        callers=Callers(consumers, clock),
        ledger=ledger,
        purse=purse,
        corrections=Corrections(engine, clock, corrected=purse.forget),
        redactor=redactor,
        probe=probe,
        liveness=liveness,
        feedback=FeedbackRepository(engine, clock),
        people=CorrectionRepository(engine, clock),
        runs=RunRepository(engine, clock),
        taxonomies=TaxonomyRepository(engine),
        corrected=CorrectionReader(engine),
    )


def look_at(engine: Engine, calls: CallRepository) -> None:
    """Read the log and write to the database. Raises GatewayError where one of them cannot be. Blocks."""
    calls.page(CallFilters(), limit=1)
    try_writing(engine)


def settle_orphans(calls: CallRepository, liveness: Liveness) -> int:
    """Settle what processes that died have left; how many calls. Blocks."""
    liveness.renew()
    return calls.settle_orphans(liveness.is_alive)


def key_secret_of(settings: Settings) -> str | None:
    """What keys are hashed with, None where the database keeps it."""
    return None if settings.keys.secret is None else settings.keys.secret.get_secret_value()


def recorder_of(settings: Settings, writer: LogWriter, *, observer: CallObserver, clock: Clock) -> Recorder:
    """What opens and closes calls."""
    deadline_s = settings.retry.deadline.total_seconds()
    return Recorder(clock, writer, attempts=settings.retry.attempts, deadline_s=deadline_s, observer=observer)
