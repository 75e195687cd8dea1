"""Keys, policies, decisions and traces; what limits held; five more buckets; contents."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BUCKETS = ("cache_write_1h", "audio_input", "image_input", "audio_output", "image_output")
BY_WHOM = ("tenant", "team", "project", "user_id", "key_id", "feature")


def upgrade() -> None:
    """From version 1 to version 2. What was not known then stays empty."""
    for table in ("attempts", "calls"):
        for bucket in BUCKETS:
            _add(table, _amount(f"{bucket}_tokens"))
        _add(table, sa.Column("key_id", sa.Text))
        _add(table, sa.Column("policy_version", sa.Text))
        _add(table, sa.Column("trace_id", sa.Text))
    for name in (
        "requested_model",
        "operation",
        "decision_id",
        "scope",
        "code",
        "service_tier",
    ):
        _add("attempts", sa.Column(name, sa.Text))
    _add("attempts", sa.Column("settled_at", sa.Double))
    _add("attempts", sa.Column("stream", sa.Boolean))
    _add("attempts", sa.Column("late", sa.Boolean, nullable=False, server_default=sa.false()))
    _add("attempts", _amount("reserve_nano_usd"))
    _add("attempts", _amount("reserve_tokens"))
    _add("attempts", sa.Column("expires", sa.Double))
    _add("attempts", sa.Column("priority", sa.Integer))
    for name in ("served_provider", "served_model", "served_alias", "first_deployment", "error_class"):
        _add("calls", sa.Column(name, sa.Text))
    for table, name in (*(("attempts", name) for name in BY_WHOM), ("calls", "tenant")):
        known = sa.text(f"{name} IS NOT NULL")
        op.create_index(f"{table}_{name}", table, [name, "at"], sqlite_where=known, postgresql_where=known)
    op.create_table(
        "contents",
        sa.Column("call_id", sa.Text, primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("tenant", sa.Text),
        sa.Column("messages", sa.JSON, nullable=False),
        sa.Column("answer", sa.JSON),
    )
    op.create_index("contents_at", "contents", ["at"])
    op.execute("UPDATE llmgate_schema SET version = 2")


def _add(table: str, column: sa.Column[Any]) -> None:
    op.add_column(table, column)


def _amount(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0"))
