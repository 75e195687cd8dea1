"""Which rule and arm a call was under, whose shadow it is, what it looked like; feedback."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """From version 2 to version 3. What was not known then stays empty."""
    for table in ("attempts", "calls"):
        op.add_column(table, sa.Column("shadow_of", sa.Text))
    op.add_column("calls", sa.Column("rule", sa.Text))
    op.add_column("calls", sa.Column("experiments", sa.JSON))
    op.add_column("calls", sa.Column("shape", sa.JSON))
    known = sa.text("shadow_of IS NOT NULL")
    op.create_index("calls_shadow_of", "calls", ["shadow_of"], sqlite_where=known, postgresql_where=known)
    op.create_table(
        "assignments",
        sa.Column("experiment", sa.Text, primary_key=True),
        sa.Column("call_id", sa.Text, primary_key=True),
        sa.Column("arm", sa.Text, nullable=False),
        sa.Column("unit_hash", sa.Text),
        sa.Column("at", sa.Double, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("assignments_at", "assignments", ["experiment", "at"])
    op.create_index("assignments_call_id", "assignments", ["call_id"])
    op.create_table(
        "feedback",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("call_id", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("score", sa.Double),
        sa.Column("comment", sa.Text),
        sa.Column("source", sa.Text),
    )
    op.create_index("feedback_call_id", "feedback", ["call_id"])
    op.create_index("feedback_at", "feedback", ["at"])
    op.execute("UPDATE llmgate_schema SET version = 3")
