"""Ties an exchange to the HTTP client that carries it out, by the client's own hooks.

The client asks for a timeout whenever it begins to wait, so that each wait gets what is
left. The library that the client is made of (httpx, or its successor) is reached through
its hooks alone and never imported.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from functools import cache
from typing import Any

from llmgate_plugins.transports.exchange import CURRENT, Exchange

__all__ = ["async_hooks", "hooks"]


class _Timeouts(dict[str, Any]):
    """The timeouts of one request, each as it is at the moment it is asked for."""

    def __init__(self, given: Mapping[str, Any], exchange: Exchange) -> None:
        super().__init__(given)
        self._exchange = exchange

    def get(self, name: str, _default: Any = None) -> float | None:
        return self._exchange.timeout(name)


class _Stream:
    """The bytes of a response as the exchange lets them pass."""

    def __init__(self, inner: Any, exchange: Exchange) -> None:
        self._inner = inner
        self._exchange = exchange


class _SyncStream(_Stream):
    def __iter__(self) -> Iterator[bytes]:
        exchange = self._exchange
        exchange.waiting()
        for data in self._inner:
            yield exchange.came(data)
            exchange.waiting()
        yield exchange.ended()

    def close(self) -> None:
        self._exchange.over()  # first: then the connection serves others
        self._inner.close()


class _AsyncStream(_Stream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        exchange = self._exchange
        async for data in self._inner:
            yield exchange.came(data)
        yield exchange.ended()

    async def aclose(self) -> None:
        await self._inner.aclose()


@cache
def _made_of(kind: type, name: str, inner: type) -> type:
    """A stream as the client wants it: of its own library's class, which is among the parents of `inner`."""
    parent = next(one for one in inner.__mro__ if one.__name__ == name)
    return type(kind.__name__, (kind, parent), {})


def _wrapped(stream: Any, name: str, kind: type, exchange: Exchange) -> Any:
    return _made_of(kind, name, type(stream))(stream, exchange)  # type: ignore[arg-type]  # classes are hashable


def _sending(request: Any) -> None:
    exchange = CURRENT.get()
    if exchange is not None:
        request.extensions["timeout"] = _Timeouts(request.extensions.get("timeout") or {}, exchange)


def _answered(response: Any) -> None:
    exchange = CURRENT.get()
    if exchange is not None:
        exchange.answered(response)
        response.stream = _wrapped(response.stream, "SyncByteStream", _SyncStream, exchange)
        exchange.watch(response)


async def _asending(request: Any) -> None:
    _sending(request)


async def _aanswered(response: Any) -> None:
    exchange = CURRENT.get()
    if exchange is not None:
        exchange.answered(response)
        response.stream = _wrapped(response.stream, "AsyncByteStream", _AsyncStream, exchange)


def hooks() -> dict[str, list[Any]]:
    """For a client of threads."""
    return {"request": [_sending], "response": [_answered]}


def async_hooks() -> dict[str, list[Any]]:
    """For a client of an event loop."""
    return {"request": [_asending], "response": [_aanswered]}
