"""A table fits the terminal, one line a row."""

import io
from collections.abc import Mapping
from typing import Any

import pytest
from rich.cells import cell_len

from feedback_gateway.cli.table_out import TableWriter, describe_error

SCHEMA = {
    "type": "object",
    "properties": {
        "sentiment": {"enum": ["positive", "neutral", "negative", "mixed"]},
        "category": {"type": "string"},
        "subcategory": {"type": ["string", "null"]},
        "language": {"type": "string"},
        "urgent": {"type": "boolean"},
        "confidence": {"type": "number"},
        "confidence_source": {"enum": ["classifier"]},
        "route": {"type": "object", "properties": {"team": {"type": ["string", "null"]}, "reason": {"type": "string"}}},
        "needs_review": {"type": "boolean"},
        "evidence": {"type": "array", "items": {"type": "object"}},
    },
}
CHOICES = {("category",): ("bug", "documentation and training"), ("route", "team"): ("customer success",)}
RESULT = {
    "sentiment": "negative",
    "category": "documentation and training",
    "subcategory": None,
    "language": "en",
    "urgent": False,
    "confidence": 0.123456,
    "route": {"team": "customer success"},
    "needs_review": True,
}
FAILURE = {"detail": "the item does not fit: text: must not be empty", "errors": [{"loc": ["text"], "msg": "is empty"}]}


def table(width: int, *rows: tuple[Mapping[str, Any], Mapping[str, Any]], id_width: int = 4) -> list[str]:
    """The lines of a table of `rows` for a terminal of `width` cells."""
    stream = io.BytesIO()
    writer = TableWriter(stream, SCHEMA, choices=CHOICES, text_column="text", id_width=id_width, width=width)
    writer.start()
    for columns, answer in rows:
        writer.write(columns, answer)
    return stream.getvalue().decode().splitlines()


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 120, 160, 250])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """Rows that failed and wide characters included; and each row is one line."""
    rows: list[tuple[dict[str, str], dict[str, Any]]] = [
        ({"id": "a" * 99, "text": "\u5b57" * 99}, {"result": RESULT}),
        ({"text": "b" * 99}, {"error": FAILURE}),
    ]

    lines = table(width, *rows)

    assert len(lines) == 2 + len(rows)
    assert max(cell_len(line) for line in lines) <= width


def test_labels_are_whole_where_there_is_room() -> None:
    """With the team, yes or no, two decimals, and a mark for the answers to look at."""
    lines = table(160, ({"id": 7, "text": "a\x1b[31m"}, {"result": RESULT}))

    assert lines[0].split() == [
        *("id", "text", "sentiment", "category", "subcategory", "lang", "urgent", "confidence", "team", "?")
    ]
    assert lines[2].split() == [
        *("7", "a", "[31m", "negative", "documentation", "and", "training", "en", "no", "0.12"),
        *("customer", "success", "?"),
    ]


def test_a_narrow_terminal_keeps_what_matters() -> None:
    """The team and the mark stay, and a part of the text."""
    header = table(80, ({"text": "t"}, {"result": RESULT}))[0].split()

    assert {"text", "sentiment", "category", "team", "?"} <= set(header)
    assert "subcategory" not in header


def test_rows_without_ids_lose_no_room_to_them() -> None:
    """The text takes it."""
    assert table(80, id_width=0)[0].startswith("text ")


def test_a_failed_row_says_why_once() -> None:
    """Beside its text, or over the whole line where it has none."""
    lines = table(120, ({"id": 1, "text": "b"}, {"error": FAILURE}), ({}, {"error": {"detail": "line 3: no JSON"}}))

    assert lines[2].split() == ["1", "b", "failed:", "text:", "is", "empty"]
    assert lines[3].strip() == "failed: line 3: no JSON"


def test_an_error_without_a_place_is_its_detail() -> None:
    """Providers name no field."""
    assert describe_error({"detail": "the provider failed"}) == "the provider failed"
    assert describe_error({"detail": "x", "errors": [{"loc": [], "msg": "must be an object"}]}) == "must be an object"


def test_a_task_without_labels_shows_its_first_sentence() -> None:
    """A translation is what one wants to see of a translation."""
    stream = io.BytesIO()
    schema = {"properties": {"source_language": {"type": "string"}, "translation": {"type": "string"}}}
    writer = TableWriter(stream, schema, choices={}, text_column="text", id_width=0, width=80)

    writer.write({"text": "Hallo"}, {"result": {"source_language": "de", "translation": "Hello"}})

    assert stream.getvalue().decode().split() == ["Hallo", "de", "Hello"]
