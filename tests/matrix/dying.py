"""F72, F73 and F83: processes that end in the middle of a call, and that fork between two.

    python -m matrix.dying SURFACE URL DIRECTORY

makes a call in each mode and in each way to end, every one in a process of its own that is
forked off when all is imported. What is then in their ledgers is what the matrix looks at.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

HERE = Path(__file__).parent
if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))

from llmgate_plugins.ledger import open_ledger  # noqa: E402 - the path must be set first
from matrix.surfaces import MODES, STREAMS, SURFACES, Door, Place, ask  # noqa: E402

__all__ = ["PIECES", "WAYS", "die_on", "file_of"]

WAYS = ("exit", "kill", "fork")
PIECES = 3
SOON = 0.4
"""Seconds after its intent was booked after which a whole call is at the provider."""
REST = 0.5
"""Seconds in which LiteLLM's threads have begun to log."""

kept: list[Any] = []
"""What a program still holds when it ends."""


def die_on(surface: str, url: str, directory: Path) -> None:
    """Run all processes of a surface."""
    command = [sys.executable, "-W", "ignore", str(HERE / "dying.py"), surface, url, str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    if done.returncode:
        raise RuntimeError(f"the processes of {surface} did not run: {done.stderr[-2000:]}")


def file_of(directory: Path, way: str, mode: str) -> Path:
    """Where the ledger of one process is, or what it was answered."""
    return directory / f"{way}-{mode}.db"


def _door(surface: str, url: str, file: Path) -> Door:
    ledger = open_ledger(f"sqlite:///{file}")
    return SURFACES[surface]([Place("a", url)], (), {"ledger": ledger})


def _main(surface: str, url: str, directory: Path) -> None:
    logging.disable(logging.CRITICAL)
    first = _door(surface, f"{url}/healthy/v1", directory / "first.db")
    for mode in ("sync", "stream"):  # what is imported at the first call is imported once for all
        ask(first, mode, [])
    first.close()
    _rest()
    gc.freeze()  # what is here now is no child's to look through when it ends
    children, parents = [], []
    for way in WAYS:
        for mode in MODES:
            before = _before_fork(surface, url, directory, mode) if way == "fork" else None
            child = os.fork()
            if child == 0:
                _child(way, mode, before or (surface, url, directory))
                return  # to the end of the program, as any program ends
            children.append(child)
            if before is not None:
                parents.append((before, mode))
    for before, mode in parents:
        pieces: list[str] = []
        ask(before, mode, pieces)
        before.gateway.services.ledger.close()
        file_of(directory, "parent", mode).write_text("".join(pieces))
    for child in children:
        os.waitpid(child, 0)


def _before_fork(surface: str, url: str, directory: Path, mode: str) -> Door:
    door = _door(surface, f"{url}/healthy/v1", file_of(directory, "fork", mode))
    ask(door, "sync", [])
    _rest()
    return door


def _rest() -> None:
    """Until no thread of LiteLLM's imports anything: its lock would stay locked in the child."""
    time.sleep(REST)
    while any(lock() is not None for lock in list(importlib._bootstrap._module_locks.values())):  # type: ignore[attr-defined]
        time.sleep(0.05)


def _child(way: str, mode: str, given: Any) -> None:
    if way == "fork":
        pieces: list[str] = []
        ask(given, mode, pieces)
        given.gateway.services.ledger.flush()
        file_of(Path(sys.argv[3]), "child", mode).write_text("".join(pieces))
        return
    surface, url, directory = given
    provider = "hanging" if mode in STREAMS else "silent"
    file = file_of(directory, way, mode)
    door = _door(surface, f"{url}/{provider}/v1", file)
    kept.append(door)
    end = _kill if way == "kill" else sys.exit
    if mode == "sync":
        signal.signal(signal.SIGTERM, lambda *_: end())
        threading.Thread(target=_end_soon, args=(file,)).start()
        door.whole()
    elif mode == "stream":
        chunks = door.open()
        kept.append(chunks)
        _take(door, chunks)
        end()
    else:
        asyncio.run(_in_loop(door, mode, way, file))


def _take(door: Door, chunks: Any) -> None:
    taken = 0
    for chunk in chunks:
        taken += bool(door.text(chunk))
        if taken == PIECES:
            return


def _end_soon(file: Path) -> None:
    while not _booked(file):
        time.sleep(0.02)
    time.sleep(SOON)
    os.kill(os.getpid(), signal.SIGTERM)


def _booked(file: Path) -> bool:
    """Whether an attempt is in the books, looked up beside the ledger, which would first write more."""
    with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as books:
        return bool(books.execute("SELECT count(*) FROM attempts").fetchone()[0])


async def _in_loop(door: Door, mode: str, way: str, file: Path) -> None:
    """A program whose main task ends while another waits."""
    if mode == "async":
        kept.append(asyncio.ensure_future(door.awhole()))
        while not _booked(file):
            await asyncio.sleep(0.02)
        await asyncio.sleep(SOON)
    else:
        chunks = await door.aopen()
        kept.append(chunks)
        taken = 0
        while taken < PIECES:
            taken += bool(door.text(await anext(chunks)))
    if way == "kill":
        _kill()


def _kill() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)
    raise AssertionError("it was killed")


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
