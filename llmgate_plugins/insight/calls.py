"""Finds calls in the books by their ids, or by how these begin."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import select

from llmgate_plugins.insight.books import open_books
from llmgate_plugins.ledger.plain import plain_text
from llmgate_plugins.ledger.schema import calls
from llmgate_plugins.services import Ledger

__all__ = ["find_calls"]

MOST: Final = 10
"""Calls that are told of; whoever finds more has to say more of the id."""


def find_calls(ledger: Ledger | str, call_id: str) -> list[dict[str, Any]]:
    """Rows of the calls whose id this is, or else begins so: at most ten, newest first.

    Args:
        ledger: A gateway's, or the URL of one in a database.
        call_id: Not empty.

    Raises:
        ConfigurationError: No such ledger.
        StorageError: It could not be read.
    """
    call_id = plain_text(call_id)
    if not isinstance(ledger, str) and not getattr(ledger, "durable", False):
        rows = ledger.calls(call_id) or [
            row for row in ledger.calls() if str(row["call_id"]).startswith(call_id)
        ]
        return rows[::-1][:MOST]
    with open_books(ledger) as books:
        for condition in (calls.c.call_id == call_id, calls.c.call_id.startswith(call_id, autoescape=True)):
            query = select(calls).where(condition).order_by(calls.c.at.desc()).limit(MOST)
            rows = [dict(row) for row in books.connection.execute(query).mappings()]
            if rows:
                return rows
    return []
