"""The tables of taxonomies. `storage/migrations` creates them; a test holds both to be the same."""

from sqlalchemy import JSON, Column, Integer, String, Table, Text

from feedback_gateway.storage.columns import UtcDateTime, metadata

# Every taxonomy that ever served, by the hash of what it says, so that an old result can be explained.
taxonomy_versions = Table(
    "taxonomy_versions",
    metadata,
    Column("version", String(12), primary_key=True),
    Column("label", Text),
    Column("content", Text, nullable=False),
    Column("first_seen_at", UtcDateTime, nullable=False),
    sqlite_with_rowid=False,
)

# What a person said to a proposal. `forms` are the spellings it was about, `support` how many items asked for it then;
# `category`, `parent` and `taxonomy_version` are of those that were accepted.
taxonomy_decisions = Table(
    "taxonomy_decisions",
    metadata,
    Column("decision_id", String(26), primary_key=True),
    Column("proposal_id", String(12), nullable=False),
    Column("verdict", Text, nullable=False),
    Column("forms", JSON, nullable=False),
    Column("support", Integer, nullable=False),
    Column("category", Text),
    Column("parent", Text),
    Column("taxonomy_version", String(12)),
    Column("by", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    sqlite_with_rowid=False,
)
