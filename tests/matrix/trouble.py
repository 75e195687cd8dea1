"""F74-F82: the gateway's own troubles: its state, its ledger, its clock, its plugins."""

# ruff: noqa: E501 - one line per row

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from sqlalchemy import event
from support.books import answer, intent, record

from llmgate_plugins import StorageError, hookimpl
from llmgate_plugins.ledger import SqlLedger
from llmgate_plugins.plugins import Budget, Limits
from llmgate_plugins.state import MemoryState
from llmgate_plugins.testing import Fault

from .expectations import Expect, Row
from .playing import ANSWERS, Seen, Watch, simulators
from .surfaces import Place, ask

__all__ = ["TROUBLE"]

FILLING = "filling-"
CENT = 10_000_000
"""Nano-dollars."""


# ---------------------------------------------------------------- state


class Ailing:
    """A state over another one, of which some methods do not do what they promise."""

    def __init__(self, **broken: Callable[..., Any]) -> None:
        self._whole = MemoryState()
        self._broken = broken

    def __getattr__(self, name: str) -> Any:
        whole = getattr(self._whole, name)
        broken = self._broken.get(name)
        return whole if broken is None else lambda *given, **named: broken(self, whole, *given, **named)

    def lose_all(self) -> None:
        """As a failover to a replica that has nothing."""
        self._whole = MemoryState()


def _down(*_: Any, **__: Any) -> Any:
    raise StorageError("the state does not answer")


def _late(_: Any, whole: Callable[..., Any], *given: Any, **named: Any) -> Any:
    async def later() -> Any:
        await asyncio.sleep(0.3)
        return whole(*given, **named)

    return later()


def _losing(state: Ailing, whole: Callable[..., Any], *given: Any, **named: Any) -> Any:
    given_out = whole(*given, **named)
    state.lose_all()
    return given_out


ALL = ("reserve", "settle", "release", "spent")


def _state(hard: bool, **broken: Callable[..., Any]) -> Any:
    @contextlib.contextmanager
    def scene() -> Iterator[Any]:
        yield [Limits([Budget("global", 100 * CENT, 3600.0, hard=hard)])], {"state": Ailing(**broken)}

    return scene


# ---------------------------------------------------------------- ledger


class Freed(SqlLedger):
    """Books whose database comes back when somebody wants to see them."""

    free: Callable[[], object]

    def flush(self) -> None:
        self.free()
        super().flush()


@contextlib.contextmanager
def _locked() -> Iterator[Any]:
    """Another program holds the ledger's file for longer than the ledger waits."""
    with (
        tempfile.TemporaryDirectory() as directory,
        mock.patch("llmgate_plugins.ledger.sqlite.PATIENCE", 0.2),
    ):
        file = Path(directory) / "books.db"
        ledger = Freed(f"sqlite:///{file}")
        other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        ledger.free = other.close
        yield [], {"ledger": ledger}
        ledger.close()


@contextlib.contextmanager
def _full_disk() -> Iterator[Any]:
    """SQLite finds no room for another page."""
    most = 1

    def free() -> None:
        nonlocal most
        most = 100_000
        with ledger._writer.gate:  # a connection must not be closed while it is used
            ledger._tables.disconnect()

    with tempfile.TemporaryDirectory() as directory:
        ledger = Freed(f"sqlite:///{Path(directory) / 'books.db'}")
        ledger.free = free
        ledger._tables.disconnect()

        @event.listens_for(ledger.engine, "connect")
        def no_more_pages(connection: Any, _: Any) -> None:
            connection.execute(f"PRAGMA max_page_count = {most}")

        number = 0
        while not ledger.away:  # until no page has room, of the table or of its index
            number += 1
            time.sleep(0.002)
            answer(ledger.open_attempt(intent(f"{FILLING}{number % 7 * 'x'}{number}")))
            answer(ledger.close_call(record(f"{FILLING}{number}")))
        yield [], {"ledger": ledger}
        ledger.close()


# ---------------------------------------------------------------- clock and plugins


