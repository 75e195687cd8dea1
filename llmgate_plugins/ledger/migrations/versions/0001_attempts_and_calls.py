"""Attempts and calls, as the first ledgers had them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BUCKETS = ("input", "cached_input", "cache_write", "output", "reasoning")
FACTS = (
    "tenant",
    "team",
    "project",
    "user_id",
    "feature",
    "cohort",
    "environment",
    "required_region",
    "data_class",
    "policy",
)


def upgrade() -> None:
    """From nothing to version 1."""
    op.create_table(
        "llmgate_schema",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("version", sa.Integer, nullable=False),
    )
    op.create_table(
        "attempts",
        sa.Column("call_id", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("alias", sa.Text, nullable=False),
        sa.Column("deployment", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("served_model", sa.Text),
        sa.Column("region", sa.Text),
        sa.Column("credential", sa.Text),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("error_class", sa.Text),
        sa.Column("http_status", sa.Integer),
        sa.Column("finish_reason", sa.Text),
        *(sa.Column(f"{bucket}_tokens", sa.BigInteger, nullable=False) for bucket in BUCKETS),
        sa.Column("estimated", sa.Boolean, nullable=False),
        sa.Column("estimate_nano_usd", sa.BigInteger, nullable=False),
        sa.Column("cost_nano_usd", sa.BigInteger, nullable=False),
        sa.Column("price_source", sa.Text),
        sa.Column("price_as_of", sa.Text),
        sa.Column("latency_s", sa.Double),
        sa.Column("first_token_s", sa.Double),
        *(sa.Column(fact, sa.Text) for fact in FACTS),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.Column("extra", sa.JSON, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("attempts_at", "attempts", ["at"])
    is_open = sa.text("status = 'intent'")
    op.create_index("attempts_open", "attempts", ["at"], sqlite_where=is_open, postgresql_where=is_open)
    op.create_table(
        "calls",
        sa.Column("call_id", sa.Text, primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("stream", sa.Boolean, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("served_by", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False),
        *(sa.Column(f"{bucket}_tokens", sa.BigInteger, nullable=False) for bucket in BUCKETS),
        sa.Column("estimated", sa.Boolean, nullable=False),
        sa.Column("cost_nano_usd", sa.BigInteger, nullable=False),
        sa.Column("latency_s", sa.Double, nullable=False),
        sa.Column("first_token_s", sa.Double),
        sa.Column("denied_by", sa.Text),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("error", sa.Text),
        *(sa.Column(fact, sa.Text) for fact in FACTS),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.Column("extra", sa.JSON, nullable=False),
        sa.Column("problems", sa.JSON, nullable=False),
        sa.Column("decision", sa.JSON, nullable=False),
    )
    op.create_index("calls_at", "calls", ["at"])
    op.execute("INSERT INTO llmgate_schema (id, version) VALUES (1, 1)")
