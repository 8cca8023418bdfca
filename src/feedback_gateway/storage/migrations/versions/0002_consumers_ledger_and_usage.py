"""Consumers, keys and budgets; holds, ledger and spend; payloads and usage by hour and day."""

import sqlalchemy as sa
from alembic import op

from feedback_gateway.storage.columns import Money, UtcDateTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the tables, and add up the calls that there are."""
    create_consumers()
    create_keys()
    create_ledger()
    create_log()
    add_up_calls(op.get_bind())


def create_consumers() -> None:
    """Who calls."""
    op.create_table(
        "consumers",
        sa.Column("consumer_id", sa.String(26), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("disabled_at", UtcDateTime()),
        sa.Column("tasks", sa.JSON(none_as_null=True)),
        sa.Column("models", sa.JSON(none_as_null=True)),
        sa.Column("requests_per_minute", sa.Integer()),
        sa.Column("tokens_per_minute", sa.Integer()),
        sa.PrimaryKeyConstraint("consumer_id", name="pk_consumers"),
        sqlite_with_rowid=False,
    )
    op.create_index("uq_consumers_name", "consumers", ["name"], unique=True)
    op.create_table(
        "budgets",
        sa.Column("consumer_id", sa.String(26), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("limit_usd", Money(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("warn_at", Money(), nullable=False),
        sa.PrimaryKeyConstraint("consumer_id", "task", name="pk_budgets"),
        sa.ForeignKeyConstraint(
            ["consumer_id"], ["consumers.consumer_id"], name="fk_budgets_consumer_id_consumers", ondelete="CASCADE"
        ),
        sqlite_with_rowid=False,
    )


def create_keys() -> None:
    """What names them."""
    op.create_table(
        "keys",
        sa.Column("key_id", sa.String(26), nullable=False),
        sa.Column("consumer_id", sa.String(26), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("is_admin", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime()),
        sa.Column("revoked_at", UtcDateTime()),
        sa.PrimaryKeyConstraint("key_id", name="pk_keys"),
        sa.ForeignKeyConstraint(["consumer_id"], ["consumers.consumer_id"], name="fk_keys_consumer_id_consumers"),
        sqlite_with_rowid=False,
    )
    op.create_index("uq_keys_digest", "keys", ["digest"], unique=True)
    op.create_index("ix_keys_consumer_id", "keys", ["consumer_id"])
    op.create_table(
        "secrets",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_secrets"),
        sqlite_with_rowid=False,
    )


def create_ledger() -> None:
    """The money."""
    op.create_table(
        "reservations",
        sa.Column("call_id", sa.String(26), nullable=False),
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("prompt_version", sa.Integer(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("amount_usd", Money()),
        sa.PrimaryKeyConstraint("call_id", name="pk_reservations"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_reservations_consumer", "reservations", ["consumer"])
    op.create_index("ix_reservations_owner", "reservations", ["owner"])
    op.create_table(
        "ledger",
        sa.Column("entry_id", sa.String(40), nullable=False),
        sa.Column("call_id", sa.String(26), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount_usd", Money()),
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("booked_at", UtcDateTime(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("by", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.PrimaryKeyConstraint("entry_id", name="pk_ledger"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_ledger_call_id", "ledger", ["call_id"])
    op.create_index("ix_ledger_created_at_entry_id", "ledger", ["created_at", "entry_id"])
    op.create_index("ix_ledger_kind_booked_at", "ledger", ["kind", "booked_at"])
    op.create_table(
        "spend",
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("starts_at", UtcDateTime(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("spent_usd", Money(), nullable=False),
        sa.PrimaryKeyConstraint("consumer", "period", "starts_at", "task", name="pk_spend"),
        sqlite_with_rowid=False,
    )


def create_log() -> None:
    """What the call log has gained."""
    op.create_table(
        "payloads",
        sa.Column("call_id", sa.String(26), nullable=False),
        sa.Column("inputs", sa.Text(), nullable=False),
        sa.Column("result", sa.Text()),
        sa.PrimaryKeyConstraint("call_id", name="pk_payloads"),
        sa.ForeignKeyConstraint(["call_id"], ["calls.call_id"], name="fk_payloads_call_id_calls", ondelete="CASCADE"),
    )
    op.create_table(
        "usage_rollups",
        sa.Column("grain", sa.String(4), nullable=False),
        sa.Column("starts_at", UtcDateTime(), nullable=False),
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("cached_calls", sa.BigInteger(), nullable=False),
        sa.Column("failed_calls", sa.BigInteger(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost_usd", Money(), nullable=False),
        sa.Column("saved_usd", Money(), nullable=False),
        sa.Column("unknown_cost_calls", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("grain", "starts_at", "consumer", "task", "model", name="pk_usage_rollups"),
        sqlite_with_rowid=False,
    )


def add_up_calls(connection: sa.Connection) -> None:
    """Count the calls by hour, and the hours by day. Earlier calls have no lines in the ledger, nor count as spent."""
    on_sqlite = connection.dialect.name == "sqlite"
    add = "decimal_sum" if on_sqlite else "sum"
    hour = "substr(created_at, 1, 13) || ':00:00.000000'" if on_sqlite else utc_start("hour", "created_at")
    day = "substr(starts_at, 1, 10) || ' 00:00:00.000000'" if on_sqlite else utc_start("day", "starts_at")
    connection.exec_driver_sql(f"""
        INSERT INTO usage_rollups
        SELECT 'hour', {hour} AS starts, consumer, task, model, count(*), sum(CASE WHEN cached THEN 1 ELSE 0 END),
            sum(CASE WHEN status = 'failed' THEN 1 ELSE 0 END), sum(input_tokens), sum(cached_input_tokens),
            sum(output_tokens), coalesce({add}(cost_usd), '0'), {add}(saved_usd), count(*) - count(cost_usd)
        FROM calls GROUP BY starts, consumer, task, model
    """)  # noqa: S608 - nothing in it is from outside
    connection.exec_driver_sql(f"""
        INSERT INTO usage_rollups
        SELECT 'day', {day} AS starts, consumer, task, model, sum(calls), sum(cached_calls), sum(failed_calls),
            sum(input_tokens), sum(cached_input_tokens), sum(output_tokens), {add}(cost_usd), {add}(saved_usd),
            sum(unknown_cost_calls)
        FROM usage_rollups GROUP BY starts, consumer, task, model
    """)  # noqa: S608 - nothing in it is from outside


def utc_start(unit: str, moment: str) -> str:
    """The first moment, on PostgreSQL, of the UTC hour or day that `moment` is in."""
    return f"date_trunc('{unit}', {moment}, 'UTC')"


def downgrade() -> None:
    """Drop the tables."""
    for name in (
        "usage_rollups",
        "payloads",
        "spend",
        "ledger",
        "reservations",
        "secrets",
        "keys",
        "budgets",
        "consumers",
    ):
        op.drop_table(name)
