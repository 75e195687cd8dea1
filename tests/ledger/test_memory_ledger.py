"""What is particular to books in memory: their size."""

from __future__ import annotations

import pytest
from support.books import intent, record, settlement

from llmgate_plugins.ledger import MemoryLedger


def test_the_oldest_call_is_dropped_first_with_all_its_rows() -> None:
    ledger = MemoryLedger(limit=6)
    for call_id in ("a", "b", "c"):
        ledger.open_attempt(intent(call_id, 1))
        ledger.settle_attempt(call_id, 1, settlement())
        ledger.open_attempt(intent(call_id, 2))
        ledger.close_call(record(call_id, (50, 50)))
    assert [row["call_id"] for row in ledger.calls()] == ["b", "c"]
    assert [(row["call_id"], row["number"]) for row in ledger.attempts()] == [
        ("b", 1),
        ("b", 2),
        ("c", 1),
        ("c", 2),
    ]
    assert ledger.settle_attempt("a", 2, settlement()) is False
    assert ledger.settle_attempt("b", 2, settlement()) is True


def test_repeats_take_no_room() -> None:
    ledger = MemoryLedger(limit=4)
    for call_id in ("a", "b"):
        for _ in range(5):
            ledger.open_attempt(intent(call_id))
            ledger.settle_attempt(call_id, 1, settlement())
            ledger.close_call(record(call_id))
    assert len(ledger.attempts()) == len(ledger.calls()) == 2


def test_a_call_larger_than_the_limit_is_kept_whole() -> None:
    ledger = MemoryLedger(limit=1)
    for number in (1, 2, 3):
        ledger.open_attempt(intent("a", number))
    assert [row["number"] for row in ledger.attempts()] == [1, 2, 3]
    ledger.open_attempt(intent("b"))
    assert [row["call_id"] for row in ledger.attempts()] == ["b"]


def test_room_for_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        MemoryLedger(limit=0)
