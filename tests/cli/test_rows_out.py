"""Rows as they are written: exact in JSON Lines, harmless in CSV."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback_gateway.cli.rows_out import (
    CsvWriter,
    JsonLinesWriter,
    csv_layout,
    csv_line,
    json_line,
    merge,
    safe_cell,
    schema_paths,
)

SCHEMA = {
    "type": "object",
    "properties": {
        "sentiment": {"enum": ["positive", "negative"]},
        "route": {"type": "object", "properties": {"team": {"type": "string"}}},
        "evidence": {"type": "array", "items": {"type": "object"}},
    },
}
ANSWER = {
    "call_id": "01J",
    "task": "classify",
    "id": "1",
    "result": {"sentiment": "positive", "route": {"team": "=cmd"}, "evidence": [{"quote": "ü"}]},
    "cached": False,
    "latency_ms": 1.5,
    "usage": {"cost_usd": "0.00000012"},
}
FAILURE = {"line": 3, "id": None, "error": {"title": "Invalid request", "detail": "no", "errors": []}}


def records(content: bytes) -> list[dict[str, str]]:
    """CSV as its readers see it."""
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def test_an_output_row_is_the_input_row_and_the_answer() -> None:
    """The row's own id is kept as it is."""
    row = merge({"id": 7, "text": "t", "author": "x"}, ANSWER)

    assert row["id"] == 7
    assert (row["author"], row["text"], row["result"]) == ("x", "t", ANSWER["result"])


def test_a_column_that_the_answer_has_is_renamed() -> None:
    """Neither of them is lost."""
    row = merge({"text": "t", "task": "chore", "model": "T-1000"}, ANSWER)

    assert (row["task"], row["input_task"], row["input_model"]) == ("classify", "chore", "T-1000")


def test_an_answer_that_is_classified_again_keeps_its_columns_apart() -> None:
    """Flattened names of the run before are renamed as well."""
    layout = csv_layout(["text", "result.sentiment", "input_result.sentiment"], SCHEMA, overflow=False)

    assert layout.passed == ("id", "text", "input_result.sentiment", "input_input_result.sentiment")
    assert len(set(layout.header)) == len(layout.header)


def test_a_column_of_an_input_is_not_taken_for_the_overflow() -> None:
    """`more` is where the columns of later rows go."""
    layout = csv_layout(["text", "more"], SCHEMA, overflow=True)

    assert layout.passed_cells({"id": "1", "text": "a", "more": "b", "new": "c"}) == ["1", "a", "b", '{"new": "c"}']


@given(st.text())
def test_json_lines_keep_every_text_exactly(text: str) -> None:
    """One line each, halves of surrogate pairs included."""
    line = json_line({"text": text})

    assert line.count(b"\n") == 1
    assert json.loads(line) == {"text": text}


def test_letters_stay_letters_in_json_lines() -> None:
    """Escapes only where UTF-8 has no way."""
    assert json_line({"text": "größer 😀"}) == '{"text": "größer 😀"}\n'.encode()
    assert json_line({"text": "\ud83d"}) == b'{"text": "\\ud83d"}\n'


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_a_formula_gets_an_apostrophe(text: str) -> None:
    """A spreadsheet takes it for text then."""
    assert safe_cell(text) == "'" + text


def test_numbers_of_ours_stay_numbers() -> None:
    """A score may be negative."""
    assert [safe_cell(value) for value in (-0.5, 3, True, None, ["a"], {"b": 1})] == [
        "-0.5",
        "3",
        "true",
        "",
        '["a"]',
        '{"b": 1}',
    ]


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_no_cell_of_csv_starts_a_formula(values: list[str]) -> None:
    """Whatever the texts; and each is one cell for a reader with any separator."""
    line = csv_line([safe_cell(value) for value in values]).decode()

    (cells,) = csv.reader(io.StringIO(line, newline=""))
    assert len(cells) == len(values)
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)
    assert line.startswith('"')


def test_results_are_flattened_with_dots() -> None:
    """Lists stay together as JSON; passed-through names and nested values are harmless as well."""
    stream = io.BytesIO()
    writer = CsvWriter(stream, csv_layout(["id", "text", "=evil"], SCHEMA, overflow=False))

    writer.start()
    writer.write({"id": "1", "text": "-t", "=evil": "+x"}, ANSWER)

    (row,) = records(stream.getvalue())
    assert (row["result.sentiment"], row["result.route.team"]) == ("positive", "'=cmd")
    assert row["result.evidence"] == '[{"quote": "ü"}]'
    assert (row["text"], row["'=evil"], row["usage.cost_usd"]) == ("'-t", "'+x", "0.00000012")


def test_a_failed_row_keeps_its_place_in_csv() -> None:
    """With its line and the reason."""
    stream = io.BytesIO()
    writer = CsvWriter(stream, csv_layout(["text"], SCHEMA, overflow=False))

    writer.start()
    writer.write({}, FAILURE)

    (row,) = records(stream.getvalue())
    assert (row["line"], row["error.title"], row["error.detail"]) == ("3", "Invalid request", "no")


def test_columns_that_come_later_are_not_lost() -> None:
    """Rows of JSON Lines differ; what the first one lacks goes into one column as JSON."""
    stream = io.BytesIO()
    writer = CsvWriter(stream, csv_layout(["text"], SCHEMA, overflow=True))

    writer.start()
    writer.write({"text": "t", "late": 1}, ANSWER)

    assert records(stream.getvalue())[0]["more"] == '{"late": 1}'


def test_paths_end_at_values_without_known_properties() -> None:
    """A schema without properties is one value."""
    assert list(schema_paths(SCHEMA)) == [("sentiment",), ("route", "team"), ("evidence",)]
    assert list(schema_paths({})) == [()]


def test_each_row_is_written_at_once() -> None:
    """A reader of the stream sees it before the next one is due."""
    stream = io.BytesIO()

    JsonLinesWriter(stream).write({"id": "1", "text": "t"}, ANSWER)

    assert json.loads(stream.getvalue())["result"] == ANSWER["result"]
