"""A private event loop on a thread of its own, so that `async def` plugins work in sync calls."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable
from concurrent.futures import Future
from typing import Any

__all__ = ["run_on_private_loop"]

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_owner: tuple[int, int] = (0, 0)
"""Process id and thread id of the loop: a fork leaves the loop behind without its thread."""


def run_on_private_loop(answer: Awaitable[Any], seconds: float | None = None) -> Any:
    """Wait in this thread, for `seconds` at most, for an awaitable that runs on the private loop.

    Context variables of this thread are seen by it. Called from the private loop itself
    (an async plugin that makes a sync call), it runs on a loop of its own, because
    waiting there would never end.
    """
    if threading.get_ident() == _owner[1]:
        return _run_elsewhere(answer, seconds)
    future = asyncio.run_coroutine_threadsafe(_wait(answer), _running_loop())
    try:
        return future.result(seconds)
    except BaseException:
        future.cancel()
        raise


async def _wait(answer: Awaitable[Any]) -> Any:
    return await answer


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop, _owner
    with _lock:
        if _loop is None or _owner[0] != os.getpid():
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever, name="llmgate-async-plugins", daemon=True)
            thread.start()
            _loop, _owner = loop, (os.getpid(), thread.ident or 0)
        return _loop


def _run_elsewhere(answer: Awaitable[Any], seconds: float | None) -> Any:
    done: Future[Any] = Future()

    def run() -> None:
        try:
            done.set_result(asyncio.run(_wait(answer)))
        except BaseException as error:  # noqa: BLE001 - carried over to the waiting thread
            done.set_exception(error)

    threading.Thread(target=run, name="llmgate-async-plugins-nested", daemon=True).start()
    return done.result(seconds)
