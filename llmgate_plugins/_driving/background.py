"""Steps that run in a thread beside a synchronous call: how a hedge is sent where nothing awaits."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait

__all__ = ["InThread", "first_of"]


class InThread:
    """Work in a thread of its own, daemonic: a provider that never answers keeps no program alive.

    Args:
        run: Yields nothing; what it raises is lost, so it catches what matters.
    """

    __slots__ = ("future",)

    def __init__(self, run: Callable[[], Iterable[object]]) -> None:
        self.future: Future[None] = Future()
        context = contextvars.copy_context()

        def work() -> None:
            try:
                context.run(lambda: [None for _ in run()])
            finally:
                self.future.set_result(None)

        threading.Thread(target=work, name="llmgate-hedge", daemon=True).start()


def first_of(handles: Sequence[InThread], seconds: float | None) -> InThread | None:
    """The first that is done, or None when the time is over."""
    futures = [handle.future for handle in handles]
    done, _ = wait(futures, timeout=seconds, return_when=FIRST_COMPLETED)
    return next((handle for handle in handles if handle.future in done), None)
