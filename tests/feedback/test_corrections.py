"""What people say of items, on both databases: their last word holds, and nothing is lost."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, insert, update

from feedback_gateway.clock import ManualClock
from feedback_gateway.errors import InvalidRequest, NotFound
from feedback_gateway.feedback.agreement import agreements
from feedback_gateway.feedback.corrections import CorrectionRepository
from feedback_gateway.feedback.current import current_of, shown_analyses
from feedback_gateway.feedback.models import NewItem
from feedback_gateway.feedback.repository import FeedbackRepository
from feedback_gateway.feedback.tables import analyses, feedback_items
from feedback_gateway.tasks.taxonomy import load_taxonomy
from tests.databases import OpenDatabase

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TAXONOMY = load_taxonomy(None)
RESULT = {
    "sentiment": "negative",
    "category": "bug",
    "subcategory": "performance",
    "severity": "major",
    "confidence": 0.4,
    "confidence_source": "classifier",
    "route": {"team": "platform", "rule": "stored data and speed", "reason": "as it is"},
    "needs_review": True,
    "review_reasons": ["low_confidence"],
}


class Desk:
    """A shop's feedback, its models and the people who correct them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.clock = ManualClock(NOW)
        self.feedback = FeedbackRepository(engine, self.clock)
        self.people = CorrectionRepository(engine, self.clock)

    def item(self, text: str = "It is slow.", *, consumer: str = "team", source: str = "shop") -> str:
        """A stored item."""
        _, [placed] = self.feedback.add([NewItem(text=text, source=source)], consumer=consumer, task="classify")
        return placed.item_id

    def analyse(self, item_id: str, *, task: str = "classify", **changes: Any) -> str:
        """What a model says of it."""
        row = {
            "analysis_id": self.clock.new_id(),
            "run_id": self.clock.new_id(),
            "item_id": item_id,
            "task": task,
            "prompt_version": 1,
            "taxonomy_version": TAXONOMY.version,
            "model": "default",
            "call_id": self.clock.new_id(),
            "result": RESULT | changes,
            "by": "embedded/student",
            "at": self.clock.now(),
        }
        with self.engine.begin() as connection:
            connection.execute(insert(analyses), [row])
        return str(row["analysis_id"])

    def mark(self, item_id: str, review: str | None) -> None:
        """Note why a person should look at it."""
        with self.engine.begin() as connection:
            connection.execute(update(feedback_items).where(feedback_items.c.item_id == item_id).values(review=review))

    def result(self, item_id: str, task: str = "classify") -> dict[str, Any]:
        """What holds."""
        current = current_of(self.feedback.get(item_id), task, taxonomy=TAXONOMY)
        assert current is not None
        return dict(current.result)


@pytest.fixture
def desk(engine: Engine) -> Desk:
    """An empty one."""
    return Desk(engine)


def test_word_of_a_person_holds_and_history_stays(desk: Desk) -> None:
    """The first analysis is what holds, by whom and since when; the model's own follows as it was."""
    one = desk.item()
    desk.analyse(one)
    desk.clock.advance(60)
    made = desk.people.add(one, field="category", value="question", by="ann", reason="she only asks")

    history = desk.feedback.get(one)
    current, model = shown_analyses(history, taxonomy=TAXONOMY)

    assert (current.result["category"], current.by, current.at) == ("question", "ann", NOW + timedelta(minutes=1))
    assert (model.result, model.by, model.at) == (RESULT, "embedded/student", NOW)
    assert history.corrections == (made,)
    assert (made.value, made.reason) == ("question", "she only asks")


def test_what_follows_from_labels_follows_from_theirs(desk: Desk) -> None:
    """The sub-category of another category goes, the team is chosen anew, and nobody need look any more."""
    one = desk.item()
    desk.analyse(one)
    desk.people.add(one, field="category", value="question", by="ann")

    result = desk.result(one)

    assert (result["subcategory"], result["severity"]) == (None, "major")
    assert result["route"]["rule"] != RESULT["route"]["rule"]  # type: ignore[index]
    assert (result["needs_review"], result["review_reasons"]) == (False, [])
    assert "confidence" not in result


def test_team_can_be_set(desk: Desk) -> None:
    """Whatever the rules say."""
    one = desk.item()
    desk.analyse(one)
    desk.people.add(one, field="team", value="support", by="ann")

    assert desk.result(one)["route"] == {"team": "support", "rule": None, "reason": "set by ann"}


def test_later_analysis_does_not_undo_a_word(desk: Desk) -> None:
    """Nor does sorting again; other fields are as the model has them now."""
    one = desk.item()
    desk.analyse(one)
    desk.people.add(one, field="category", value="question", by="ann")
    desk.clock.advance(60)
    desk.analyse(one, category="praise", severity="minor")
    desk.analyse(one, task="categorize", category="bug")

    assert (desk.result(one)["category"], desk.result(one)["severity"]) == ("question", "minor")
    assert desk.result(one, "categorize")["category"] == "question"


def test_same_word_again_is_the_same_correction(desk: Desk) -> None:
    """A request that is sent twice changes nothing; another word in between does."""
    one = desk.item()
    first = desk.people.add(one, field="category", value="question", by="ann")
    again = desk.people.add(one, field="category", value="question", by="ann")
    other = desk.people.add(one, field="category", value="praise", by="bob")
    back = desk.people.add(one, field="category", value="question", by="ann")

    assert first == again
    assert desk.feedback.get(one).corrections == (back, other, first)


