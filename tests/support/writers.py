"""Processes that write to a ledger, for tests with several of them."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any
from unittest import mock

from llmgate_plugins.ledger import open_ledger
from support.books import answer, intent, record, settlement

PRELOAD = [
    "asyncio",
    "redis",
    "redis.asyncio",
    "sqlalchemy.dialects.postgresql",
    "sqlalchemy.dialects.sqlite",
    "llmgate_plugins.ledger.sql",
    "llmgate_plugins.ledger.postgres",
    "support.dying",
    "support.spending",
]

__all__ = ["processes", "write_and_recover", "write_for_ever"]


def processes() -> ForkServerContext:
    """Clean processes that start fast: they are forked from one that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    # Before Python 3.12 it does not look where the tests' own modules are.
    with mock.patch.dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)):
        forkserver.ensure_running()
    return context


def write_and_recover(url: str, name: int, together: Any) -> None:
    """Write 60 calls, which another process writes as well, then recover at one moment with all others."""
    together.wait(60)
    ledger = open_ledger(url)
    for turn in range(60):
        call_id = f"{name % 2}-{turn}"
        answer(ledger.open_attempt(intent(call_id)))
        if turn % 3:
            answer(ledger.settle_attempt(call_id, 1, settlement()))
        answer(ledger.close_call(record(call_id)))
    together.wait(60)
    recovered = ledger.recover(older_than=0, now=2_000.0)
    Path(f"{url.removeprefix('sqlite:///')}.{name}").write_text(str(recovered))
    ledger.close()


def write_for_ever(url: str, name: str, told: Path) -> None:
    """Three threads that write calls and tell of each acknowledged row, until killed."""
    ledger = open_ledger(url)
    telling = threading.Lock()
    with told.open("w") as out:

        def acknowledged(what: str, call_id: str) -> None:
            with telling:
                out.write(f"{what} {call_id}\n")
                out.flush()

        def work(thread: int) -> None:
            turn = 0
            while True:
                call_id = f"{name}-{thread}-{turn}"
                turn += 1
                answer(ledger.open_attempt(intent(call_id, estimate=70)))
                acknowledged("open", call_id)
                if turn % 4:
                    answer(ledger.settle_attempt(call_id, 1, settlement(cost=50)))
                    acknowledged("settle", call_id)
                    answer(ledger.close_call(record(call_id, costs=(50,))))
                    acknowledged("close", call_id)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