class Jumping:
    """Sets the wall clock while an attempt is on its way."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    @hookimpl
    def end_attempt(self, services: Any) -> None:
        services.clock.wall += self.seconds


def _raising(hook: str) -> type:
    def fails() -> None:
        raise ValueError("a bug in a plugin")

    fails.__name__ = hook
    return type("Raising", (), {hook: staticmethod(hookimpl(fails))})


def _hanging(hook: str) -> type:
    async def hangs() -> None:
        await asyncio.sleep(3600)

    hangs.__name__ = hook
    return type("Hanging", (), {hook: staticmethod(hookimpl(hangs))})


def _with(plugin: Callable[[], Any], **options: Any) -> Any:
    @contextlib.contextmanager
    def scene() -> Iterator[Any]:
        with mock.patch("llmgate_plugins._driving.time_limits.PLUGIN_GRACE", 0.3):
            yield [plugin()], options

    return scene


# ---------------------------------------------------------------- rows


def _play(row: Row, mode: str, surface: str) -> Seen:
    scene, fault = row.at
    provider = simulators()["a"].provider(f"{row.id}-{mode}-{surface}")
    provider.reply(ANSWERS["a"])
    provider.script(*fault)
    with scene() as (plugins, options):
        watch = Watch(row, surface, [Place("a", provider.openai_base_url)], plugins, **options)
        seen = watch.told_by(lambda _, pieces: ask(watch.door, mode, pieces))
    seen.rows = [one for one in seen.rows if not one["call_id"].startswith(FILLING)]
    seen.calls = [one for one in seen.calls if not one["call_id"].startswith(FILLING)]
    if row.expect.tries:
        seen.sent = {"a": len(provider.requests)}
    elif len(provider.requests) != (1 if seen.error is None else 0):  # one of which there is no row
        seen.misses.append(f"{len(provider.requests)} requests were sent")
    return seen


def _row(
    id: str, what: str, scene: Any, told: str, tries: str, books: str, *fault: Fault, **more: Any
) -> Row:
    expected = {name: more.pop(name) for name in ("slept", "calls") if name in more}
    expect = Expect(told=told, tries=tries, books=books, **expected)
    return Row(id=id, what=what, at=(scene, fault), expect=expect, alone=True, play=_play, **more)


DOWN = dict.fromkeys(ALL, _down)
LATE = dict.fromkeys(ALL, _late)
BUDGET = "Limits"
TWO = Fault("rate_limit", retry_after=2)

# fmt: off
TROUBLE = (
    _row("F74", "state down from the start, hard budget", _state(True, **DOWN), "RequestDenied", "", ""),
    _row("F74-soft", "the same, soft budget", _state(False, **DOWN), "a", "a", "A"),
    _row("F75", "state gone in mid-call", _state(True, settle=_down), "a", "a", "A", problems=(f"{BUDGET} end_attempt",)),
    _row("F76", "state that is slow", _state(True, **LATE), "a", "a", "A"),
    _row("F77", "state that has lost its keys", _state(True, reserve=_losing), "a", "a", "A"),
    _row("F78", "ledger locked by another program", _locked, "a", "a", "A"),
    _row("F79", "ledger's disk full", _full_disk, "a", "a", "A"),
    _row("F80", "clock set 1 h ahead", _with(lambda: Jumping(3600)), "a", "a:rate_limit a", "0 A", TWO, slept=(2.0, 2.2)),
    _row("F80-back", "clock set 1 h back", _with(lambda: Jumping(-3600)), "a", "a:rate_limit a", "0 A", TWO, slept=(2.0, 2.2)),
    _row("F81", "a policy raises", _with(_raising("admit_request")), "HookFailed", "", ""),
    _row("F81-selection", "a selection raises", _with(_raising("narrow_deployments")), "HookFailed", "", ""),
    _row("F81-accounting", "an accounting raises", _with(_raising("begin_attempt")), "a", "a", "A", problems=("Raising begin_attempt",)),
    _row("F81-failover", "a failover opinion raises", _with(_raising("recover_attempt")), "a", "a:rate_limit a", "0 A", TWO, slept=(2.0, 2.2), problems=("Raising recover_attempt",)),
    _row("F82", "a policy hangs", _with(_hanging("admit_request")), "HookFailed", "", "", deadline=0.3),
    _row("F82-accounting", "an accounting hangs", _with(_hanging("end_attempt")), "a", "a", "A", deadline=1.0, problems=("Hanging end_attempt",)),
)
# fmt: on
