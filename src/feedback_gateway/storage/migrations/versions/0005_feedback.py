"""Stored feedback: items, runs and analyses, corrections, jobs."""

import sqlalchemy as sa
from alembic import op

from feedback_gateway.storage.columns import UtcDateTime

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the tables."""
    create_items()
    create_runs()
    create_analyses()
    create_jobs()


def create_items() -> None:
    """What users wrote, and what people correct of it."""
    op.create_table(
        "feedback_items",
        sa.Column("item_id", sa.String(26), nullable=False),
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text()),
        sa.Column("author_id", sa.Text()),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("rating", sa.Double()),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("review", sa.Text()),
        sa.PrimaryKeyConstraint("item_id", name="pk_feedback_items"),
    )
    waiting = sa.text("review IS NOT NULL")
    op.create_index(
        "ix_feedback_items_review",
        "feedback_items",
        ["received_at", "item_id"],
        sqlite_where=waiting,
        postgresql_where=waiting,
    )
    once = ["consumer", "source", "external_id"]
    op.create_index("uq_feedback_items_external_id", "feedback_items", once, unique=True)
    op.create_index("ix_feedback_items_created_at", "feedback_items", ["created_at", "item_id"])
    op.create_index("ix_feedback_items_consumer_created_at", "feedback_items", ["consumer", "created_at", "item_id"])
    op.create_table(
        "corrections",
        sa.Column("correction_id", sa.String(26), nullable=False),
        sa.Column("item_id", sa.String(26), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("correction_id", name="pk_corrections"),
        of_item("corrections"),
    )
    op.create_index("ix_corrections_item_id", "corrections", ["item_id"])


def create_runs() -> None:
    """What is to be analysed."""
    op.create_table(
        "runs",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("item_id", sa.String(26), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("problem", sa.Text()),
        sa.Column("bundle", sa.String(26)),
        sa.PrimaryKeyConstraint("run_id", name="pk_runs"),
        of_item("runs"),
    )
    op.create_index("ix_runs_item_id", "runs", ["item_id"])
    queued = sa.text("bundle IS NOT NULL")
    op.create_index("ix_runs_bundle", "runs", ["bundle"], sqlite_where=queued, postgresql_where=queued)
    op.create_index("ix_runs_status_due_at", "runs", ["status", "due_at", "run_id"])


def create_analyses() -> None:
    """What came of it."""
    op.create_table(
        "analyses",
        sa.Column("analysis_id", sa.String(26), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("item_id", sa.String(26), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("prompt_version", sa.Integer(), nullable=False),
        sa.Column("taxonomy_version", sa.Text()),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("call_id", sa.String(26), nullable=False),
        sa.Column("result", sa.JSON(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("analysis_id", name="pk_analyses"),
        of_item("analyses"),
    )
    op.create_index("uq_analyses_run_id", "analyses", ["run_id"], unique=True)
    op.create_index("ix_analyses_item_id", "analyses", ["item_id"])
    op.create_index("ix_analyses_call_id", "analyses", ["call_id"])


def create_jobs() -> None:
    """Who asked for it."""
    op.create_table(
        "jobs",
        sa.Column("job_id", sa.String(26), nullable=False),
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name="pk_jobs"),
    )
    op.create_table(
        "job_runs",
        sa.Column("job_id", sa.String(26), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "run_id", name="pk_job_runs"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.job_id"], name="fk_job_runs_job_id_jobs", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_job_runs_run_id_runs", ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_job_runs_run_id", "job_runs", ["run_id"])


def of_item(table: str) -> sa.ForeignKeyConstraint:
    """The key of rows that go with their item."""
    name = f"fk_{table}_item_id_feedback_items"
    return sa.ForeignKeyConstraint(["item_id"], ["feedback_items.item_id"], name=name, ondelete="CASCADE")


def downgrade() -> None:
    """Drop the tables."""
    for name in ("job_runs", "jobs", "analyses", "runs", "corrections", "feedback_items"):
        op.drop_table(name)
