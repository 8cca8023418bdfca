"""Stored analyses and calls that suggest categories, as the gateway itself would have stored them."""

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert

from feedback_gateway.calls.models import Call, Payload
from feedback_gateway.calls.repository import CallRepository
from feedback_gateway.clock import ManualClock
from feedback_gateway.feedback.models import Analysis, NewItem
from feedback_gateway.feedback.repository import FeedbackRepository
from feedback_gateway.feedback.tables import analyses, corrections
from feedback_gateway.storage.upserts import insert_rows
from feedback_gateway.tasks.taxonomy_file import TaxonomyFile
from feedback_gateway.taxonomies.repository import TaxonomyRepository
from feedback_gateway.taxonomies.service import Taxonomies

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TAXONOMY = """# ours
version: 1
categories:
  - name: bug
    description: Something fails.
  - name: other
"""


class History:
    """What was stored before a test looks."""

    def __init__(self, engine: Engine, clock: ManualClock) -> None:
        self.engine = engine
        self.clock = clock
        self.feedback = FeedbackRepository(engine, clock)
        self.calls = CallRepository(engine, payload=kept)

    def analysed(
        self,
        text: str,
        *,
        suggested: str | None = None,
        author: str | None = None,
        category: str = "other",
        subcategory: str | None = None,
        version: str | None = None,
    ) -> str:
        """Store an item with one analysis; its id."""
        new = NewItem(text=text, source="shop", author_id=author)
        _, [placed] = self.feedback.add([new], consumer="team", task="categorize")
        self.analysed_again(placed.item_id, suggested, category=category, subcategory=subcategory, version=version)
        return placed.item_id

    def analysed_again(
        self,
        item_id: str,
        suggested: str | None = None,
        *,
        category: str = "other",
        subcategory: str | None = None,
        version: str | None = None,
    ) -> None:
        """Store one more analysis of an item."""
        analysis_id = self.clock.new_id()
        analysis = Analysis(
            analysis_id=analysis_id,
            run_id=f"{item_id}:categorize:{analysis_id}",
            item_id=item_id,
            task="categorize",
            prompt_version=1,
            taxonomy_version=version,
            model="default",
            call_id=self.clock.new_id(),
            result={"category": category, "subcategory": subcategory, "suggested_category": suggested},
            by="scripted/one",
            at=self.clock.now(),
        )
        with self.engine.begin() as connection:
            connection.execute(insert(analyses), asdict(analysis))

    def called(self, text: str, suggested: str | None, *, call_id: str | None = None) -> None:
        """Log a call."""
        call = Call(
            call_id=call_id or self.clock.new_id(),
            consumer="team",
            task="categorize",
            prompt_version=1,
            model="default",
            created_at=self.clock.now(),
            started=0.0,
            deadline=1.0,
            attempts_left=1,
            taxonomy_version="abc",
            inputs={"text": text},
            result={"category": "other", "suggested_category": suggested},
        )
        self.calls.add([call])

    def correct(self, item_id: str, **fields: str) -> None:
        """Have a person set fields of an item."""
        rows = [
            {
                "correction_id": self.clock.new_id(),
                "item_id": item_id,
                "field": field,
                "value": value,
                "by": "ann",
                "reason": None,
                "at": self.clock.now(),
            }
            for field, value in fields.items()
        ]
        with self.engine.begin() as connection:
            insert_rows(connection, corrections, rows)


def kept(call: Call) -> Payload:
    """Everything."""
    return Payload(json.dumps(call.inputs), json.dumps(call.result))


@pytest.fixture
def clock() -> ManualClock:
    """One that stands still."""
    return ManualClock(NOW)


@pytest.fixture
def history(engine: Engine, clock: ManualClock) -> History:
    """Nothing yet, on each kind of database."""
    return History(engine, clock)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A taxonomy file."""
    path = tmp_path / "taxonomy.yaml"
    path.write_text(TAXONOMY)
    return path


@pytest.fixture
def repository(engine: Engine) -> TaxonomyRepository:
    """An empty one."""
    return TaxonomyRepository(engine)


@pytest.fixture
def open_desk(repository: TaxonomyRepository, path: Path, clock: ManualClock) -> Callable[[], Taxonomies]:
    """Opens the service anew, as another process would."""
    return lambda: Taxonomies(repository, TaxonomyFile(path), clock)


@pytest.fixture
def taxonomies(open_desk: Callable[[], Taxonomies]) -> Taxonomies:
    """The service."""
    return open_desk()
