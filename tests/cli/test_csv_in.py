"""The dialects of CSV, and rows that are broken in it."""

import csv
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from feedback_gateway.cli.csv_in import CsvRows, find_column, name_columns, recognise_dialect
from feedback_gateway.cli.rows_in import Row, open_source


def table(path: Path, content: str | bytes) -> list[Row]:
    """The rows of a CSV file with `content`."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with open_source(path) as source:
        return list(CsvRows(source, recognise_dialect(source.sample, "text")))


def columns(rows: list[Row]) -> list[dict[str, str]]:
    """The cells of rows that must all be readable."""
    assert [row.error for row in rows] == [None] * len(rows)
    return [dict(row.columns) for row in rows]


def said(row: Row) -> str | None:
    """What is said about a row that cannot be read."""
    return row.error.detail if row.error else None


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_recognised_in_a_file_of_two_lines(tmp_path: Path, delimiter: str) -> None:
    """Short files have little to go by but their header."""
    content = f"id{delimiter}text\n1{delimiter}Hello there friend\n"

    assert columns(table(tmp_path / "a.csv", content)) == [{"id": "1", "text": "Hello there friend"}]


def test_the_position_follows_the_rows(tmp_path: Path) -> None:
    """Rows over several lines included."""
    path = tmp_path / "a.csv"
    path.write_bytes(b'id,text\n1,"a\nb"\n2,c\n')

    with open_source(path) as source:
        positions = [source.position() for _ in CsvRows(source, recognise_dialect(source.sample, "text"))]

    assert positions == [16, 20]


def test_delimiters_inside_texts_mislead_nobody(tmp_path: Path) -> None:
    """The header and quoted cells decide."""
    content = 'id;text\n1;"one, two, three; four"\n2;five, six, seven, eight\n'

    assert [row["text"] for row in columns(table(tmp_path / "a.csv", content))] == [
        "one, two, three; four",
        "five, six, seven, eight",
    ]


def test_a_single_column_without_quotes_keeps_its_commas(tmp_path: Path) -> None:
    """A list of texts under one name is a CSV file as well."""
    content = "text\nHello, world\nNo comma\nOne, two, three\n"

    assert [row["text"] for row in columns(table(tmp_path / "a.csv", content))] == [
        "Hello, world",
        "No comma",
        "One, two, three",
    ]


def test_quoted_line_ends_quotes_and_a_mark_are_read(tmp_path: Path) -> None:
    """What a spreadsheet writes, byte order mark and CR LF included."""
    content = b'\xef\xbb\xbfid,text\r\n1,"two\r\nlines, and ""quotes"""\r\n2,plain\r\n'

    assert columns(table(tmp_path / "a.csv", content)) == [
        {"id": "1", "text": 'two\r\nlines, and "quotes"'},
        {"id": "2", "text": "plain"},
    ]


def test_rows_know_the_line_they_start_on(tmp_path: Path) -> None:
    """Lines are counted from 1 as an editor counts them."""
    rows = table(tmp_path / "a.csv", 'id,text\n1,"two\nlines"\n\n2,plain\n')

    assert [row.line for row in rows] == [2, 5]


def test_a_ragged_row_fails_alone(tmp_path: Path) -> None:
    """Too few and too many cells are told with both counts; the rows around them are read."""
    rows = table(tmp_path / "a.csv", "id,text\n1,a\n2\n3,c,d,e\n4,d\n")

    assert [said(row) for row in rows] == [
        None,
        "line 3: 1 cells where the header has 2",
        "line 4: 4 cells where the header has 2",
        None,
    ]


def test_empty_cells_after_the_last_column_are_none(tmp_path: Path) -> None:
    """Some programs end every line with delimiters."""
    assert columns(table(tmp_path / "a.csv", "id,text\n1,a,,\n")) == [{"id": "1", "text": "a"}]


def test_a_quote_that_is_never_closed_swallows_no_other_row(tmp_path: Path) -> None:
    """Only the row that opens it is lost."""
    rows = table(tmp_path / "a.csv", 'id,text\n1,a\n2,"never closed\n3,c\n4,d\n')

    assert said(rows[1]) == "line 3: a quoted cell that starts here is never closed"
    assert [row.columns.get("id") for row in rows] == ["1", None, "3", "4"]


def test_two_stray_quotes_swallow_no_row_between_them(tmp_path: Path) -> None:
    """What they enclose has too few cells to be one row, so it is read line by line."""
    rows = table(tmp_path / "a.csv", 'id,text\n1,"open\n2,b\n3,c\n"4,d\n5,e\n')

    assert [row.columns.get("id") for row in rows if row.error is None] == ["2", "3", "5"]


def test_a_quote_inside_a_cell_is_a_character(tmp_path: Path) -> None:
    """Inches, for one."""
    assert columns(table(tmp_path / "a.csv", 'id,text\n1,a 5" pipe\n2,b\n'))[0]["text"] == 'a 5" pipe'


def test_the_line_that_announces_a_delimiter_is_no_header(tmp_path: Path) -> None:
    """Spreadsheets write and read it."""
    assert columns(table(tmp_path / "a.csv", "sep=;\nid;text\n1;a,b\n")) == [{"id": "1", "text": "a,b"}]


def test_bytes_that_are_no_text_fail_their_row(tmp_path: Path) -> None:
    """In a file that is UTF-8 otherwise."""
    rows = table(tmp_path / "a.csv", "id,text\n1,größer\n".encode() + b"2,\xff\xfe\n3,c\xc3\xb6\n")

    assert [said(row) for row in rows] == [None, "line 3: no valid utf-8", None]


def test_line_ends_of_an_old_mac_are_line_ends(tmp_path: Path) -> None:
    """CR alone."""
    assert [row["id"] for row in columns(table(tmp_path / "a.csv", "id,text\r1,a\r2,b\r"))] == ["1", "2"]


def test_nul_and_control_characters_are_text(tmp_path: Path) -> None:
    """Whether a task takes them is not the reader's business."""
    assert columns(table(tmp_path / "a.csv", "id,text\n1,a\0b\x1b[31m\n"))[0]["text"] == "a\0b\x1b[31m"


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    """Nothing in, nothing out."""
    assert table(tmp_path / "a.csv", "") == []


def test_columns_get_names_of_their_own() -> None:
    """Unnamed and doubled ones lose no cell."""
    assert name_columns([" id ", "", "text", "text"]) == ["id", "column 2", "text", "text (2)"]


def test_a_column_is_found_whatever_its_case_unless_two_fit() -> None:
    """Exactly that name first."""
    assert find_column(["Text", "id"], "text") == "Text"
    assert find_column(["Text", "TEXT"], "text") is None
    assert find_column(["Text", "text"], "text") == "text"


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1, max_size=20)


@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=8), st.sampled_from([",", ";", "\t", "|"]))
def test_whatever_a_csv_writer_writes_is_read_back(rows: list[tuple[str, str]], delimiter: str) -> None:
    """Cells of any text, through any of the delimiters."""
    assume(all(any(cell.strip() for cell in row) for row in rows))
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([("id", "text"), *rows])
    with tempfile.TemporaryDirectory() as folder:
        found = table(Path(folder) / "a.csv", buffer.getvalue())

    assert [tuple(row.columns.values()) for row in found] == rows
