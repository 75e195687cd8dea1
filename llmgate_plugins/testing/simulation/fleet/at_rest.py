"""What must hold when a simulated fleet has come to rest: every attempt has its end, and all sums agree."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from llmgate_plugins.ledger.naming import compared_value
from llmgate_plugins.ledger.rows import TOKEN_COLUMNS
from llmgate_plugins.plugins import Limit
from llmgate_plugins.testing.simulation.fleet.shared import Shared
from llmgate_plugins.windows import Rolling

__all__ = ["check_books", "compare_counts"]


def check_books(shared: Shared, *, crashed: bool) -> None:
    """I1, I2, I4: each billed attempt has a row and an end, and calls cost what their attempts do."""
    journal, rows, calls = shared.journal, shared.books.attempts(), shared.books.calls()
    known = {(row["call_id"], row["number"]): row for row in rows}
    journal.check(shared.bills <= known.keys(), "I1", lambda: f"{shared.bills - known.keys()} have no row")
    open_ = [key for key, row in known.items() if row["status"] == "intent"]
    journal.check(not open_, "I2", lambda: f"{open_} were never settled, nor recovered")
    over = {row["call_id"]: row["cost_nano_usd"] for row in calls}
    spent: defaultdict[str, int] = defaultdict(int)
    for (call_id, _), row in known.items():
        spent[call_id] += row["cost_nano_usd"]
    wrong = [call for call, cost in over.items() if spent[call] != cost]
    journal.check(not wrong, "I4", lambda: f"calls {wrong[:3]} cost otherwise than their attempts")
    lost = [call for call in spent if call not in over]
    journal.check(crashed or not lost, "end", lambda: f"calls {lost[:3]} have no terminal row")


def compare_counts(shared: Shared, limit: Limit, rows: list[dict[str, Any]]) -> None:
    """I4: each count of a limit is what the books say, and none of it is held."""
    window = limit.window
    start = 0.0 if window is None else window.bounds(shared.clock.time())[0]  # type: ignore[union-attr]
    # A row is a moment younger than its hold, which may have fallen into the part before.
    near = window.part if isinstance(window, Rolling) else 0.1
    least: Counter[tuple[Any, ...]] = Counter()
    most: Counter[tuple[Any, ...]] = Counter()
    for row in rows:
        values = tuple(compared_value(row, scope.column) for scope in limit.scopes)
        if all(scope.only in (None, one) for scope, one in zip(limit.scopes, values, strict=True)):
            used = row["cost_nano_usd"] if limit.kind == "budget" else _tokens(row)
            most[values] += used if row["at"] >= start - near else 0
            least[values] += used if row["at"] >= start + near else 0
    for values in most:
        key = limit.key(*values)
        if not shared.state.knows(key, window):
            continue  # nobody has asked for it since the state was emptied
        spent, held = shared.state.spent(key, window=window)
        shared.journal.check(held == 0, "I4", lambda key=key, held=held: f"{held} of {key} is held")  # type: ignore[misc]
        told = f"{key} counts {spent}, the books {least[values]} to {most[values]}"
        if limit.kind in ("budget", "tokens"):
            shared.journal.check(least[values] <= spent <= most[values], "I4", lambda told=told: told)  # type: ignore[misc]


def _tokens(row: dict[str, Any]) -> int:
    return sum(row[column] for column in TOKEN_COLUMNS)
