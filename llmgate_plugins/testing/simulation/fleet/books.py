"""The books of a simulated fleet, which check what is written into them."""

from __future__ import annotations

from collections import Counter

from llmgate_plugins.ledger import MemoryLedger
from llmgate_plugins.services import AttemptIntent, Settlement
from llmgate_plugins.testing.simulation.journal import Journal

__all__ = ["Books"]


class Books(MemoryLedger):
    """The books of all, which know at every step what each team has spent or may yet spend.

    An attempt counts as what may be spent on it until its end is told, here or to the state: two
    messages, either of which may come first.
    """

    durable = True

    def __init__(self, journal: Journal, cap: int) -> None:
        super().__init__(limit=1_000_000)
        self._journal = journal
        self._cap = cap
        self.opened: dict[tuple[str, int], AttemptIntent] = {}
        self.committed: Counter[str] = Counter()
        self._counted: dict[tuple[str, int], int] = {}
        self._leases: dict[str, tuple[str, int]] = {}

    def open_attempt(self, intent: AttemptIntent) -> None:
        key = (intent.call_id, intent.number)
        self._journal.check(key not in self.opened, "I1", lambda: f"attempt {key} has two rows")
        self.opened[key] = intent
        self._leases[f"{intent.call_id}:{intent.number}"] = key
        self._count(key, intent.reserve)
        team = intent.labels["team"]
        self._journal.check(
            self.committed[team] <= self._cap,
            "I3",
            lambda: f"the books of {team}: {self.committed[team]} spent and held of {self._cap}",
        )
        super().open_attempt(intent)

    def settle_attempt(self, call_id: str, number: int, settlement: Settlement) -> bool:
        settled = super().settle_attempt(call_id, number, settlement)
        key = (call_id, number)
        # Whoever leaves while the row is on its way cannot know that it never comes.
        never_came = settlement.status == "skipped" and key not in self.opened
        self._journal.check(
            settled or never_came, "I2", lambda: f"attempt {key} was settled twice, or never begun"
        )
        if settled:
            self._count(key, settlement.cost)
        return settled

    def ended(self, lease_id: str, cost: int) -> None:
        """The state was told the end of an attempt, by the id of its lease."""
        key = self._leases.get(lease_id)
        if key is not None:
            self._count(key, cost)

    def _count(self, key: tuple[str, int], cost: int) -> None:
        self.committed[self.opened[key].labels["team"]] += cost - self._counted.get(key, 0)
        self._counted[key] = cost

    def recover(self, *, older_than: float, now: float) -> int:
        left = [row for row in self.attempts() if row["status"] == "intent" and row["at"] < now - older_than]
        for row in left:
            key = (row["call_id"], row["number"])
            self._count(key, self.opened[key].estimate)
        return super().recover(older_than=older_than, now=now)
