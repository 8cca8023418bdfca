"""How labelled files become rows to measure and a taxonomy to offer."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from feedback_gateway.errors import ConfigurationError
from feedback_gateway.evaluation.datasets import (
    KNOWN,
    Adapter,
    build_dataset,
    describe_dataset,
    draw_examples,
    known_datasets,
    labelled,
)
from feedback_gateway.evaluation.datasets import Labelled as Row
from feedback_gateway.tasks.taxonomy import parse_taxonomy


def read(path: Path) -> Iterable[Mapping[str, Any]]:
    """The rows of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """A JSON Lines file."""
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


ROWS = [{"text": f"text {number}", "label": "ab"[number % 2]} for number in range(40)]


def test_categories_are_the_labels_of_the_file(tmp_path: Path) -> None:
    """Without examples every row is measured."""
    dataset = describe_dataset("categorize", write(tmp_path / "rows.jsonl", ROWS), read)

    assert len(dataset.rows) == 40
    assert dataset.taxonomy is not None
    assert [category.name for category in parse_taxonomy(dataset.taxonomy).categories] == ["a", "b"]


def test_rows_that_are_learned_from_are_not_measured(tmp_path: Path) -> None:
    """The examples are drawn from the file itself and left out of it."""
    dataset = describe_dataset("categorize", write(tmp_path / "rows.jsonl", ROWS), read, examples=5)

    assert dataset.taxonomy is not None
    examples = {text for one in parse_taxonomy(dataset.taxonomy).categories for text in one.examples}
    assert len(examples) == 10
    assert len(dataset.rows) == 30
    assert not examples & {row.text for row in dataset.rows}


def test_the_draw_is_the_same_every_time() -> None:
    """Figures of two runs can be compared."""
    rows = [Row(row["text"], row["label"]) for row in ROWS]

    assert draw_examples(rows, 5) == draw_examples(rows, 5)


def test_a_quarter_of_every_label_is_left_to_measure() -> None:
    """However many examples are asked for."""
    _, rest = draw_examples([Row(row["text"], row["label"]) for row in ROWS], 1000)

    assert sorted(row.label for row in rest) == ["a"] * 5 + ["b"] * 5


def test_examples_of_another_file_leave_this_one_whole(tmp_path: Path) -> None:
    """`--train` takes them from there."""
    train = write(tmp_path / "train.jsonl", [{"text": "learned", "label": "a"}] * 4)

    dataset = describe_dataset("categorize", write(tmp_path / "rows.jsonl", ROWS), read, examples=3, train=train)

    assert len(dataset.rows) == 40
    assert dataset.taxonomy is not None
    assert dataset.taxonomy["categories"][0]["examples"] == ["learned"] * 3


def test_a_known_set_is_recognised_by_its_folder(tmp_path: Path) -> None:
    """Its label column and descriptions come with it."""
    rows = [{"text": "t", "label": "blocker", "severity4": "critical"}]
    file = write(tmp_path / "severity-mozilla" / "dev.jsonl", rows)

    dataset = describe_dataset("severity", file, read)

    assert [row.label for row in dataset.rows] == ["critical"]


def test_a_missing_column_names_those_there_are(tmp_path: Path) -> None:
    """One line with the mend."""
    file = write(tmp_path / "rows.jsonl", [{"comment": "t", "class": "a"}])

    with pytest.raises(ConfigurationError, match=r"it has: comment, class\. Name it in --label-column"):
        describe_dataset("categorize", file, read)
    with pytest.raises(ConfigurationError, match="no column 'text'; it has: comment, class"):
        describe_dataset("categorize", file, read, label_column="class")


def test_labels_of_fixed_tasks_are_compared_without_case() -> None:
    """`Positive` means `positive`; a category is a name and keeps its case."""
    sentiment = next(one for one in KNOWN if one.task == "sentiment")
    categorize = next(one for one in KNOWN if one.task == "categorize")

    assert labelled(sentiment, [{"text": "t", "label": "Positive "}], text_column="text")[0].label == "positive"
    assert labelled(categorize, [{"text": "t", "label": "Bug"}], text_column="text")[0].label == "Bug"


def test_a_folder_is_measured_set_by_set(tmp_path: Path) -> None:
    """Only what is known and there."""
    write(tmp_path / "sentiment-tweeteval" / "dev.jsonl", [{"text": "t", "label": "neutral"}])
    write(tmp_path / "unknown" / "dev.jsonl", ROWS)

    assert [one.name for one in known_datasets(tmp_path, read)] == ["sentiment-tweeteval"]


def test_a_folder_without_known_sets_is_refused(tmp_path: Path) -> None:
    """Rather than measuring nothing."""
    with pytest.raises(ConfigurationError, match="holds none of the known sets"):
        known_datasets(tmp_path, read)


@pytest.mark.parametrize("adapter", KNOWN, ids=lambda one: f"{one.name}-{one.task}-{one.examples}")
def test_every_known_set_gives_rows_and_a_taxonomy_that_holds_their_labels(adapter: Adapter) -> None:
    """Whatever it renames, leaves out or learns from."""
    names = list(adapter.categories) or ["one", "two"]
    rows = [
        {"text": f"text {number}", adapter.label_column: names[number % len(names)], "language": "en", "logs": "line"}
        | {adapter.label_column: names[number % len(names)]}
        for number in range(12 * len(names))
    ]
    rows += [{"text": "left out", adapter.label_column: label, "language": "en"} for label in adapter.labels]

    dataset = build_dataset(adapter, rows)

    measured = {row.label for row in dataset.rows}
    assert measured
    assert not [row for row in dataset.rows if row.text == "left out"]
    if adapter.task == "categorize":
        assert measured <= {one.name for one in parse_taxonomy(dataset.taxonomy).categories}
    assert all(dict(row.inputs) == dict.fromkeys(adapter.inputs, "line") for row in dataset.rows)


def test_labels_of_the_configured_categories_are_measured_with_their_taxonomy(tmp_path: Path) -> None:
    """And others with one made of them."""
    file = write(tmp_path / "rows.jsonl", ROWS)

    assert describe_dataset("categorize", file, read, configured={"a", "b", "c"}).taxonomy is None
    assert describe_dataset("categorize", file, read, configured={"a"}).taxonomy is not None
    assert describe_dataset("categorize", file, read, configured={"a", "b"}, examples=3).taxonomy is not None


def test_a_category_of_classify_keeps_its_case(tmp_path: Path) -> None:
    """It is a name that somebody gave, as in categorize."""
    file = write(tmp_path / "rows.jsonl", [{"text": "t", "label": "UI"}])

    assert describe_dataset("classify", file, read).rows[0].label == "UI"
