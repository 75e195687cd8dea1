"""What alembic runs: the steps, on the connection that `upgrading` hands over."""

from __future__ import annotations

from alembic import context

from llmgate_plugins.ledger.schema import metadata, revision

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=revision.name,
)
context.run_migrations()
