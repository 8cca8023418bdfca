"""What was asked and what it cost, added up in the database to the last digit. Blocks: call it from a thread."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from sqlalchemy import Engine, case, func, select
from sqlalchemy.sql import ColumnElement

from feedback_gateway.calls.spreadsheets import guarded
from feedback_gateway.calls.tables import calls
from feedback_gateway.errors import InvalidRequest, Problem
from feedback_gateway.storage.columns import ExactSum, UtcDay
from feedback_gateway.storage.engine import storage_errors

Grouping = Literal["consumer", "task", "model", "day"]
GROUPINGS: Mapping[Grouping, ColumnElement[str]] = {
    "consumer": calls.c.consumer,
    "task": calls.c.task,
    "model": calls.c.model,
    "day": UtcDay(calls.c.created_at),
}
AGO = re.compile(r"(\d{1,9})\s*([smhdw])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    """The calls that share the values in `group`. `input_tokens` counts whole prompts, cached parts included.

    `cost_usd` adds up the known costs and is None where none is known; `unknown_cost_calls` counts the calls
    that it leaves out.
    """

    group: Mapping[Grouping, str]
    calls: int
    cached_calls: int
    failed_calls: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None
    saved_usd: Decimal
    unknown_cost_calls: int

    def fields(self) -> dict[str, str | int | Decimal | None]:
        """The grouping fields, then the figures, by the names that callers see."""
        figures = {name: getattr(self, name) for name in self.__slots__ if name != "group"}
        return {**{str(name): value for name, value in self.group.items()}, **figures}


class UsageReport:
    """Usage and cost over the call log. Raises ConfigurationError or Unavailable where the database fails."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def usage(
        self,
        group_by: Sequence[Grouping] = (),
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        consumer: str | None = None,
    ) -> list[UsageRow]:
        """One row for each combination of `group_by` that occurs, in their order; one row of all without grouping.

        Counts calls made at `since` or later and before `until`; days are UTC's.
        """
        keys = [GROUPINGS[name].label(f"by_{name}") for name in group_by]
        query = select(*keys, *_figures()).group_by(*keys).order_by(*keys)
        if since is not None:
            query = query.where(calls.c.created_at >= since)
        if until is not None:
            query = query.where(calls.c.created_at < until)
        if consumer is not None:
            query = query.where(calls.c.consumer == consumer)
        with storage_errors(self._engine), self._engine.connect() as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
        return [_usage_row(row, group_by) for row in rows if row["calls"]]


def parse_groupings(value: str) -> tuple[Grouping, ...]:
    """Read `consumer,day`: each at most once, in the order given. Raises InvalidRequest."""
    names = [name.strip() for name in value.split(",") if name.strip()]
    unknown = [name for name in names if name not in GROUPINGS]
    if unknown or len(set(names)) < len(names):
        message = f"takes {', '.join(GROUPINGS)}, each once"
        raise InvalidRequest(f"group_by: {message}", problems=[Problem(("group_by",), message)])
    return tuple(grouping for name in names for grouping in GROUPINGS if grouping == name)


def parse_moment(value: str, *, now: datetime, name: str = "since") -> datetime:
    """Read `24h`, `7d`, `90m`, `2w` or `30s` before `now`, or an ISO 8601 date or time; in UTC where it names no zone.

    Raises InvalidRequest about the parameter `name`.
    """
    value = value.strip()
    try:
        if ago := AGO.fullmatch(value):
            return now - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        # A `+` that was not escaped in a URL arrives as a space.
        moment = datetime.fromisoformat(re.sub(r" (\d{2}:?\d{2})$", r"+\1", value) if "T" in value else value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        message = f"write a time such as 24h, 7d, {date(2026, 3, 1)} or 2026-03-01T12:00:00Z"
        raise InvalidRequest(f"{name}: {message}", problems=[Problem((name,), message)]) from None


def as_csv(rows: Iterable[Mapping[str, object]]) -> str:
    """Comma-separated values with a header, lines ending in CR LF (RFC 4180); empty for no rows.

    Text that a spreadsheet would run as a formula gets an apostrophe before it; None becomes an empty cell.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    for number, row in enumerate(rows):
        if number == 0:
            writer.writerow([_cell(name) for name in row])
        writer.writerow([_cell(value) for value in row.values()])
    return out.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, Decimal):
        return format(value, "f")
    return guarded(value) if isinstance(value, str) else value


def _figures() -> list[ColumnElement[Any]]:
    return [
        func.count().label("calls"),
        _count(calls.c.cached).label("cached_calls"),
        _count(calls.c.status == "failed").label("failed_calls"),
        func.sum(calls.c.input_tokens).label("input_tokens"),
        func.sum(calls.c.cached_input_tokens).label("cached_input_tokens"),
        func.sum(calls.c.output_tokens).label("output_tokens"),
        ExactSum(calls.c.cost_usd).label("cost_usd"),
        ExactSum(calls.c.saved_usd).label("saved_usd"),
        _count(calls.c.cost_usd.is_(None)).label("unknown_cost_calls"),
    ]


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((condition, 1), else_=0))


def _usage_row(row: Mapping[str, Any], group_by: Sequence[Grouping]) -> UsageRow:
    figures = {name: row[name] for name in UsageRow.__slots__ if name != "group"}
    return UsageRow(group={name: row[f"by_{name}"] for name in group_by}, **figures)
