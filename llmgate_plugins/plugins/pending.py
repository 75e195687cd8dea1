"""Goes on with an answer that may still be on its way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, TypeVar, cast

from llmgate_plugins.services import MaybePending, is_pending

__all__ = ["arrived", "then"]

T = TypeVar("T")
R = TypeVar("R")


def then(answer: MaybePending[T], go_on: Callable[[T], R]) -> R | Awaitable[R]:
    """`go_on(answer)`: now if the answer is there, else as something to await.

    So a plugin is written once, and costs nothing more where the state is in this process.
    """
    if is_pending(answer):
        return _later(cast("Awaitable[T] | Future[T]", answer), go_on)
    return go_on(cast("T", answer))


async def _later(answer: Awaitable[T] | Future[T], go_on: Callable[[T], R]) -> R:
    return go_on(await arrived(answer))


async def arrived(answer: MaybePending[T]) -> T:
    """The answer, waited for if it is on its way."""
    if not is_pending(answer):
        return cast("T", answer)
    waited: Any = asyncio.wrap_future(answer) if isinstance(answer, Future) else answer
    return cast("T", await waited)
