"""The migrations and the tables in the code say the same."""

from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

from feedback_gateway.calls import tables
from feedback_gateway.consumers import tables as _consumers  # noqa: F401 its tables are of the same metadata
from feedback_gateway.feedback import tables as _feedback  # noqa: F401 likewise
from feedback_gateway.ledger import tables as _ledger  # noqa: F401 likewise
from feedback_gateway.storage.engine import HEAD, open_engine, upgrade
from feedback_gateway.taxonomies import tables as _taxonomies  # noqa: F401 likewise
from tests.servers import PostgresServer

METADATA = tables.calls.metadata


def test_migrations_and_tables_do_not_differ_for_alembic(engine: Engine) -> None:
    """`alembic revision --autogenerate` would write an empty revision."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        differences = compare_metadata(context, METADATA)

    assert differences == []


def statements_of_sqlite(engine: Engine) -> set[str]:
    """Every statement that made the schema."""
    query = text("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND tbl_name != 'alembic_version'")
    with engine.connect() as connection:
        return {" ".join(statement.split()) for statement in connection.scalars(query)}


def test_migrations_make_the_very_tables_of_the_code(sqlite_engine: Engine, tmp_path: Path) -> None:
    """Statement by statement, for what Alembic does not compare: names, order, options."""
    created = open_engine(f"sqlite:///{tmp_path / 'created.db'}")
    METADATA.create_all(created)

    ours, theirs = statements_of_sqlite(sqlite_engine), statements_of_sqlite(created)
    created.dispose()

    assert ours == theirs
    assert len(ours) == len(METADATA.tables) + sum(len(table.indexes) for table in METADATA.tables.values())


def test_migrations_make_the_very_tables_of_the_code_on_postgresql(
    postgres: PostgresServer, postgresql_engine: Engine
) -> None:
    """As PostgreSQL itself writes them down."""
    postgres.execute("CREATE DATABASE created")
    created = open_engine(postgres.url("created"))
    METADATA.create_all(created)
    created.dispose()

    ours = postgres.schema(str(postgresql_engine.url.database), without="alembic_version")

    assert ours == postgres.schema("created")
    assert "CREATE TABLE public.calls" in ours


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_what_was_migrated_can_be_migrated_back(kind: str, request: pytest.FixtureRequest) -> None:
    """Down to nothing, and up again."""
    engine: Engine = request.getfixturevalue(f"{kind}_engine")
    config = Config()
    config.set_main_option("script_location", "feedback_gateway.storage:migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        left = set(inspect(connection).get_table_names())

    upgrade(engine)

    assert left == {"alembic_version"}
    assert set(inspect(engine).get_table_names()) == {*METADATA.tables, "alembic_version"}


def test_the_code_knows_the_newest_revision() -> None:
    """`upgrade` compares with HEAD, so as not to load Alembic."""
    config = Config()
    config.set_main_option("script_location", "feedback_gateway.storage:migrations")

    scripts = ScriptDirectory.from_config(config)

    assert scripts.get_heads() == [HEAD]
    assert [script.revision for script in scripts.walk_revisions()] == sorted(
        (script.revision for script in scripts.walk_revisions()), reverse=True
    )
