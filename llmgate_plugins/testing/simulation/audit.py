"""Watches a gateway from inside: a plugin, a ledger and a state that check what passes through them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmgate_plugins.context import Call
from llmgate_plugins.decisions import Ranking, Recovery
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.ledger import MemoryLedger
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import (
    AttemptIntent,
    Clock,
    Grant,
    Lease,
    Refusal,
    Reservation,
    Settlement,
    Unseeded,
)
from llmgate_plugins.state import MemoryState
from llmgate_plugins.testing.simulation.door import Door
from llmgate_plugins.testing.simulation.journal import Journal
from llmgate_plugins.testing.simulation.plans import PLAN
from llmgate_plugins.types import Attempt, Outcome
from llmgate_plugins.windows import Window

__all__ = ["AuditedLedger", "AuditedState", "Witness"]


class AuditedLedger(MemoryLedger):
    """The books, which notice when a row is written or settled twice (I1, I2)."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(limit=1_000_000)
        self._journal = journal
        self._opened: set[tuple[str, int]] = set()

    def open_attempt(self, intent: AttemptIntent) -> None:
        """Write the intent."""
        key = (intent.call_id, intent.number)
        self._journal.check(key not in self._opened, "I1", lambda: f"attempt {key} has two rows")
        self._opened.add(key)
        super().open_attempt(intent)

    def settle_attempt(self, call_id: str, number: int, settlement: Settlement) -> bool:
        """From intent to settled."""
        settled = super().settle_attempt(call_id, number, settlement)
        self._journal.check(
            settled, "I2", lambda: f"attempt {(call_id, number)} was settled twice, or never begun"
        )
        return settled

    def rows(self) -> dict[tuple[str, int], tuple[str, int]]:
        """(call id, number) -> (status, nano-dollars) of every attempt's row, cheaply."""
        return {
            (call_id, number): ("intent", 0) if settled is None else (settled.status, settled.cost)
            for call_id, call in self._calls.items()
            for number, (_, settled, _) in call.attempts.items()
        }

    def cost_of_calls(self) -> int:
        """Nano-dollars of all rows of calls."""
        closings = [call.closing for call in self._calls.values() if call.closing is not None]
        return sum(one["cost_nano_usd"] if isinstance(one, dict) else one.cost for one in closings)


class AuditedState(MemoryState):
    """Limits and leases, with a look at every limit after every reserve (I3).

    Attributes:
        open: Leases that were neither settled nor released: what is held.
        windows: Every limit with a window that was ever reserved: key -> window.
    """

    def __init__(self, clock: Clock, journal: Journal) -> None:
        super().__init__(clock=clock)
        self._journal = journal
        self.open: dict[str, Lease] = {}
        self.windows: dict[str, Window | float] = {}

    def reserve(
        self, reservations: Sequence[Reservation], *, ttl: float, id: str | None = None
    ) -> Grant | Refusal | Unseeded:
        """Hold all of these or none."""
        answer = super().reserve(reservations, ttl=ttl, id=id)
        if isinstance(answer, Grant):
            self.open[answer.lease.id] = answer.lease
            for one in reservations:
                if one.window is not None:
                    self.windows[one.key] = one.window
                if one.enforced:
                    self.look(one)
        return answer

    def look(self, one: Reservation) -> None:
        """Check that a limit holds now."""
        spent, held = self.spent(one.key, window=one.window)
        self._journal.check(
            spent + held <= one.limit,
            "I3",
            lambda: f"{one.key}: {spent} spent and {held} held of {one.limit}",
        )

    def settle(self, lease: Lease, actual: Mapping[str, int]) -> bool:
        """Turn a hold into what was spent."""
        settled = super().settle(lease, actual)
        self._ended(lease, settled)
        for one in lease.reservations:
            if one.enforced and one.key.startswith(
                "budget:"
            ):  # a rate limit may learn that a call took more than thought
                self.look(one)
        return settled

    def release(self, lease: Lease) -> bool:
        """Give a hold back."""
        released = super().release(lease)
        self._ended(lease, released)
        return released

    def _ended(self, lease: Lease, first_time: bool) -> None:
        self.open.pop(lease.id, None)
        self._journal.check(
            first_time, "I2", lambda: f"lease for {lease.reservations[0].key} was settled twice"
        )


@dataclass(slots=True, kw_only=True)
class Ended:
    """A call that has had its terminal event."""

    record: DecisionRecord
    call: Call


class Witness:
    """The first plugin of the gateway: is told everything, and has no opinion.

    Attributes:
        ended: Every call with its terminal event, in order.
        of_plan: The same by the plan they carried out.
        begun: Attempts that were begun and have not ended.
        door: Is told of selections and of ends.
    """

    name = "Witness"

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.ended: list[Ended] = []
        self.begun: dict[int, Attempt] = {}
        self._terminals: Counter[int] = Counter()
        self.of_plan: dict[str, list[Ended]] = {}
        self.door: Door | None = None

    @hookimpl
    def rank_deployments(self, call: Call) -> Ranking | None:
        """Note what was dropped, and why."""
        selection = call.record.selections[-1]
        if selection.dropped:
            dropped = ",".join(f"{name}:{reason}" for name, (reason, _) in selection.dropped.items())
            self._journal.note("selected", selection.alias, dropped)
        if self.door is not None:
            self.door.selected(call, selection)
        return None

    @hookimpl
    def begin_attempt(self, attempt: Attempt) -> None:
        """Note it."""
        self.begun[id(attempt)] = attempt

    @hookimpl
    def end_attempt(self, attempt: Attempt, outcome: Outcome) -> None:
        """Note how; it must have begun, and end once."""
        journal = self._journal
        known = self.begun.pop(id(attempt), None)
        journal.check(
            known is attempt, "I2", lambda: f"attempt {attempt.number} of {attempt.call_id} ended twice"
        )
        if self.door is not None:
            self.door.leave(attempt)
        failure = outcome.failure
        why = failure.error_class.value if failure is not None else outcome.skipped
        journal.note("ended", attempt.number, attempt.deployment.id, outcome.status, why, outcome.cost)

    @hookimpl
    def recover_attempt(self, attempt: Attempt) -> Recovery | None:
        """Note that it was asked."""
        self._journal.note("recover", attempt.number)
        return None

    @hookimpl
    def end_call(self, record: DecisionRecord, call: Call) -> None:
        """Note it; it comes once."""
        ended = Ended(record=record, call=call)  # keeps the call, and so its id is nobody else's
        self._terminals[id(call)] += 1
        self.ended.append(ended)
        self.of_plan.setdefault(record.tags.get(PLAN, ""), []).append(ended)
        journal = self._journal
        journal.check(
            self._terminals[id(call)] == 1, "end", lambda: f"call {call.id} had two terminal events"
        )
        for plugin, hook, error in record.problems:
            journal.violated("crash", f"plugin {plugin} failed in {hook}: {error}")
        journal.note("over", record.status, record.served_by, record.reason, len(record.attempts))

    def rows_expected(self) -> dict[tuple[str, int], Any]:
        """(call id, number) -> outcome of every attempt that was sent."""
        return {
            (one.record.call_id, attempt.number): outcome
            for one in self.ended
            for attempt, outcome in one.record.attempts
            if outcome.status != "skipped"
        }
