"""Lets go of the connection of a stream that LiteLLM has made.

What is left to the garbage collector is closed at any moment, also in the midst of a request that
holds the lock of the same pool of connections: httpcore's is not reentrant, and that thread would stand
still for good.
"""

from __future__ import annotations

import contextlib
from typing import Any

__all__ = ["alet_go", "let_go"]


def let_go(*streams: Any) -> None:
    """LiteLLM's sync streams cannot be closed, but what they read from can: a client's stream, or lines."""
    for stream in streams:
        inner = getattr(stream, "completion_stream", None)
        for one in (inner, getattr(inner, "streaming_response", None)):
            close = getattr(one, "close", None)
            if close is not None:
                with contextlib.suppress(Exception):  # it may be broken
                    close()


async def alet_go(stream: Any, *within: Any) -> None:
    """The same in an event loop.

    Args:
        within: What it may be a wrapper around, which may lack what a stream has.
    """
    inner = [getattr(one, "completion_stream", None) for one in (stream, *within)]
    lines = [getattr(one, "streaming_response", None) for one in inner]
    for one in (stream, inner[0]):
        close = getattr(one, "aclose", None)
        if close is not None:
            await close()
            break
    for one in lines:
        close = getattr(one, "aclose", None)
        if close is not None:
            with contextlib.suppress(Exception):
                await close()
