"""The tables of those who call. `storage/migrations` creates them; a test holds both to be the same."""

from sqlalchemy import JSON, Boolean, Column, ForeignKey, Index, Integer, String, Table, Text

from feedback_gateway.storage.columns import Money, UtcDateTime, metadata

# `tasks` and `models` are the scopes, NULL for all; they and the limits are NULL where nothing is refused.
consumers = Table(
    "consumers",
    metadata,
    Column("consumer_id", String(26), primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("disabled_at", UtcDateTime),
    Column("tasks", JSON(none_as_null=True)),
    Column("models", JSON(none_as_null=True)),
    Column("requests_per_minute", Integer),
    Column("tokens_per_minute", Integer),
    sqlite_with_rowid=False,
)
Index("uq_consumers_name", consumers.c.name, unique=True)

# `task` is empty for a budget of all tasks.
budgets = Table(
    "budgets",
    metadata,
    Column("consumer_id", String(26), ForeignKey("consumers.consumer_id", ondelete="CASCADE"), primary_key=True),
    Column("task", Text, primary_key=True),
    Column("limit_usd", Money, nullable=False),
    Column("period", Text, nullable=False),
    Column("warn_at", Money, nullable=False),
    sqlite_with_rowid=False,
)

# `digest` is the keyed hash of the key, in hexadecimal. A row stays when its key is revoked.
keys = Table(
    "keys",
    metadata,
    Column("key_id", String(26), primary_key=True),
    Column("consumer_id", String(26), ForeignKey("consumers.consumer_id"), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("prefix", Text, nullable=False),
    Column("is_admin", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    sqlite_with_rowid=False,
)
Index("uq_keys_digest", keys.c.digest, unique=True)
Index("ix_keys_consumer_id", keys.c.consumer_id)

# What the gateway made up for itself once and needs again, such as the secret that keys are hashed with.
secrets = Table(
    "secrets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    sqlite_with_rowid=False,
)
