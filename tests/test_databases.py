"""What tests are given to keep things in is real, and empty."""

from typing import LiteralString

import psycopg
import pytest
import redis
from sqlalchemy import Engine, func, insert, select

from feedback_gateway.calls.booking import call_row
from feedback_gateway.calls.tables import calls
from tests.databases import Databases, OpenDatabase
from tests.llm.calls import new_call


def add_call(engine: Engine) -> int:
    """How many calls there are, with one more."""
    with engine.begin() as connection:
        connection.execute(insert(calls), call_row(new_call()))
        return connection.scalar(select(func.count()).select_from(calls)) or 0


@pytest.mark.parametrize("time", ["first", "second"])
def test_a_database_is_empty_when_a_test_begins(engine: Engine, time: str) -> None:
    """Whatever another one left."""
    assert add_call(engine) == 1


def test_a_database_is_empty_when_it_is_opened_again(open_database: OpenDatabase) -> None:
    """And nobody else's meanwhile."""
    for _ in range(2):
        with open_database() as one, open_database() as other:
            assert (add_call(one), add_call(other)) == (1, 1)


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE attempts",
        "CREATE TABLE theirs (id int)",
        "ALTER TABLE payloads ADD CONSTRAINT refused CHECK (inputs NOT LIKE '%x%')",
        "ALTER TABLE payloads ADD COLUMN more text",
        "DROP INDEX ix_ledger_call_id",
        "REVOKE USAGE ON SCHEMA public FROM PUBLIC",
    ],
)
def test_a_database_of_another_shape_is_lent_to_nobody_again(
    postgresql_databases: Databases, change: LiteralString
) -> None:
    """It is no longer what the next test needs."""
    with postgresql_databases.lend() as spoiled, psycopg.connect(spoiled) as connection:
        connection.execute(change)

    with postgresql_databases.lend() as url:
        assert url != spoiled


@pytest.mark.parametrize("time", ["first", "second"])
def test_redis_is_empty_when_a_test_begins(redis_url: str, time: str) -> None:
    """And it is a real one."""
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("key", "value")
