"""Reads a labelled file for `prompts eval`, which is of no use with rows that cannot be read."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from feedback_gateway.cli.csv_in import CsvRows, recognise_dialect
from feedback_gateway.cli.rows_in import Row, Source, json_rows, open_source, recognise_format
from feedback_gateway.errors import ConfigurationError


def read_columns(path: Path) -> Iterator[Mapping[str, Any]]:
    """The columns of every row. Raises ConfigurationError naming the first line that cannot be read."""
    with open_source(path) as source:
        yield from columns_of(source, path)


def columns_of(source: Source, path: Path) -> Iterator[Mapping[str, Any]]:
    """The columns of every row of an open file."""
    if recognise_format(source, path) == "csv":
        rows: Iterator[Row] = iter(CsvRows(source, recognise_dialect(source.sample, "text")))
    else:
        rows = json_rows(source)
    for row in rows:
        if row.error is not None:
            raise ConfigurationError(f"{path}: {row.error.detail}")
        yield row.columns
