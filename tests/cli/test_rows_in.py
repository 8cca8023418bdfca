"""What may be in a JSON Lines file, and in which encodings files come."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback_gateway.cli import rows_in
from feedback_gateway.cli.rows_in import Row, json_row, json_rows, open_source, recognise_encoding, recognise_format
from feedback_gateway.errors import ConfigurationError


def read(path: Path, content: bytes) -> list[Row]:
    """The rows of a JSON Lines file with `content`."""
    path.write_bytes(content)
    with open_source(path) as source:
        return list(json_rows(source))


def reason(row: Row) -> str:
    """What is said about a row that cannot be read."""
    assert row.error is not None
    return row.error.detail


def test_each_line_is_a_row_and_blank_lines_are_none(tmp_path: Path) -> None:
    """Rows carry the number of their line, blank ones counted."""
    rows = read(tmp_path / "in.jsonl", b'{"text": "a"}\r\n\n  \n{"text": "b"}')

    assert [(row.line, row.columns) for row in rows] == [(1, {"text": "a"}), (4, {"text": "b"})]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{broken", "line 2: no valid JSON: "),
        (b'{"text": NaN}', "line 2: no valid JSON: NaN is no JSON number"),
        (b'{"text": -Infinity}', "line 2: no valid JSON: -Infinity is no JSON number"),
        (b'{"n": 1e999}', "line 2: no valid JSON: the number 1e999 is out of range"),
        (b'{"n": ' + b"9" * 5000 + b"}", "line 2: no valid JSON: "),
        (b"[1, 2]", 'line 2: a row must be an object such as {"text": "\u2026"}'),
        (b"null", "line 2: a row must be an object"),
        (b"[" * 100_000, "line 2: nested too deeply"),
        (b'{"text": "caf\xe9"}', "line 2: no valid utf-8 at column 14"),
    ],
)
def test_a_broken_line_is_a_row_with_its_line_number(tmp_path: Path, line: bytes, said: str) -> None:
    """What cannot be read is told in its place, and the rows around it are read."""
    rows = read(tmp_path / "in.jsonl", '{"text": "größer"}\n'.encode() + line + b'\n{"text": "c"}\n')

    assert reason(rows[1]).startswith(said)
    assert [row.columns for row in (rows[0], rows[2])] == [{"text": "größer"}, {"text": "c"}]


def test_a_line_too_long_for_a_row_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without line ends does not fill the memory, and the next line is a row again."""
    monkeypatch.setattr(rows_in, "LINE_CHARS", 50)

    rows = read(tmp_path / "in.jsonl", b'{"text": "' + b"x" * 500 + b'"}\n{"text": "next"}\n')

    assert reason(rows[0]) == "line 1: longer than 50 characters"
    assert rows[1].columns == {"text": "next"}


def test_line_separators_inside_a_text_end_no_row(tmp_path: Path) -> None:
    """U+2028, U+0085 and form feeds are text in JSON."""
    text = "one\u2028two\u0085three"

    rows = read(tmp_path / "in.jsonl", json.dumps({"text": text}, ensure_ascii=False).encode() + b"\n")

    assert [row.columns for row in rows] == [{"text": text}]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_every_unicode_encoding_is_recognised(tmp_path: Path, encoding: str) -> None:
    """With a byte order mark or without."""
    rows = read(tmp_path / "in.jsonl", '{"text": "größer 😀"}\n'.encode(encoding))

    assert [row.columns for row in rows] == [{"text": "größer 😀"}]


def test_a_file_of_windows_is_read_and_the_guess_is_told(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 anywhere are taken for windows-1252."""
    path = tmp_path / "in.csv"
    path.write_bytes("text\ncafé “au lait”\n".encode("windows-1252"))

    with open_source(path) as source:
        assert source.text.read() == "text\ncafé “au lait”\n"
    assert source.notice is not None
    assert "windows-1252" in source.notice


def test_a_few_bad_bytes_do_not_turn_a_utf8_file_into_another() -> None:
    """Whole sequences outweigh broken ones."""
    assert recognise_encoding("größer, schöner".encode() + b"\xff") == ("utf-8", None)


def test_a_character_cut_at_the_end_of_the_sample_is_no_bad_byte() -> None:
    """The sample may end inside a sequence."""
    assert recognise_encoding(b"plain " + "ö".encode()[:1]) == ("utf-8", None)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.jsonl", b'{"text": "a"}', "jsonl"),
        ("a.txt", b'\xef\xbb\xbf\n {"text": "a"}', "jsonl"),
        ("a.csv", b"text\na", "csv"),
        ("a.txt", b"text;id\na;1", "csv"),
        ("a.csv", b'{"text": "a"}', "jsonl"),
        ("a.jsonl", b"", "jsonl"),
    ],
)
def test_the_format_shows_in_the_content_or_the_name(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    """The first character speaks louder than the name."""
    path = tmp_path / name
    path.write_bytes(content)

    with open_source(path) as source:
        assert recognise_format(source, path) == expected


def test_a_json_array_is_refused_with_the_mend(tmp_path: Path) -> None:
    """It cannot be read row by row."""
    path = tmp_path / "a.json"
    path.write_bytes(b'[{"text": "a"}]')

    with open_source(path) as source, pytest.raises(ConfigurationError, match="jq"):
        recognise_format(source, path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """One line that says what and why."""
    with pytest.raises(ConfigurationError, match=r"gone\.csv: No such file"):
        open_source(tmp_path / "gone.csv")


def test_an_unknown_encoding_names_the_option(tmp_path: Path) -> None:
    """One line that says what to try."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"text\n")

    with pytest.raises(ConfigurationError, match="--encoding klingon"):
        open_source(path, encoding="klingon")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16", "utf-32", "windows-1252"])
def test_the_position_is_that_of_the_last_row_read(tmp_path: Path, encoding: str) -> None:
    """To the byte, but for the file's mark; what a buffer holds does not count."""
    lines = [f'{{"text": "größer {number}"}}\n' for number in range(50)]
    path = tmp_path / "in.jsonl"
    path.write_bytes("".join(lines).encode(encoding))

    with open_source(path, encoding=encoding) as source:
        positions = [source.position() for _ in json_rows(source)]

    ends = [len("".join(lines[: count + 1]).encode(encoding)) for count in range(50)]
    assert {end - position for end, position in zip(ends, positions, strict=True)} <= {0, 2, 3, 4}
    assert source.size == ends[-1]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), VALUES, max_size=5))
def test_whatever_is_json_is_read_exactly(columns: dict[str, object]) -> None:
    """Reading gives back what was written."""
    assert json_row(1, json.dumps(columns)).columns == columns
