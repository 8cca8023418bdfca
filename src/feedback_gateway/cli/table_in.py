"""Recognises what an open file holds, and gives its rows whatever their format."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from feedback_gateway.cli.csv_in import CsvRows, find_column, recognise_dialect
from feedback_gateway.cli.rows_in import InputFormat, Row, Source, json_rows, recognise_format
from feedback_gateway.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class InputTable:
    """Rows, and the name of the column that holds their text; `columns` is a CSV file's header, else None."""

    rows: Iterator[Row]
    input_format: InputFormat
    text_column: str
    columns: tuple[str, ...] | None


def open_table(source: Source, path: Path | None, *, input_format: InputFormat | None, text_column: str) -> InputTable:
    """The rows of `source`. Raises ConfigurationError for a file that cannot work."""
    input_format = input_format or recognise_format(source, path)
    if input_format != "csv":
        return InputTable(rows=json_rows(source), input_format=input_format, text_column=text_column, columns=None)
    table = CsvRows(source, recognise_dialect(source.sample, text_column))
    columns = tuple(table.columns)
    text_column = require_column(columns, text_column, source=source)
    return InputTable(rows=iter(table), input_format=input_format, text_column=text_column, columns=columns)


def require_column(columns: tuple[str, ...], wanted: str, *, source: Source) -> str:
    """The name of the text column. Raises ConfigurationError that names the columns there are."""
    found = find_column(columns, wanted)
    if found is None and columns:
        have = ", ".join(columns)
        raise ConfigurationError(
            f"{source.name} has no column {wanted!r}; it has: {have}. Name the one with the text in --text-column"
        )
    return found or wanted
