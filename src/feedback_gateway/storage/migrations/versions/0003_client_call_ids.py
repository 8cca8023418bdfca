"""The ids that callers give their calls, found by them."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column, and an index of the calls that have one."""
    op.add_column("calls", sa.Column("client_call_id", sa.Text()))
    given = sa.text("client_call_id IS NOT NULL")
    op.create_index(
        "ix_calls_client_call_id",
        "calls",
        ["client_call_id", "created_at"],
        sqlite_where=given,
        postgresql_where=given,
    )


def downgrade() -> None:
    """Drop both."""
    op.drop_index("ix_calls_client_call_id", "calls")
    op.drop_column("calls", "client_call_id")
