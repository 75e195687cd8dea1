"""The tables of the ledger, the same in every database."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    false,
    text,
)

from llmgate_plugins.ledger.facts import CONTEXT_COLUMNS
from llmgate_plugins.types import BUCKETS

__all__ = [
    "REVISION",
    "SCHEMA_VERSION",
    "assignments",
    "attempts",
    "calls",
    "contents",
    "feedback",
    "metadata",
    "revision",
    "schema",
]

SCHEMA_VERSION = 3
"""Raise it with every change of these tables, and give the change a migration."""

metadata = MetaData()

schema = Table(
    "llmgate_schema",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
)
"""One row, id 1: which version of the tables this database has."""

revision = Table("alembic_version", metadata, Column("version_num", String(32), primary_key=True))
"""One row: the same, as alembic has it."""

REVISION = f"{SCHEMA_VERSION:04}"


def _amount(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


def _usage() -> list[Column[int] | Column[bool]]:
    return [
        *(_amount(f"{bucket}_tokens") for bucket in BUCKETS),
        Column("estimated", Boolean, nullable=False),
    ]


def _context() -> list[Column[str] | Column[int]]:
    return [
        *(Column(column, Text) for column in CONTEXT_COLUMNS.values()),
        Column("policy_version", Text),
    ]


attempts = Table(
    "attempts",
    metadata,
    Column("call_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("settled_at", Double),
    Column("requested_model", Text),
    Column("alias", Text, nullable=False),
    Column("deployment", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("served_model", Text),
    Column("region", Text),
    Column("credential", Text),
    Column("operation", Text),
    Column("stream", Boolean),
    Column("reason", Text, nullable=False),
    Column("decision_id", Text),
    Column("trace_id", Text),
    Column("status", Text, nullable=False),
    Column("late", Boolean, nullable=False, server_default=false()),
    Column("error_class", Text),
    Column("scope", Text),
    Column("code", Text),
    Column("http_status", Integer),
    Column("finish_reason", Text),
    Column("service_tier", Text),
    *_usage(),
    _amount("estimate_nano_usd"),
    _amount("reserve_nano_usd"),
    _amount("reserve_tokens"),
    Column("expires", Double),
    _amount("cost_nano_usd"),
    Column("price_source", Text),
    Column("price_as_of", Text),
    Column("latency_s", Double),
    Column("first_token_s", Double),
    *_context(),
    Column("priority", Integer),
    Column("shadow_of", Text),
    Column("tags", JSON, nullable=False),
    Column("extra", JSON, nullable=False),
    sqlite_with_rowid=False,
)
Index("attempts_at", attempts.c.at)
# Recovery looks for intents only, and there are never many.
Index(
    "attempts_open",
    attempts.c.at,
    sqlite_where=attempts.c.status == "intent",
    postgresql_where=attempts.c.status == "intent",
)


def _by_fact(table: Table, fact: str) -> None:
    """An index of one fact and time. A row without that fact costs nothing."""
    known = table.c[fact].is_not(None)
    Index(f"{table.name}_{fact}", table.c[fact], table.c.at, sqlite_where=known, postgresql_where=known)


# What one of them has used since some moment.
for _fact in ("tenant", "team", "project", "user_id", "key_id", "feature"):
    _by_fact(attempts, _fact)

calls = Table(
    "calls",
    metadata,
    Column("call_id", Text, primary_key=True),
    Column("at", Double, nullable=False),
    Column("model", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("status", Text, nullable=False),
    Column("served_by", Text),
    Column("served_provider", Text),
    Column("served_model", Text),
    Column("served_alias", Text),
    Column("first_deployment", Text),
    Column("attempts", Integer, nullable=False),
    *_usage(),
    _amount("cost_nano_usd"),
    Column("latency_s", Double, nullable=False),
    Column("first_token_s", Double),
    Column("denied_by", Text),
    Column("reason", Text, nullable=False),
    Column("error", Text),
    Column("error_class", Text),
    Column("trace_id", Text),
    *_context(),
    Column("rule", Text),
    Column("shadow_of", Text),
    Column("priority", Integer, nullable=False),
    Column("tags", JSON, nullable=False),
    Column("extra", JSON, nullable=False),
    Column("problems", JSON, nullable=False),
    Column("decision", JSON, nullable=False),
    Column("experiments", JSON),
    Column("shape", JSON),
)
Index("calls_at", calls.c.at)
_is_shadow = calls.c.shadow_of.is_not(None)
Index("calls_shadow_of", calls.c.shadow_of, sqlite_where=_is_shadow, postgresql_where=_is_shadow)
_by_fact(calls, "tenant")  # what of one tenant has been kept long enough

contents = Table(
    "contents",
    metadata,
    Column("call_id", Text, primary_key=True),
    Column("at", Double, nullable=False),
    Column("tenant", Text),
    Column("messages", JSON, nullable=False),
    Column("answer", JSON),
)
"""What was asked and answered, only where configuration says so."""
Index("contents_at", contents.c.at)

assignments = Table(
    "assignments",
    metadata,
    Column("experiment", Text, primary_key=True),
    Column("call_id", Text, primary_key=True),
    Column("arm", Text, nullable=False),
    Column("unit_hash", Text),
    Column("at", Double, nullable=False),
    sqlite_with_rowid=False,
)
"""Which call was under which arm of which experiment: `calls.experiments`, to be found by experiment."""
Index("assignments_at", assignments.c.experiment, assignments.c.at)
Index("assignments_call_id", assignments.c.call_id)

feedback = Table(
    "feedback",
    metadata,
    Column("id", Text, primary_key=True),
    Column("call_id", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("name", Text, nullable=False),
    Column("score", Double),
    Column("comment", Text),
    Column("source", Text),
)
"""What people or programs said of answers, afterwards."""
Index("feedback_call_id", feedback.c.call_id)
Index("feedback_at", feedback.c.at)
