"""What calls are for, so that what runs beside an answer is told apart from it, in the log and in the sums."""

import sqlalchemy as sa
from alembic import op

from feedback_gateway.storage.columns import Money, UtcDateTime

revision = "0004"
down_revision = "0003"

KEPT = "usage_rollups_kept"


def upgrade() -> None:
    """Add the columns; every call so far was asked for by somebody."""
    for table in ("calls", "reservations"):
        op.add_column(table, sa.Column("purpose", sa.Text(), nullable=False, server_default="answer"))
    op.add_column("calls", sa.Column("beside", sa.String(26)))
    compared = sa.text("beside IS NOT NULL")
    op.create_index(
        "ix_calls_task_created_at_beside",
        "calls",
        ["task", "created_at"],
        sqlite_where=compared,
        postgresql_where=compared,
    )
    keep_sums()
    create_sums(sa.Column("purpose", sa.Text(), nullable=False), key=("purpose",))
    names = "grain, starts_at, consumer, task, model"
    op.execute(f"INSERT INTO usage_rollups SELECT {names}, 'answer', {figures()} FROM {KEPT}")  # noqa: S608
    op.drop_table(KEPT)


def downgrade() -> None:
    """Drop the columns, and add up what they told apart."""
    op.drop_index("ix_calls_task_created_at_beside", "calls")
    op.drop_column("calls", "beside")
    op.drop_column("calls", "purpose")
    op.drop_column("reservations", "purpose")
    keep_sums()
    create_sums()
    names = "grain, starts_at, consumer, task, model"
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    add = "decimal_sum" if on_sqlite else "sum"
    sums = ", ".join(f"{add if name.endswith('usd') else 'sum'}({name})" for name in figures().split(", "))
    op.execute(f"INSERT INTO usage_rollups SELECT {names}, {sums} FROM {KEPT} GROUP BY {names}")  # noqa: S608
    op.drop_table(KEPT)


def keep_sums() -> None:
    """Set the sums aside: neither database changes a primary key in place."""
    op.execute(f"CREATE TABLE {KEPT} AS SELECT * FROM usage_rollups")  # noqa: S608
    op.drop_table("usage_rollups")


def create_sums(*columns: sa.Column[str], key: tuple[str, ...] = ()) -> None:
    """The table of the sums, with more columns in its key."""
    op.create_table(
        "usage_rollups",
        sa.Column("grain", sa.String(4), nullable=False),
        sa.Column("starts_at", UtcDateTime(), nullable=False),
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        *columns,
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("cached_calls", sa.BigInteger(), nullable=False),
        sa.Column("failed_calls", sa.BigInteger(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost_usd", Money(), nullable=False),
        sa.Column("saved_usd", Money(), nullable=False),
        sa.Column("unknown_cost_calls", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("grain", "starts_at", "consumer", "task", "model", *key, name="pk_usage_rollups"),
        sqlite_with_rowid=False,
    )


def figures() -> str:
    """What is added up, in the order of the table."""
    return (
        "calls, cached_calls, failed_calls, input_tokens, cached_input_tokens, output_tokens, cost_usd, saved_usd, "
        "unknown_cost_calls"
    )
