"""Keeps the calls' sums by hour and by day true, in the transactions that change the calls. Reads none of them."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, literal, update

from feedback_gateway.calls.spans import DAY, HOUR, start_of
from feedback_gateway.calls.tables import usage_rollups
from feedback_gateway.storage.columns import EXACT, ExactAdd, Money
from feedback_gateway.storage.upserts import insert_or_update

ZERO = Decimal(0)
GRAINS = {"day": DAY, "hour": HOUR}
KEY = ("grain", "starts_at", "consumer", "task", "model")
TOKENS = ("input_tokens", "cached_input_tokens", "output_tokens")
COUNTS = ("calls", "cached_calls", "failed_calls", *TOKENS, "unknown_cost_calls")
AMOUNTS = ("cost_usd", "saved_usd")

Row = Mapping[Any, Any]
"""A row of `calls`, by the names of its columns."""


def add_calls(connection: Connection, added: Iterable[Row], *, removed: Iterable[Row] = ()) -> None:
    """Count rows of `calls` in, and those of `removed` out again, by the transaction that inserts and deletes them.

    To be done last in it: other processes that write wait for its end from then on.
    """
    sums: dict[tuple[Any, ...], dict[str, Any]] = {}
    for sign, rows in ((1, added), (-1, removed)):
        for call in rows:
            figures = figures_of(call)
            for key in keys_of(call):
                total = sums.setdefault(key, dict.fromkeys(COUNTS, 0) | dict.fromkeys(AMOUNTS, ZERO))
                for name in COUNTS:
                    total[name] += sign * figures[name]
                for name in AMOUNTS:
                    total[name] = EXACT.fma(figures[name], sign, total[name])
    rows = [dict(zip(KEY, key, strict=True)) | total for key, total in sums.items()]
    insert_or_update(connection, usage_rollups, rows, add=[*COUNTS, *AMOUNTS])


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


def keys_of(call: Row) -> list[tuple[str, datetime, str, str, str]]:
    """Where a call is counted: in its day, and in its hour."""
    return [
        (grain, start_of(call["created_at"], unit), call["consumer"], call["task"], call["model"])
        for grain, unit in GRAINS.items()
    ]


def figures_of(call: Row) -> dict[str, Any]:
    """What one call adds to the sums; tokens and money as they are in its row."""
    return {
        "calls": 1,
        "cached_calls": int(call["cached"]),
        "failed_calls": int(call["status"] == "failed"),
        **{name: call[name] for name in TOKENS},
        "unknown_cost_calls": int(call["cost_usd"] is None),
        "cost_usd": call["cost_usd"] or ZERO,
        "saved_usd": call["saved_usd"],
    }
