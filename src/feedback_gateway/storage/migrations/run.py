"""Runs Alembic without its command line or an ini file."""

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def migrate(connection: Connection) -> None:
    """Bring the schema to the newest revision, in the transaction that `connection` is in."""
    config = Config()
    config.set_main_option("script_location", "feedback_gateway.storage:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
