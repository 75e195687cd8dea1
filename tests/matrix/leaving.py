"""F69-F71: callers that go away, in the way their mode allows."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from support.patience import PATIENCE

from llmgate_plugins.testing import Fault, SimulatedProvider

from .expectations import Expect, Row
from .playing import ANSWERS, Seen, Watch, simulators
from .surfaces import STREAMS, Door, Place, run

__all__ = ["LEAVING", "interrupted_when", "until"]

BEFORE, MIDDLE = 0, 3
"""Pieces that a caller has when it leaves."""


def until(true: Callable[[], bool]) -> bool:
    """Whether this becomes true in time."""
    ends = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > ends:
            return False
        time.sleep(0.01)
    return True


@contextlib.contextmanager
def interrupted_when(true: Callable[[], bool], error: type[BaseException]) -> Iterator[None]:
    """What runs in here is interrupted by this error once something is true, as by Ctrl-C or `kill`."""

    def raises(*_: Any) -> None:
        raise error

    def watch() -> None:
        if until(true):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, raises)
    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        watching.join(PATIENCE)
        signal.signal(signal.SIGUSR1, before)


def _play(row: Row, mode: str, surface: str) -> Seen:
    provider = simulators()["a"].provider(f"{row.id}-{mode}-{surface}")
    provider.reply(ANSWERS["a"])
    provider.fail_always(row.at[mode in STREAMS])
    watch = Watch(row, surface, [Place("a", provider.openai_base_url)])
    leave = {"F69": _before_content, "F70": _in_the_middle, "F71": _without_a_word}[row.id]
    seen = watch.told_by(lambda door, pieces: leave(door, mode, pieces, provider))
    seen.left = True
    seen.sent = {"a": len(provider.requests)}
    if not until(lambda: provider.requests[-1].outcome == "left"):
        seen.misses.append("the provider still works for nobody")
    provider.heal()
    return seen


def _before_content(door: Door, mode: str, pieces: list[str], provider: SimulatedProvider) -> None:
    """Ctrl-C, or a task that is cancelled, while the provider says nothing."""
    _interrupted(door, mode, pieces, lambda: _asked(provider))


def _in_the_middle(door: Door, mode: str, pieces: list[str], provider: SimulatedProvider) -> None:
    """The same while the answer comes."""
    count = MIDDLE if mode in STREAMS else BEFORE
    _interrupted(door, mode, pieces, lambda: _asked(provider) and len(list(filter(None, pieces))) >= count)


def _without_a_word(door: Door, mode: str, pieces: list[str], provider: SimulatedProvider) -> None:
    """A reader that just forgets the stream; a caller whose own time limit ends the wait."""
    if mode == "sync":
        with interrupted_when(lambda: _asked(provider), SystemExit):
            pieces.append(door.whole())
    elif mode == "async":
        run(_limited(door, pieces, provider))
    elif mode == "stream":
        _forget(door, pieces)
        gc.collect()
    else:
        run(_aforget(door, pieces))


def _asked(provider: SimulatedProvider) -> bool:
    return bool(provider.requests) and time.time() - provider.requests[-1].at > 0.1


def _interrupted(door: Door, mode: str, pieces: list[str], ready: Callable[[], bool]) -> None:
    if mode in ("async", "astream"):
        run(_cancelled(door, mode, pieces, ready))
        return
    with interrupted_when(ready, KeyboardInterrupt):
        if mode == "sync":
            pieces.append(door.whole())
        else:
            for chunk in door.open():
                pieces.append(door.text(chunk))


async def _cancelled(door: Door, mode: str, pieces: list[str], ready: Callable[[], bool]) -> None:
    async def ask() -> None:
        if mode == "async":
            pieces.append(await door.awhole())
            return
        async for chunk in await door.aopen():
            pieces.append(door.text(chunk))

    task = asyncio.ensure_future(ask())
    await asyncio.to_thread(until, ready)
    task.cancel()
    await task


async def _limited(door: Door, pieces: list[str], provider: SimulatedProvider) -> None:
    async with asyncio.timeout(None) as limit:
        task = asyncio.ensure_future(asyncio.to_thread(until, lambda: _asked(provider)))
        task.add_done_callback(lambda _: limit.reschedule(0))
        pieces.append(await door.awhole())


def _forget(door: Door, pieces: list[str]) -> None:
    for chunk in door.open():
        pieces.append(door.text(chunk))
        if len(list(filter(None, pieces))) >= MIDDLE:
            break


async def _aforget(door: Door, pieces: list[str]) -> None:
    async def read() -> None:
        async for chunk in await door.aopen():
            pieces.append(door.text(chunk))
            if len(list(filter(None, pieces))) >= MIDDLE:
                break

    await read()
    gc.collect()
    for _ in range(20):  # the loop closes what was forgotten
        await asyncio.sleep(0.01)


def _row(id: str, what: str, at: tuple[Fault, Fault], expect: Expect, **more: Any) -> Row:
    return Row(id=id, what=what, at=at, expect=expect, alone=True, play=_play, **more)


STALL, DRIP = Fault("stall"), Fault("drip", seconds=0.5)
HANGS = Fault("stall", after=MIDDLE)
GONE = Expect(told="BaseException", tries="a:cancelled", books="U")
LEAVING = (
    _row("F69", "the caller leaves before the first chunk", (STALL, STALL), GONE),
    _row("F70", "the caller leaves in mid-answer", (DRIP, HANGS), GONE, streams={"books": "E"}),
    _row(
        "F71",
        "a stream is forgotten; the caller's own time is over",
        (STALL, HANGS),
        GONE,
        streams={"told": "the beginning", "tries": "a:abandoned", "books": "E"},
    ),
)
