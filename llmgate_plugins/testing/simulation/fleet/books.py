"""The books of a simulated fleet, which check what is written into them."""

from __future__ import annotations

from collections import Counter

from llmgate_plugins.ledger import MemoryLedger
from llmgate_plugins.services import AttemptIntent, Settlement
from llmgate_plugins.testing.simulation.journal import Journal

__all__ = ["Books"]


class Books(MemoryLedger):
    """The books of all, which know at every step what each team has spent or may yet spend."""

    durable = True

    def __init__(self, journal: Journal, cap: int) -> None:
        super().__init__(limit=1_000_000)
        self._journal = journal
        self._cap = cap
        self.opened: dict[tuple[str, int], AttemptIntent] = {}
        self.committed: Counter[str] = Counter()

    def open_attempt(self, intent: AttemptIntent) -> None:
        key = (intent.call_id, intent.number)
        self._journal.check(key not in self.opened, "I1", lambda: f"attempt {key} has two rows")
        self.opened[key] = intent
        team = intent.labels["team"]
        self.committed[team] += intent.reserve
        self._journal.check(
            self.committed[team] <= self._cap,
            "I3",
            lambda: f"the books of {team}: {self.committed[team]} spent and held of {self._cap}",
        )
        super().open_attempt(intent)

    def settle_attempt(self, call_id: str, number: int, settlement: Settlement) -> bool:
        settled = super().settle_attempt(call_id, number, settlement)
        key = (call_id, number)
        self._journal.check(settled, "I2", lambda: f"attempt {key} was settled twice, or never begun")
        if settled:
            intent = self.opened[key]
            self.committed[intent.labels["team"]] += settlement.cost - intent.reserve
        return settled

    def recover(self, *, older_than: float, now: float) -> int:
        left = [row for row in self.attempts() if row["status"] == "intent" and row["at"] < now - older_than]
        for row in left:
            intent = self.opened[row["call_id"], row["number"]]
            self.committed[row["team"]] += intent.estimate - intent.reserve
        return super().recover(older_than=older_than, now=now)
