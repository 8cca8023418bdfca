"""What was asked and what it cost, to the last digit, from the calls' sums by day and hour. Blocks: use a thread."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from sqlalchemy import BigInteger, Connection, Engine, Select, Subquery, and_, case, cast, func, literal, select
from sqlalchemy.sql import ColumnElement

from feedback_gateway.calls.rollups import AMOUNTS, COUNTS, TOKENS, ZERO
from feedback_gateway.calls.spans import DAY, HOUR, Span, cut, span_between, start_of
from feedback_gateway.calls.spreadsheets import guarded
from feedback_gateway.calls.tables import calls, usage_rollups
from feedback_gateway.errors import InvalidRequest, Problem
from feedback_gateway.ledger.tables import ledger
from feedback_gateway.storage.columns import EXACT, ExactSum, UtcDay
from feedback_gateway.storage.engine import reading

Grouping = Literal["consumer", "task", "model", "day", "purpose"]
GROUPINGS: tuple[Grouping, ...] = ("consumer", "task", "model", "day", "purpose")
FIGURES = COUNTS + AMOUNTS
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
    """Usage and cost of all calls. Raises ConfigurationError or Unavailable where the database fails."""

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

        Counts calls made at `since` or later and before `until`; days are UTC's. It reaches back further than the call
        log: an hour some of whose calls have left it counts whole, also where the period begins or ends within it.
        """
        width = len(group_by)
        totals: dict[tuple[str, ...], tuple[Any, ...]] = {}
        with reading(self._engine) as connection:
            for grain, source in _sources(connection, span_between(since, until)):
                query = _query(source, group_by, consumer, is_summed=grain != "day" or width < len(GROUPINGS))
                for row in connection.execute(query).all():
                    key, figures = row[:width], row[width:]
                    totals[key] = _added(totals[key], figures) if key in totals else figures
        return [_usage_row(group_by, key, totals[key]) for key in sorted(totals) if totals[key][0]]


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


def _sources(connection: Connection, span: Span) -> Iterator[tuple[str, Subquery]]:
    """By grain, what adds up to the calls in `span`: sums of days, of hours at its ends, calls where it cuts one."""
    hours, parts = cut(span, HOUR)
    for part in parts:
        hour = Span(start_of(part.since, HOUR), start_of(part.since, HOUR) + HOUR)
        if _is_all_logged(connection, hour):
            yield "call", _logged(part)
        else:
            yield "hour", _rollups("hour", hour)
    for one in hours:
        days, rest = cut(one, DAY)
        yield from (("day", _rollups("day", day)) for day in days)
        yield from (("hour", _rollups("hour", hour)) for hour in rest)


def _is_all_logged(connection: Connection, hour: Span) -> bool:
    """Whether the log still has every call of an hour."""
    logged = select(func.count()).select_from(calls).where(_within(calls.c.created_at, hour))
    counted = select(func.sum(usage_rollups.c.calls)).where(
        usage_rollups.c.grain == "hour", usage_rollups.c.starts_at == hour.since
    )
    return bool((connection.scalar(logged) or 0) >= (connection.scalar(counted) or 0))


def _rollups(grain: str, span: Span) -> Subquery:
    """The sums of the hours or days in `span`."""
    starts_at = usage_rollups.c.starts_at
    return select(usage_rollups).where(usage_rollups.c.grain == grain, _within(starts_at, span)).subquery()


def _logged(span: Span) -> Subquery:
    """Each call in `span` as if it were a sum. What was corrected cost what its lines in the ledger add up to.

    Corrections that name nobody set the charge of a call right, not its cost: its row has that already.
    """
    corrected = select(ledger.c.call_id).where(
        ledger.c.kind == "correction", ledger.c.by.is_not(None), _within(ledger.c.booked_at, span)
    )
    lines = select(ledger.c.call_id, ExactSum(ledger.c.amount_usd).label("cost_usd"))
    lines_of = lines.where(ledger.c.call_id.in_(corrected)).group_by(ledger.c.call_id).subquery()
    cost_usd = case((lines_of.c.call_id.is_not(None), lines_of.c.cost_usd), else_=calls.c.cost_usd)
    columns = [calls.c[name] for name in ("task", "model", "purpose", *TOKENS, "saved_usd")]
    counted = {
        # No plain column: SQLite would read all calls in the order of consumers to spare itself the grouping.
        "consumer": calls.c.consumer.concat(""),
        "starts_at": calls.c.created_at,
        "calls": literal(1),
        "cached_calls": _one_if(calls.c.cached),
        "failed_calls": _one_if(calls.c.status == "failed"),
        "unknown_cost_calls": _one_if(cost_usd.is_(None)),
        "cost_usd": cost_usd,
    }
    query = select(*columns, *(column.label(name) for name, column in counted.items()))
    joined = calls.outerjoin(lines_of, lines_of.c.call_id == calls.c.call_id)
    return query.select_from(joined).where(_within(calls.c.created_at, span)).subquery()


def _query(source: Subquery, group_by: Sequence[Grouping], consumer: str | None, *, is_summed: bool) -> Select[Any]:
    """The keys and figures of `source`, summed up in the database unless each row is a group of its own as it is."""
    keys = [UtcDay(source.c.starts_at) if name == "day" else source.c[name] for name in group_by]
    query = select(*keys, *(source.c[name] for name in FIGURES))
    if is_summed:
        counts = [cast(func.sum(source.c[name]), BigInteger) for name in COUNTS]
        query = select(*keys, *counts, *(ExactSum(source.c[name]) for name in AMOUNTS)).group_by(*keys)
    return query if consumer is None else query.where(source.c.consumer == consumer)


def _within(moment: ColumnElement[datetime], span: Span) -> ColumnElement[bool]:
    return and_(moment >= span.since, moment < span.until)


def _one_if(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return case((condition, 1), else_=0)


def _added(left: Iterable[Any], right: Iterable[Any]) -> tuple[Any, ...]:
    """Two rows of figures as one; money that there is none of is None."""
    return tuple(
        EXACT.add(one or ZERO, other or ZERO) if name in AMOUNTS else (one or 0) + (other or 0)
        for name, one, other in zip(FIGURES, left, right, strict=True)
    )


def _usage_row(group_by: Sequence[Grouping], key: Iterable[str], sums: Iterable[Any]) -> UsageRow:
    figures = dict(zip(FIGURES, sums, strict=True))
    if figures["calls"] == figures["unknown_cost_calls"]:
        figures["cost_usd"] = None
    return UsageRow(group=dict(zip(group_by, key, strict=True)), **figures)
