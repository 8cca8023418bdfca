"""What the commands of the administration share: the services they work on, straight on the database."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from feedback_gateway.books import key_secret_of
from feedback_gateway.calls.corrections import Corrections
from feedback_gateway.clock import Clock, SystemClock
from feedback_gateway.consumers.repository import ConsumerRepository
from feedback_gateway.consumers.service import Consumers
from feedback_gateway.feedback.corrections import CorrectionRepository
from feedback_gateway.feedback.repository import FeedbackRepository
from feedback_gateway.jobs.repository import RunRepository
from feedback_gateway.ledger.repository import LedgerRepository
from feedback_gateway.settings import Settings
from feedback_gateway.storage.engine import open_engine, upgrade


@dataclass(frozen=True, slots=True)
class Administration:
    """Consumers, keys, money and stored feedback."""

    consumers: Consumers
    ledger: LedgerRepository
    corrections: Corrections
    feedback: FeedbackRepository
    people: CorrectionRepository
    runs: RunRepository
    clock: Clock


@contextmanager
def open_administration(settings: Settings) -> Iterator[Administration]:
    """Open the database and bring it up to date. Raises ConfigurationError or Unavailable."""
    clock = SystemClock()
    engine = open_engine(settings.database_url)
    try:
        upgrade(engine)
        yield Administration(
            consumers=Consumers(ConsumerRepository(engine), clock, secret=key_secret_of(settings)),
            ledger=LedgerRepository(engine),
            corrections=Corrections(engine, clock),
            feedback=FeedbackRepository(engine, clock),
            people=CorrectionRepository(engine, clock),
            runs=RunRepository(engine, clock),
            clock=clock,
        )
    finally:
        engine.dispose()
