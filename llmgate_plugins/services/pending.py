"""Answers that may still be on their way."""

from __future__ import annotations

from collections.abc import Awaitable
from concurrent.futures import Future
from typing import TypeVar, Union

__all__ = ["MaybePending", "is_pending"]

T = TypeVar("T")


MaybePending = Union[T, Awaitable[T], Future[T]]  # noqa: UP007 - a generic alias, older form
"""An answer, or one that is on its way. A driver waits for it in its own manner: a
`Promise` or `Future` of a thread works on every face; a coroutine does too, in a sync call on a
private event loop."""


def is_pending(answer: object) -> bool:
    """Whether an answer has to be waited for."""
    return hasattr(answer, "__await__") or hasattr(answer, "add_done_callback")
