"""Keeps the calls' sums by hour and by day true, in the transactions that change the calls. Reads none of them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, literal, update

from feedback_gateway.calls.spans import DAY, HOUR, start_of
from feedback_gateway.calls.tables import usage_rollups
from feedback_gateway.storage.columns import EXACT, ExactAdd, Money
from feedback_gateway.storage.upserts import insert_or_update

ZERO = Decimal(0)
GRAINS = {"day": DAY, "hour": HOUR}
KEY = ("grain", "starts_at", "consumer", "task", "model", "purpose")
TOKENS = ("input_tokens", "cached_input_tokens", "output_tokens")
COUNTS = ("calls", "cached_calls", "failed_calls", *TOKENS, "unknown_cost_calls")
AMOUNTS = ("cost_usd", "saved_usd")
FIGURES = (*COUNTS, *AMOUNTS)
NAMES = KEY[2:]
NONE = (*(0 for _ in COUNTS), *(ZERO for _ in AMOUNTS))

Row = Mapping[Any, Any]
"""A row of `calls`, by the names of its columns."""


def add_calls(connection: Connection, added: Iterable[Row], *, removed: Iterable[Row] = ()) -> None:
    """Count rows of `calls` in, and those of `removed` out again, by the transaction that inserts and deletes them.

    To be done last in it: other processes that write wait for its end from then on.
    """
    hours: dict[tuple[Any, ...], list[Any]] = {}
    for sign, rows in ((1, added), (-1, removed)):
        for call in rows:
            key = (hour_of(call["created_at"]), *[call[name] for name in NAMES])
            add_up(hours.setdefault(key, list(NONE)), figures_of(call), sign)
    sums: dict[tuple[Any, ...], list[Any]] = {}
    for (hour, *names), total in hours.items():
        for grain, unit in GRAINS.items():
            add_up(sums.setdefault((grain, start_of(hour, unit), *names), list(NONE)), total, 1)
    rows = [dict(zip((*KEY, *FIGURES), (*key, *total), strict=True)) for key, total in sums.items()]
    insert_or_update(connection, usage_rollups, rows, add=FIGURES)


def add_up(total: list[Any], figures: Sequence[Any], sign: int) -> None:
    """Add figures, or with a sign of -1 take them away."""
    for place, figure in enumerate(figures):
        if figure:
            is_amount = place >= len(COUNTS)
            total[place] = EXACT.fma(figure, sign, total[place]) if is_amount else total[place] + sign * figure


def hour_of(moment: datetime) -> datetime:
    """The first moment of its hour; the short way to `start_of`."""
    moment = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return moment.replace(minute=0, second=0, microsecond=0)


def change_cost(connection: Connection, call: Row, *, before: Decimal | None, after: Decimal) -> None:
    """Correct what a call is reported to have cost; `before` is None where that was unknown so far."""
    delta = EXACT.subtract(after, before or ZERO)
    table = usage_rollups
    for key in keys_of(call):
        where = [table.c[name] == value for name, value in zip(KEY, key, strict=True)]
        connection.execute(
            update(table)
            .where(*where)
            .values(
                cost_usd=ExactAdd(table.c.cost_usd, literal(delta, Money())),
                unknown_cost_calls=table.c.unknown_cost_calls - int(before is None),
            )
        )


def keys_of(call: Row) -> list[tuple[str, datetime, str, str, str, str]]:
    """Where a call is counted: in its day, and in its hour."""
    return [
        (grain, start_of(call["created_at"], unit), call["consumer"], call["task"], call["model"], call["purpose"])
        for grain, unit in GRAINS.items()
    ]


def figures_of(call: Row) -> tuple[Any, ...]:
    """What one call adds to the sums, in the order of FIGURES; tokens and money as they are in its row."""
    cost = call["cost_usd"]
    return (
        1,
        int(call["cached"]),
        int(call["status"] == "failed"),
        *[call[name] for name in TOKENS],
        int(cost is None),
        cost or ZERO,
        call["saved_usd"],
    )