@pytest.mark.parametrize("item_id", ["nobody", "\x00", "\ud800"])
def test_item_that_is_not_there_or_another_s_cannot_be_corrected(desk: Desk, item_id: str) -> None:
    """It is not found, and nothing is stored."""
    theirs = desk.item()

    with pytest.raises(NotFound):
        desk.people.add(item_id, field="category", value="bug", by="ann")
    with pytest.raises(NotFound):
        desk.people.add(theirs, field="category", value="bug", by="ann", consumer="rival")
    assert desk.feedback.get(theirs).corrections == ()


def test_queue_holds_what_waits_longest_first_and_a_word_takes_it_out(desk: Desk) -> None:
    """By pages, sources and reasons."""
    ids = []
    for number, review in enumerate(["low_confidence", "evidence_dropped low_confidence", None, "model_unsure"]):
        ids.append(desk.item(source=f"s{number}"))
        desk.mark(ids[-1], review)
        desk.clock.advance(1)

    first = desk.people.waiting(limit=2)
    second = desk.people.waiting(limit=2, cursor=first.next_cursor)
    by_reason = desk.people.waiting(reason="evidence_dropped")
    by_source = desk.people.waiting(source="s3", consumer="team")
    desk.people.add(ids[0], field="category", value="bug", by="ann")
    left = desk.people.waiting()

    def named(page: Any) -> list[str]:
        return [one.item.item_id for one in page.data]

    assert (named(first), named(second), second.next_cursor) == (ids[:2], ids[3:], None)
    assert (named(by_reason), named(by_source)) == ([ids[1]], [ids[3]])
    assert first.data[1].item.review_reasons == ("evidence_dropped", "low_confidence")
    assert named(left) == [ids[1], ids[3]]
    assert named(desk.people.waiting(consumer="rival")) == []
    with pytest.raises(InvalidRequest):
        desk.people.waiting(limit=0)


def test_agreement_counts_last_words_beside_what_the_model_had_said_then(desk: Desk) -> None:
    """Not beside what it says now; by field, label and version."""
    for value in ("bug", "bug", "question"):
        one = desk.item()
        desk.analyse(one)
        desk.clock.advance(1)
        desk.people.add(one, field="category", value="praise", by="bob")
        desk.people.add(one, field="category", value=value, by="ann")
        desk.clock.advance(1)
        desk.analyse(one, category="other")
    unseen = desk.item()
    desk.people.add(unseen, field="category", value="bug", by="ann")

    [by_field] = agreements(desk.people.judged())
    [by_label] = agreements(desk.people.judged(), group_by=("label", "prompt_version", "by"))

    assert (by_field.group, by_field.judged, by_field.agreed) == (("category",), 3, 2)
    assert by_label.group == ("bug", 1, "ann")
    assert by_field.interval[0] < by_field.rate < by_field.interval[1]
    assert list(desk.people.judged(field="severity")) == []
    assert list(desk.people.judged(since=desk.clock.now() + timedelta(days=1))) == []
    assert len(list(desk.people.judged(until=desk.clock.now()))) == 3


STEPS = st.lists(
    st.tuples(st.sampled_from(["correct", "analyse", "retag"]), st.sampled_from(["bug", "question", "praise"])),
    min_size=1,
    max_size=12,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS, st.data())
def test_in_any_order_the_last_word_of_a_person_holds(
    open_database: OpenDatabase, steps: list[tuple[str, str]], data: st.DataObject
) -> None:
    """And every word and every analysis is in the history, whether or not time went on in between."""
    with open_database() as engine:
        check_history(Desk(engine), steps, ticks=data.draw(st.lists(st.booleans(), min_size=12, max_size=12)))


def check_history(desk: Desk, steps: list[tuple[str, str]], *, ticks: list[bool]) -> None:
    """Do the steps, time going on before some of them, and look at what holds."""
    one = desk.item()
    desk.analyse(one, category="other")
    said: list[str] = []
    models, retags = ["other"], []
    for (what, label), ticks_before in zip(steps, ticks, strict=False):
        if ticks_before:
            desk.clock.advance(1)
        if what == "correct":
            desk.people.add(one, field="category", value=label, by="ann")
            said += [] if said[-1:] == [label] else [label]
        elif what == "analyse":
            desk.clock.advance(1)
            desk.analyse(one, category=label)
            models.append(label)
        else:
            desk.clock.advance(1)
            desk.analyse(one, task="categorize", category=label)
            retags.append(label)

    history = desk.feedback.get(one)
    by_task = {
        task: [each.result["category"] for each in history.analyses if each.task == task]
        for task in ("classify", "categorize")
    }
    assert desk.result(one)["category"] == (said or models)[-1]
    assert not retags or desk.result(one, "categorize")["category"] == (said or retags)[-1]
    assert [each.value for each in reversed(history.corrections)] == said
    assert by_task == {"classify": models[::-1], "categorize": retags[::-1]}


def test_queue_is_read_by_its_index(desk: Desk) -> None:
    """However many items nobody need look at."""
    query = "SELECT * FROM feedback_items WHERE review IS NOT NULL ORDER BY received_at, item_id LIMIT 5"
    on_sqlite = desk.engine.dialect.name == "sqlite"
    with desk.engine.connect() as connection:
        if not on_sqlite:
            connection.exec_driver_sql("SET enable_seqscan = off")  # the table is empty
        explain = "EXPLAIN QUERY PLAN" if on_sqlite else "EXPLAIN"
        plan = str(connection.exec_driver_sql(f"{explain} {query}").all())

    assert "ix_feedback_items_review" in plan
    assert not any(sort in plan for sort in ("TEMP B-TREE", "Sort"))
