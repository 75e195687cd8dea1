"""An asynchronous stream that is opened when it is first read, and from then on costs nothing of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Generic, TypeVar

__all__ = ["Deferred"]

T = TypeVar("T")


class Deferred(Generic[T]):
    """An async iterator over a stream that must be awaited to be had. A generator would cost per item.

    Args:
        open: Gives the stream.
        first: What happens to its first item.
        close: Awaited before the stream is closed, however far it was read: what feeds it ends first.
    """

    __slots__ = ("_close", "_first", "_next", "_open", "_stream")

    def __init__(
        self,
        open: Callable[[], Awaitable[AsyncIterator[T]]],
        *,
        first: Callable[[T], T] | None = None,
        close: Callable[[], Awaitable[Any]] | None = None,
    ) -> None:
        self._open = open
        self._first = first
        self._close = close
        self._stream: AsyncIterator[T] | None = None
        self._next: Callable[[], Awaitable[T]] = self._begin

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    def __anext__(self) -> Awaitable[T]:
        return self._next()

    async def _begin(self) -> T:
        self._stream = stream = aiter(await self._open())
        item = await anext(stream)
        self._next = stream.__anext__
        return item if self._first is None else self._first(item)

    async def aclose(self) -> None:
        """Close the stream, at once and not when it is collected. Idempotent."""
        stream, self._stream = self._stream, None
        self._next = _over
        try:
            if self._close is not None:
                await self._close()
        finally:
            if stream is not None and hasattr(stream, "aclose"):
                await stream.aclose()


async def _over() -> Any:
    raise StopAsyncIteration
