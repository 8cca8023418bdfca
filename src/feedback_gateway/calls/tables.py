"""The tables of the call log. `storage/migrations` creates them; a test holds both to be the same."""

from sqlalchemy import BigInteger, Boolean, Column, Double, ForeignKey, Index, Integer, String, Table, Text

from feedback_gateway.storage.columns import Money, UtcDateTime, metadata

# `beside` is the call that this one was made to be compared with: `purpose` says why (see calls/models.py).
# The tokens of a call are sums over its attempts: `input_tokens` counts the whole prompt, `cached_input_tokens` and
# `cache_write_tokens` are parts of it. A cost of NULL is unknown, which is not zero.
calls = Table(
    "calls",
    metadata,
    Column("call_id", String(26), primary_key=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("consumer", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("prompt_version", Integer, nullable=False),
    Column("model", Text, nullable=False),
    Column("deployment", Text),
    Column("status", Text, nullable=False),
    Column("error", Text),
    Column("cached", Boolean, nullable=False),
    Column("latency_ms", Double, nullable=False),
    Column("dropped_evidence", Integer, nullable=False),
    Column("attempt_count", Integer, nullable=False),
    Column("input_tokens", Integer, nullable=False),
    Column("cached_input_tokens", Integer, nullable=False),
    Column("cache_write_tokens", Integer, nullable=False),
    Column("output_tokens", Integer, nullable=False),
    Column("reasoning_tokens", Integer, nullable=False),
    Column("usage_estimated", Boolean, nullable=False),
    Column("cost_usd", Money),
    Column("saved_usd", Money, nullable=False),
    Column("client_call_id", Text),
    Column("purpose", Text, nullable=False, server_default="answer"),
    Column("beside", String(26)),
    Column("taxonomy_version", String(12)),
    sqlite_with_rowid=False,
)
Index("ix_calls_created_at_call_id", calls.c.created_at, calls.c.call_id)
Index("ix_calls_consumer_created_at_call_id", calls.c.consumer, calls.c.created_at, calls.c.call_id)
Index(
    "ix_calls_client_call_id",
    calls.c.client_call_id,
    calls.c.created_at,
    sqlite_where=calls.c.client_call_id.is_not(None),  # on PostgreSQL too: see storage/columns.py
)

Index(
    "ix_calls_task_created_at_beside",
    calls.c.task,
    calls.c.created_at,
    sqlite_where=calls.c.beside.is_not(None),
)

# The tokens of an attempt are disjoint, but for `reasoning_tokens`, a part of the output; NULL where nobody knows them.
attempts = Table(
    "attempts",
    metadata,
    Column("call_id", String(26), ForeignKey("calls.call_id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("deployment", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("error", Text),
    Column("http_status", Integer),
    Column("finish_reason", Text),
    Column("started_at", UtcDateTime, nullable=False),
    Column("latency_ms", Double, nullable=False),
    Column("uncached_input_tokens", Integer),
    Column("cache_read_tokens", Integer),
    Column("cache_write_tokens", Integer),
    Column("output_tokens", Integer),
    Column("reasoning_tokens", Integer),
    Column("usage_estimated", Boolean, nullable=False),
    Column("cost_usd", Money),
    sqlite_with_rowid=False,
)

# What went in and came out of a call, as JSON, redacted unless the operator wanted it otherwise.
payloads = Table(
    "payloads",
    metadata,
    Column("call_id", String(26), ForeignKey("calls.call_id", ondelete="CASCADE"), primary_key=True),
    Column("inputs", Text, nullable=False),
    Column("result", Text),
)

# What a model would have called the category that it missed, of the calls whose texts are kept; `text_digest` tells
# texts apart that say the same.
category_suggestions = Table(
    "category_suggestions",
    metadata,
    Column("call_id", String(26), ForeignKey("calls.call_id", ondelete="CASCADE"), primary_key=True),
    Column("suggestion", Text, nullable=False),
    Column("text_digest", String(32), nullable=False),
    sqlite_with_rowid=False,
)

# The calls' sums by hour and by day (`grain`), so that a report need not read the calls. `cost_usd` adds up what is
# known, corrections included; `unknown_cost_calls` counts the calls that it leaves out.
usage_rollups = Table(
    "usage_rollups",
    metadata,
    Column("grain", String(4), primary_key=True),
    Column("starts_at", UtcDateTime, primary_key=True),
    Column("consumer", Text, primary_key=True),
    Column("task", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("purpose", Text, primary_key=True),
    Column("calls", BigInteger, nullable=False),
    Column("cached_calls", BigInteger, nullable=False),
    Column("failed_calls", BigInteger, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("cached_input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cost_usd", Money, nullable=False),
    Column("saved_usd", Money, nullable=False),
    Column("unknown_cost_calls", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
