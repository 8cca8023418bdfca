"""`feedback correct|reviews|agreement|rows`: people's words on the terminal."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import insert, update

from feedback_gateway.clock import SystemClock
from feedback_gateway.feedback.models import NewItem
from feedback_gateway.feedback.repository import FeedbackRepository
from feedback_gateway.feedback.tables import analyses, feedback_items
from feedback_gateway.storage.engine import open_engine, upgrade

Run = Callable[..., "subprocess.CompletedProcess[str]"]
RESULT = {"sentiment": "negative", "category": "bug", "subcategory": None, "severity": "major", "needs_review": True}


def stored(folder: Path, *texts: str) -> list[str]:
    """The ids of items that a model was unsure of."""
    engine, clock = open_engine(f"sqlite:///{folder / 'feedback-gateway.db'}"), SystemClock()
    upgrade(engine)
    items = [NewItem(text=text, source="shop") for text in texts]
    _, placed = FeedbackRepository(engine, clock).add(items, consumer="local", task="classify")
    ids = [one.item_id for one in placed]
    common = {"task": "classify", "prompt_version": 1, "model": "default", "result": RESULT, "by": "m"}
    rows = [
        {name: clock.new_id() for name in ("analysis_id", "run_id", "call_id")}
        | {"item_id": one, "at": clock.now()}
        | common
        for one in ids
    ]
    with engine.begin() as connection:
        connection.execute(insert(analyses), rows)
        connection.execute(update(feedback_items).values(review="model_unsure low_confidence"))
    engine.dispose()
    return ids


def test_people_work_through_the_queue(run: Run, tmp_path: Path) -> None:
    """They see why, say what holds, and the item is gone from the queue."""
    first, second = stored(tmp_path, "It crashes \x1b[31mred", "How do I log in?")

    before = run("feedback", "reviews")
    said = run("feedback", "correct", second, "--field", "category", "--value", "question", "--by", "ann")
    after = run("feedback", "reviews")
    shown = json.loads(run("feedback", "show", second).stdout)

    assert (before.returncode, said.returncode) == (0, 0)
    assert first in before.stdout
    assert second in before.stdout
    assert "\x1b" not in before.stdout
    assert said.stdout == "category is question, says ann\n"
    assert second not in after.stdout
    assert (shown["result"]["category"], shown["result"]["needs_review"]) == ("question", False)


def test_label_that_is_none_is_refused(run: Run, tmp_path: Path) -> None:
    """With those there are, and nothing is stored."""
    [one] = stored(tmp_path, "It crashes")

    refused = run("feedback", "correct", one, "--field", "category", "--value", "mood", "--by", "ann")
    unknown = run("feedback", "correct", "nobody", "--field", "category", "--value", "bug", "--by", "ann")

    assert (refused.returncode, unknown.returncode) == (2, 2)
    assert "must be one of bug" in refused.stderr
    assert "no such item" in unknown.stderr
    assert json.loads(run("feedback", "show", one).stdout)["corrections"] == []


def test_agreement_is_shown_in_groups(run: Run, tmp_path: Path) -> None:
    """And that there is none yet."""
    first, second = stored(tmp_path, "It crashes", "How do I log in?")
    nothing = run("feedback", "agreement")
    for one, value in ((first, "bug"), (second, "question")):
        run("feedback", "correct", one, "--field", "category", "--value", value, "--by", "ann")

    shown = run("feedback", "agreement", "--by", "label,model")

    assert nothing.stdout == "Nobody has said anything of an answer yet.\n"
    assert [line.split()[:5] for line in shown.stdout.splitlines()][-1] == ["bug", "default", "2", "1", "0.500"]


def test_words_are_rows_that_prompts_eval_takes(run: Run, tmp_path: Path) -> None:
    """The last word of each item is its label."""
    first, second = stored(tmp_path, "The app crashes when I open it", "How do I change my password?")
    for one, value in ((first, "praise"), (first, "bug"), (second, "question")):
        run("feedback", "correct", one, "--field", "category", "--value", value, "--by", "ann")

    written = run("feedback", "rows", "-o", "labels.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text().splitlines()]
    measured = run("prompts", "eval", "categorize", "--data", "labels.jsonl")

    assert (written.returncode, written.stderr) == (0, "2 rows written to labels.jsonl\n")
    assert [(row["id"], row["label"]) for row in rows] == [(first, "bug"), (second, "question")]
    assert (measured.returncode, measured.stderr) == (0, "")
    assert "2" in measured.stdout
