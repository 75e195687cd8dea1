"""The books of a replayed gateway: what limits need to know of the time before it. Nothing is written."""

from __future__ import annotations

from collections.abc import Mapping

from llmgate_plugins.insight.books import Books
from llmgate_plugins.ledger import MemoryLedger
from llmgate_plugins.ledger.tables import standing_in
from llmgate_plugins.services import ShadowCalls, Standing

__all__ = ["ReplayLedger"]


class ReplayLedger(MemoryLedger):
    """Reads what was before from the recorded books.

    Args:
        books: The recorded ones.
        begins: Unix time at which the replay begins.
    """

    durable = True

    def __init__(self, books: Books, begins: float) -> None:
        super().__init__()
        self._books = books
        self._begins = begins

    def standing(
        self,
        where: Mapping[str, str | None],
        *,
        since: float,
        until: float,
        part: float | None = None,
        shadow_calls: ShadowCalls = "without",
    ) -> Standing:
        """What was used before the replay begins; from then on the state counts by itself."""
        return standing_in(self._books.connection, where, since, min(until, self._begins), part, shadow_calls)
