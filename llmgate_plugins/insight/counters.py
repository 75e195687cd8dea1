"""The counters of a shared state against the books: what limits think was spent, and what was."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from llmgate_plugins.insight.standings import read_standings
from llmgate_plugins.ledger.reconciling import Difference
from llmgate_plugins.plugins.limits import Limit
from llmgate_plugins.plugins.pending import arrived
from llmgate_plugins.services import Grant, Ledger, Reservation, State
from llmgate_plugins.state import MemoryState

__all__ = ["reconcile_counters"]


async def reconcile_counters(
    limits: Iterable[Limit], *, ledger: Ledger, state: State, now: float, repair: bool = False
) -> list[Difference]:
    """Counters that do not say what the books say, of everybody who called in the limits' windows.

    While calls are under way they may differ by what those settle. A counter that says too
    little can be put right; one that says too much allows too little until its window ends,
    and is only reported: nothing can be taken back from a state.

    Args:
        state: One that processes share; the memory of another process cannot be asked.
        now: Unix time.
        repair: Put right what says too little.

    Raises:
        StorageError: Ledger or state cannot be read.
    """
    limits = tuple(limits)
    if isinstance(state, MemoryState):
        return []
    books = await read_standings(limits, ledger=ledger, state=MemoryState(), now=now)
    counters = await read_standings(limits, ledger=ledger, state=state, now=now)
    said = {row.key: row for row in counters}
    found: list[Difference] = []
    for row in books:
        other = said[row.key].spent if row.key in said else 0
        if row.kind == "concurrency" or other == row.spent:
            continue
        difference = Difference(
            kind="counter", call_id=row.key, column=row.kind, books=row.spent, other=other
        )
        if repair and other < row.spent:
            await _spend(row.key, row.spent - other, row.limit, state)
            difference = replace(difference, repaired=True)
        found.append(difference)
    return found


async def _spend(key: str, amount: int, limit: Limit, state: State) -> None:
    wanted = Reservation(key=key, amount=0, limit=limit.limit, window=limit.window, enforced=False)
    granted = await arrived(state.reserve([wanted], ttl=60.0))
    if isinstance(granted, Grant):
        await arrived(state.settle(granted.lease, {key: amount}))
