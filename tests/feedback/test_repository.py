"""Stored feedback on both databases."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, func, select

from feedback_gateway.clock import ManualClock
from feedback_gateway.errors import InvalidRequest, NotFound
from feedback_gateway.feedback.models import NewItem
from feedback_gateway.feedback.repository import FeedbackRepository, ItemFilters
from feedback_gateway.feedback.tables import feedback_items, runs
from tests.databases import OpenDatabase

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVERYBODY = ItemFilters()


def item(number: int = 1, **fields: object) -> NewItem:
    """An item of the shop, written so many minutes after noon."""
    given = {"text": f"text {number}", "source": "shop", "created_at": NOW + timedelta(minutes=number)}
    return NewItem(**given | fields)  # type: ignore[arg-type]  # what tests vary


@pytest.fixture
def repository(engine: Engine) -> FeedbackRepository:
    """An empty one."""
    return FeedbackRepository(engine, ManualClock(NOW))


def test_an_item_reads_as_it_was_stored(repository: FeedbackRepository) -> None:
    """Every field of it, and that nothing was made of it yet."""
    metadata = {"plan": "pro", "tags": ["a", None], "zero\x00": "\x00"}
    new = item(external_id="7", author_id="ann", rating=4.5, metadata=metadata)
    job_id, [placed] = repository.add([new], consumer="team", task="classify")

    history = repository.get(placed.item_id)

    stored = history.item
    assert (stored.text, stored.source, stored.external_id, stored.author_id) == ("text 1", "shop", "7", "ann")
    assert (stored.created_at, stored.received_at, stored.rating) == (NOW + timedelta(minutes=1), NOW, 4.5)
    assert (stored.metadata, stored.status, stored.consumer) == (metadata, "stored", "team")
    assert (history.analyses, history.corrections) == ((), ())
    assert [(run.task, run.status, run.tries) for run in history.runs] == [("classify", "stored", 0)]
    assert repository.job(job_id).counts == {"stored": 1}


def test_an_item_that_names_no_time_was_written_when_it_came(repository: FeedbackRepository) -> None:
    """So that it has its place among the others."""
    _, [placed] = repository.add([item(created_at=None)], consumer="team", task="classify")

    assert repository.get(placed.item_id).item.created_at == NOW


def test_the_same_external_id_is_one_item(repository: FeedbackRepository, engine: Engine) -> None:
    """Of a source and a consumer, in one request and over several; the first one stays, and nothing is done twice."""
    first = repository.add([item(external_id="7", text="one"), item(external_id="7")], consumer="team", task="classify")
    again = repository.add([item(external_id="7", text="other")], consumer="team", task="classify")
    others = repository.add(
        [item(external_id="7", source="mail"), item(external_id="8")], consumer="team", task="classify"
    )
    theirs = repository.add([item(external_id="7")], consumer="rival", task="classify")

    placed = [*first[1], *again[1]]
    assert [one.is_new for one in placed] == [True, False, False]
    assert len({one.item_id for one in placed}) == 1
    assert repository.get(placed[0].item_id).item.text == "one"
    assert all(one.is_new for one in [*others[1], *theirs[1]])
    assert repository.job(again[0]).counts == {"stored": 1}  # it waits for the same analysis
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(runs)) == 4


def test_items_without_an_external_id_are_never_the_same(repository: FeedbackRepository) -> None:
    """Two people may write the same words."""
    _, placed = repository.add([item(), item()], consumer="team", task="classify")

    assert len({one.item_id for one in placed}) == 2


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(st.integers(0, 6) | st.none(), max_size=8), max_size=6))
def test_any_submissions_store_each_external_id_once(
    open_database: OpenDatabase, batches: list[list[int | None]]
) -> None:
    """Whatever repeats, everybody is told where their item is, and each item is to be analysed once."""
    clock = ManualClock(NOW)
    with open_database() as engine:
        repository = FeedbackRepository(engine, clock)
        told: dict[str, set[str]] = {}
        nameless = 0
        for batch in batches:
            ids = [None if one is None else str(one) for one in batch]
            _, placed = repository.add([item(external_id=one) for one in ids], consumer="team", task="classify")
            for one, where in zip(ids, placed, strict=True):
                nameless += one is None
                if one is not None:
                    told.setdefault(one, set()).add(where.item_id)
        with engine.connect() as connection:
            stored = connection.execute(select(feedback_items.c.external_id, feedback_items.c.item_id)).all()
            begun = connection.scalars(select(runs.c.item_id)).all()

    assert {key: {where} for key, where in stored if key is not None} == told
    assert sum(key is None for key, _ in stored) == nameless
    assert sorted(begun) == sorted(where for _, where in stored)


def test_pages_give_every_item_once_newest_first(repository: FeedbackRepository) -> None:
    """By when they were written, whatever the order in which they came."""
    repository.add([item(number) for number in (3, 1, 5, 2, 4)], consumer="team", task="classify")

    seen: list[str] = []
    cursor = None
    while True:
        page = repository.page(EVERYBODY, limit=2, cursor=cursor)
        seen += [history.item.text for history in page.data]
        cursor = page.next_cursor
        if cursor is None:
            break

    assert seen == [f"text {number}" for number in (5, 4, 3, 2, 1)]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (ItemFilters(consumer="team"), [2, 1]),
        (ItemFilters(source="mail"), [3]),
        (ItemFilters(external_id="2"), [2]),
        (ItemFilters(author_id="ann", rating=2.0), [1]),
        (ItemFilters(status="stored"), [3, 2, 1]),
        (ItemFilters(status="analysed"), []),
        (ItemFilters(since=NOW + timedelta(minutes=2), until=NOW + timedelta(minutes=3)), [2]),
    ],
)
def test_filters_must_all_hold(repository: FeedbackRepository, filters: ItemFilters, found: list[int]) -> None:
    """By field name."""
    repository.add(
        [item(1, author_id="ann", rating=2.0), item(2, external_id="2", rating=2.0)], consumer="team", task="classify"
    )
    repository.add([item(3, source="mail", author_id="ann")], consumer="rival", task="classify")

    page = repository.page(filters)

    assert [history.item.text for history in page.data] == [f"text {number}" for number in found]


def test_what_is_another_consumers_is_not_there(repository: FeedbackRepository) -> None:
    """Neither the item nor the job."""
    job_id, [placed] = repository.add([item()], consumer="team", task="classify")

    for unknown in (placed.item_id, "none", "\x00"):
        with pytest.raises(NotFound):
            repository.get(unknown, consumer="rival")
    for unknown in (job_id, "none", "\x00"):
        with pytest.raises(NotFound):
            repository.job(unknown, consumer="rival")
    assert repository.get(placed.item_id, consumer="team").item.item_id == placed.item_id
    assert repository.job(job_id, consumer="team").total == 1


@pytest.mark.parametrize(("limit", "cursor"), [(0, None), (201, None), (50, "x")])
def test_pages_that_cannot_be_are_refused(repository: FeedbackRepository, limit: int, cursor: str | None) -> None:
    """With the name of the parameter."""
    with pytest.raises(InvalidRequest):
        repository.page(EVERYBODY, limit=limit, cursor=cursor)
