"""The work of `feedback import`: rows of a file become items, some hundred a transaction, in one job."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from feedback_gateway.api.feedback_bodies import read_item
from feedback_gateway.cli.administration import open_administration
from feedback_gateway.cli.rows_in import Row
from feedback_gateway.cli.table_in import InputTable
from feedback_gateway.consumers.models import LOCAL
from feedback_gateway.errors import GatewayError
from feedback_gateway.feedback.models import NewItem
from feedback_gateway.settings import Settings

CHUNK = 500
MOST_TOLD = 20
FIELDS = ("source", "external_id", "author_id", "created_at", "rating")


@dataclass(slots=True)
class Imported:
    """What came of the rows; `refused` says of the first of them why they could not be stored."""

    job_id: str | None = None
    stored: int = 0
    known: int = 0
    failed: int = 0
    refused: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """All of it in a line."""
        parts = [f"{self.stored:,} items stored"]
        if self.known:
            parts.append(f"{self.known:,} known before")
        if self.failed:
            parts.append(f"{self.failed:,} refused")
        return ", ".join(parts) + (f"; job {self.job_id}" if self.job_id else "")


def import_rows(table: InputTable, settings: Settings, *, source: str, consumer: str) -> Imported:
    """Store the rows of `table` for `consumer`. Raises NotFound where there is no such consumer."""
    imported = Imported()
    with open_administration(settings) as administration:
        if consumer != LOCAL:
            consumer = administration.consumers.find(consumer).name
        rows = table.rows
        while chunk := list(islice(rows, CHUNK)):
            items = list(usable(chunk, table, imported, source=source, most_chars=settings.limits.text_chars))
            if not items:
                continue
            imported.job_id, placed = administration.feedback.add(
                items, consumer=consumer, task=settings.feedback.task, job_id=imported.job_id
            )
            new = sum(one.is_new for one in placed)
            imported.stored += new
            imported.known += len(placed) - new
    return imported


def usable(
    rows: list[Row], table: InputTable, imported: Imported, *, source: str, most_chars: int
) -> Iterator[NewItem]:
    """The items of rows that can be stored; of the others it is noted why they cannot."""
    for row in rows:
        try:
            if row.error is not None:
                raise row.error
            document = document_of(row.columns, table, source=source)
            yield read_item(document, most_chars=most_chars)
        except GatewayError as error:
            imported.failed += 1
            if len(imported.refused) < MOST_TOLD:
                where = "" if row.error is not None else f"line {row.line}: "
                imported.refused.append(f"{where}{error.detail}")


def document_of(columns: Mapping[str, Any], table: InputTable, *, source: str) -> dict[str, Any]:
    """A row as `POST /v1/feedback` would be sent it; empty cells are none, and unknown columns are metadata."""
    given = {name: value for name, value in columns.items() if value is not None and value != ""}
    document: dict[str, Any] = {"text": columns.get(table.text_column, ""), "source": source}
    document |= {name: given[name] for name in FIELDS if name in given}
    if "id" in given:
        document.setdefault("external_id", given["id"])
    if table.input_format == "csv" and "rating" in document:
        document["rating"] = number(document["rating"])
    rest = {name: value for name, value in given.items() if name not in (*FIELDS, "id", "metadata", table.text_column)}
    metadata = given.get("metadata", {})
    return document | {"metadata": metadata | rest if isinstance(metadata, dict) else metadata}


def number(cell: str) -> Any:
    """The number that a cell holds, else the cell."""
    try:
        return json.loads(cell)
    except ValueError:
        return cell
