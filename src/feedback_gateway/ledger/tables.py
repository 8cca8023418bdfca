"""The tables of the money. `storage/migrations` creates them; a test holds both to be the same."""

from sqlalchemy import Column, Index, Integer, String, Table, Text

from feedback_gateway.storage.columns import Money, UtcDateTime, metadata

# What is set aside for calls that are under way; a row goes when its call is settled. NULL: no price is known.
reservations = Table(
    "reservations",
    metadata,
    Column("call_id", String(26), primary_key=True),
    Column("consumer", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("prompt_version", Integer, nullable=False),
    Column("model", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("owner", Text, nullable=False),
    Column("amount_usd", Money),
    Column("purpose", Text, nullable=False, server_default="answer"),
    sqlite_with_rowid=False,
)
Index("ix_reservations_consumer", reservations.c.consumer)
Index("ix_reservations_owner", reservations.c.owner)

# One line for each call that cost something, and one for each correction; lines are added and never changed.
ledger = Table(
    "ledger",
    metadata,
    Column("entry_id", String(40), primary_key=True),
    Column("call_id", String(26), nullable=False),
    Column("kind", Text, nullable=False),
    Column("amount_usd", Money),
    Column("consumer", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("booked_at", UtcDateTime, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("by", Text),
    Column("reason", Text),
    sqlite_with_rowid=False,
)
Index("ix_ledger_call_id", ledger.c.call_id)
Index("ix_ledger_created_at_entry_id", ledger.c.created_at, ledger.c.entry_id)
Index("ix_ledger_kind_booked_at", ledger.c.kind, ledger.c.booked_at)

# The ledger's sums by consumer, task and period, so that a budget is a look at a few rows.
spend = Table(
    "spend",
    metadata,
    Column("consumer", Text, primary_key=True),
    Column("period", Text, primary_key=True),
    Column("starts_at", UtcDateTime, primary_key=True),
    Column("task", Text, primary_key=True),
    Column("spent_usd", Money, nullable=False),
    sqlite_with_rowid=False,
)
