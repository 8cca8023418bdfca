"""Versions of the taxonomy, categories that models suggest, and what people decided about them."""

import sqlalchemy as sa
from alembic import op

from feedback_gateway.storage.columns import UtcDateTime

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column and the tables."""
    op.add_column("calls", sa.Column("taxonomy_version", sa.String(12)))
    op.create_table(
        "category_suggestions",
        sa.Column("call_id", sa.String(26), nullable=False),
        sa.Column("suggestion", sa.Text(), nullable=False),
        sa.Column("text_digest", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("call_id", name="pk_category_suggestions"),
        sa.ForeignKeyConstraint(
            ["call_id"], ["calls.call_id"], name="fk_category_suggestions_call_id_calls", ondelete="CASCADE"
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "taxonomy_versions",
        sa.Column("version", sa.String(12), nullable=False),
        sa.Column("label", sa.Text()),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("first_seen_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_taxonomy_versions"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "taxonomy_decisions",
        sa.Column("decision_id", sa.String(26), nullable=False),
        sa.Column("proposal_id", sa.String(12), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("forms", sa.JSON(), nullable=False),
        sa.Column("support", sa.Integer(), nullable=False),
        sa.Column("category", sa.Text()),
        sa.Column("parent", sa.Text()),
        sa.Column("taxonomy_version", sa.String(12)),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("decision_id", name="pk_taxonomy_decisions"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("taxonomy_decisions", "taxonomy_versions", "category_suggestions"):
        op.drop_table(table)
    op.drop_column("calls", "taxonomy_version")
