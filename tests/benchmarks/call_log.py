"""A call log of any length over 30 days, of 20 consumers, 8 tasks and 3 models, made within the database."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path

from sqlalchemy import Connection, Engine, text

from feedback_gateway.storage.engine import open_engine, upgrade
from tests.servers import postgres_programs, postgres_server

START = datetime(2025, 1, 1, tzinfo=UTC)
SPAN = timedelta(days=30)
REVISION = "feedback_gateway.storage.migrations.versions.0002_consumers_ledger_and_usage"
NUMBERS = {
    "sqlite": "(WITH RECURSIVE n(i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM n WHERE i < :last) SELECT i FROM n) n",
    "postgresql": "generate_series(0, :last) AS n(i)",
}
WORDS = {
    "sqlite": {
        "id": "printf('01MILLION%017d', i)",
        "at": "datetime(:start + i * :step / 1000, 'unixepoch') || '.000000'",
        "cost": "printf('0.%07d', 1000 + i % 9000)",
        "nothing": "'0'",
    },
    "postgresql": {
        "id": "'01MILLION' || lpad(i::text, 17, '0')",
        "at": "to_timestamp(:start + i::bigint * :step / 1000)",
        "cost": "(1000 + i % 9000) * 0.0000001",
        "nothing": "0",
    },
}
CALLS = """
    INSERT INTO calls SELECT {id}, {at}, 'consumer-' || (i % 20), 'task-' || (i / 20 % 8), 1, 'model-' || (i / 160 % 3),
        'openai/gpt-5-mini', CASE WHEN i % 97 = 0 THEN 'failed' ELSE 'ok' END, NULL, (i % 50 = 0), 812.345, 0, 1,
        612, 256, 0, 58, 12, (i % 2 = 2), CASE WHEN i % 31 = 0 THEN NULL ELSE {cost} END, {nothing}, NULL,
        'answer', NULL, NULL FROM {numbers}
"""
ATTEMPTS = """
    INSERT INTO attempts SELECT {id}, 1, 'openai/gpt-5-mini', 'openai/gpt-5-mini', 'answer', 'ok', NULL, 200, 'stop',
        {at}, 811.02, 356, 256, 0, 58, 12, (i % 2 = 2), {cost} FROM {numbers}
"""
CHARGES = """
    INSERT INTO ledger SELECT {id}, {id}, 'charge', {cost}, 'consumer-' || (i % 20), 'task-' || (i / 20 % 8),
        'model-' || (i / 160 % 3), {at}, {at}, NULL, NULL FROM {numbers}
"""


def fill(engine: Engine, *, calls: int, with_attempts: bool) -> None:
    """Make `calls` calls, with their sums, evenly spread from START on over SPAN; and their attempts and charges."""
    with engine.begin() as connection:
        statements = [CALLS, ATTEMPTS, CHARGES] if with_attempts else [CALLS]
        for statement in statements:
            _insert(connection, statement, calls)
        add_up_calls(connection)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE" if engine.dialect.name == "sqlite" else "VACUUM ANALYZE"))


def add_up_calls(connection: Connection) -> None:
    """Count the calls by hour, and the hours by day, as the migration that began with it did."""
    on_sqlite = connection.dialect.name == "sqlite"
    add, utc_start = "decimal_sum" if on_sqlite else "sum", import_module(REVISION).utc_start
    hour = "substr(created_at, 1, 13) || ':00:00.000000'" if on_sqlite else utc_start("hour", "created_at")
    day = "substr(starts_at, 1, 10) || ' 00:00:00.000000'" if on_sqlite else utc_start("day", "starts_at")
    connection.exec_driver_sql(f"""
        INSERT INTO usage_rollups
        SELECT 'hour', {hour} AS starts, consumer, task, model, purpose, count(*),
            sum(CASE WHEN cached THEN 1 ELSE 0 END), sum(CASE WHEN status = 'failed' THEN 1 ELSE 0 END),
            sum(input_tokens), sum(cached_input_tokens),
            sum(output_tokens), coalesce({add}(cost_usd), '0'), {add}(saved_usd), count(*) - count(cost_usd)
        FROM calls GROUP BY starts, consumer, task, model, purpose
    """)
    connection.exec_driver_sql(f"""
        INSERT INTO usage_rollups
        SELECT 'day', {day} AS starts, consumer, task, model, purpose, sum(calls), sum(cached_calls), sum(failed_calls),
            sum(input_tokens), sum(cached_input_tokens), sum(output_tokens), {add}(cost_usd), {add}(saved_usd),
            sum(unknown_cost_calls)
        FROM usage_rollups GROUP BY starts, consumer, task, model, purpose
    """)


def kinds() -> list[str]:
    """The databases that are here."""
    return ["sqlite", "postgresql"] if postgres_programs() else ["sqlite"]


@contextmanager
def empty_database(kind: str) -> Iterator[Engine]:
    """A database that is as durable as an operator's."""
    if kind == "postgresql":
        with postgres_server(fast=False) as server:
            yield from _opened(server.url())
    else:
        folder = Path(tempfile.mkdtemp())
        try:
            yield from _opened(f"sqlite:///{folder / 'calls.db'}")
        finally:
            shutil.rmtree(folder)


def _opened(url: str) -> Iterator[Engine]:
    engine = open_engine(url)
    upgrade(engine)
    try:
        yield engine
    finally:
        engine.dispose()


def _insert(connection: Connection, statement: str, calls: int) -> None:
    kind = connection.dialect.name
    step = round(SPAN / timedelta(milliseconds=1) / calls)
    connection.execute(
        text(statement.format(numbers=NUMBERS[kind], **WORDS[kind]).replace(":%", "\\:%")),
        {"last": calls - 1, "start": round(START.timestamp()), "step": step},
    )
