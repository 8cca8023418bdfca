"""The migrations and the tables in the code say the same."""

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from feedback_gateway.calls import tables
from feedback_gateway.storage.engine import HEAD, open_engine, upgrade

METADATA = tables.calls.metadata


def statements(connection: Connection) -> set[str]:
    """Every statement that made the schema."""
    query = text("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND tbl_name != 'alembic_version'")
    return {" ".join(statement.split()) for statement in connection.scalars(query)}


def test_migrations_and_tables_do_not_differ_for_alembic(tmp_path: Path) -> None:
    """`alembic revision --autogenerate` would write an empty revision."""
    engine = open_engine(f"sqlite:///{tmp_path / 'migrated.db'}")
    upgrade(engine)

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        differences = compare_metadata(context, METADATA)
    engine.dispose()

    assert differences == []


def test_migrations_make_the_very_tables_of_the_code(tmp_path: Path) -> None:
    """Statement by statement, for what Alembic does not compare: names, order, options."""
    migrated = open_engine(f"sqlite:///{tmp_path / 'migrated.db'}")
    created = open_engine(f"sqlite:///{tmp_path / 'created.db'}")
    upgrade(migrated)
    with created.begin() as connection:
        METADATA.create_all(connection)

    with migrated.connect() as left, created.connect() as right:
        ours, theirs = statements(left), statements(right)
    migrated.dispose()
    created.dispose()

    assert ours == theirs
    assert len(ours) == len(METADATA.tables) + sum(len(table.indexes) for table in METADATA.tables.values())


def test_the_code_knows_the_newest_revision() -> None:
    """`upgrade` compares with HEAD, so as not to load Alembic."""
    config = Config()
    config.set_main_option("script_location", "feedback_gateway.storage:migrations")

    scripts = ScriptDirectory.from_config(config)

    assert scripts.get_heads() == [HEAD]
    assert [script.revision for script in scripts.walk_revisions()] == sorted(
        (script.revision for script in scripts.walk_revisions()), reverse=True
    )
