"""Calls and their attempts."""

import sqlalchemy as sa
from alembic import op

from feedback_gateway.storage.columns import Money, UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create both tables."""
    create_calls()
    create_attempts()


def create_calls() -> None:
    """One row a call, found by time, and by consumer and time."""
    op.create_table(
        "calls",
        sa.Column("call_id", sa.String(26), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("prompt_version", sa.Integer(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("cached", sa.Boolean(), nullable=False),
        sa.Column("latency_ms", sa.Double(), nullable=False),
        sa.Column("dropped_evidence", sa.Integer(), nullable=False),
        sa.Column("attempt_count", sa.Integer(), nullable=False),
        sa.Column("input_tokens", sa.Integer(), nullable=False),
        sa.Column("cached_input_tokens", sa.Integer(), nullable=False),
        sa.Column("cache_write_tokens", sa.Integer(), nullable=False),
        sa.Column("output_tokens", sa.Integer(), nullable=False),
        sa.Column("reasoning_tokens", sa.Integer(), nullable=False),
        sa.Column("usage_estimated", sa.Boolean(), nullable=False),
        sa.Column("cost_usd", Money()),
        sa.Column("saved_usd", Money(), nullable=False),
        sa.PrimaryKeyConstraint("call_id", name="pk_calls"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_calls_created_at_call_id", "calls", ["created_at", "call_id"])
    op.create_index("ix_calls_consumer_created_at_call_id", "calls", ["consumer", "created_at", "call_id"])


def create_attempts() -> None:
    """One row an attempt, gone with its call."""
    op.create_table(
        "attempts",
        sa.Column("call_id", sa.String(26), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("http_status", sa.Integer()),
        sa.Column("finish_reason", sa.Text()),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("latency_ms", sa.Double(), nullable=False),
        sa.Column("uncached_input_tokens", sa.Integer()),
        sa.Column("cache_read_tokens", sa.Integer()),
        sa.Column("cache_write_tokens", sa.Integer()),
        sa.Column("output_tokens", sa.Integer()),
        sa.Column("reasoning_tokens", sa.Integer()),
        sa.Column("usage_estimated", sa.Boolean(), nullable=False),
        sa.Column("cost_usd", Money()),
        sa.PrimaryKeyConstraint("call_id", "number", name="pk_attempts"),
        sa.ForeignKeyConstraint(["call_id"], ["calls.call_id"], name="fk_attempts_call_id_calls", ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop both tables."""
    op.drop_table("attempts")
    op.drop_table("calls")
