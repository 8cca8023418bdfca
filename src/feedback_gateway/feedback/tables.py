"""The tables of stored feedback. `storage/migrations` creates them; a test holds both to be the same."""

from sqlalchemy import JSON, Column, Double, ForeignKey, Index, Integer, String, Table, Text

from feedback_gateway.storage.columns import UtcDateTime, metadata

# `created_at` is when it was written, `received_at` when it came here. NULL is no external id, and as many as like may
# have none. `status` is that of the item's first run; see `runs`. `review` says why a person should look at it,
# in names with spaces between; NULL where nobody need.
feedback_items = Table(
    "feedback_items",
    metadata,
    Column("item_id", String(26), primary_key=True),
    Column("consumer", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("external_id", Text),
    Column("author_id", Text),
    Column("text", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("rating", Double),
    Column("metadata", JSON, nullable=False),
    Column("status", Text, nullable=False),
    Column("review", Text),
)
Index(
    "uq_feedback_items_external_id",
    feedback_items.c.consumer,
    feedback_items.c.source,
    feedback_items.c.external_id,
    unique=True,
)
to_be_reviewed = feedback_items.c.review.is_not(None)
Index(
    "ix_feedback_items_review",
    feedback_items.c.received_at,
    feedback_items.c.item_id,
    sqlite_where=to_be_reviewed,
    postgresql_where=to_be_reviewed,
)
Index("ix_feedback_items_created_at", feedback_items.c.created_at, feedback_items.c.item_id)
Index(
    "ix_feedback_items_consumer_created_at",
    feedback_items.c.consumer,
    feedback_items.c.created_at,
    feedback_items.c.item_id,
)

# A run is one analysis of one item that is to be made, once: `run_id` names it for good, whoever tries it how often.
# `tries` counts what was tried, `due_at` is when a waiting one is tried again, or when a queued one is looked after,
# `problem` why it waits or failed; `options` are those of the task call that are set. `bundle` names what is queued
# together.
runs = Table(
    "runs",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("item_id", String(26), ForeignKey("feedback_items.item_id", ondelete="CASCADE"), nullable=False),
    Column("task", Text, nullable=False),
    Column("options", JSON, nullable=False),
    Column("status", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("problem", Text),
    Column("bundle", String(26)),
)
Index("ix_runs_item_id", runs.c.item_id)
Index("ix_runs_bundle", runs.c.bundle, sqlite_where=runs.c.bundle.is_not(None))
Index("ix_runs_status_due_at", runs.c.status, runs.c.due_at, runs.c.run_id)

# What came of a run; `by` is the deployment that answered. An item's newest analysis of a task is the current one.
analyses = Table(
    "analyses",
    metadata,
    Column("analysis_id", String(26), primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("item_id", String(26), ForeignKey("feedback_items.item_id", ondelete="CASCADE"), nullable=False),
    Column("task", Text, nullable=False),
    Column("prompt_version", Integer, nullable=False),
    Column("taxonomy_version", Text),
    Column("model", Text, nullable=False),
    Column("call_id", String(26), nullable=False),
    Column("result", JSON, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)
Index("uq_analyses_run_id", analyses.c.run_id, unique=True)
Index("ix_analyses_item_id", analyses.c.item_id)
Index("ix_analyses_call_id", analyses.c.call_id)

# What a person says a field should be; the newest of a field wins.
corrections = Table(
    "corrections",
    metadata,
    Column("correction_id", String(26), primary_key=True),
    Column("item_id", String(26), ForeignKey("feedback_items.item_id", ondelete="CASCADE"), nullable=False),
    Column("field", Text, nullable=False),
    Column("value", JSON, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text),
    Column("at", UtcDateTime, nullable=False),
)
Index("ix_corrections_item_id", corrections.c.item_id)

# A job is what one request asked for: its runs, of which several jobs may want the same one.
jobs = Table(
    "jobs",
    metadata,
    Column("job_id", String(26), primary_key=True),
    Column("consumer", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)
job_runs = Table(
    "job_runs",
    metadata,
    Column("job_id", String(26), ForeignKey("jobs.job_id", ondelete="CASCADE"), primary_key=True),
    Column("run_id", Text, ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True),
    sqlite_with_rowid=False,
)
Index("ix_job_runs_run_id", job_runs.c.run_id)
