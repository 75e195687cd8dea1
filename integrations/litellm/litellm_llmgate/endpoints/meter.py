"""Reads the streams of endpoints of other shapes than chat's as they pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from litellm_llmgate.endpoints import ENDPOINTS
from llmgate_plugins.meters import ChunkMeter
from llmgate_plugins.types import Message, Usage

__all__ = ["EndpointMeter"]


class EndpointMeter(ChunkMeter):
    """A meter for one stream that is handed on in the endpoint's own shape.

    Args:
        operation: One of `ENDPOINTS`.
        is_kept: Whether LiteLLM's own cache answers, known once there is a piece. That costs nothing.
    """

    __slots__ = ("_is_kept", "_read")

    def __init__(self, operation: str, is_kept: Callable[[], bool] = lambda: False) -> None:
        super().__init__()
        self._is_kept = is_kept
        self._read = ENDPOINTS[operation].reader()

    def feed(self, chunk: Any) -> bool:
        """Take note of a piece; whether anything of the answer is in it.

        Raises:
            ProviderError: It says that the answer has failed.
        """
        begun = False
        for told, says in self._read(chunk):
            super().feed(told)
            begun = begun or says
        return begun

    @property
    def complete(self) -> bool:
        """Whether it said why it ended. What was kept is whole."""
        return super().complete or self._is_kept()

    @property
    def usage(self) -> Usage | None:
        """As the provider reported it; nothing for what was kept."""
        return Usage() if self._is_kept() else super().usage

    @property
    def text(self) -> str:
        """The text delivered so far, with the arguments of tool calls, which are billed like it."""
        calls = (
            f"{name}{''.join(self._arguments[index])}" for index, (_, name) in sorted(self._calls.items())
        )
        return "".join([*self._pieces, *calls])

    def message(self) -> Message:
        """All that was delivered, as one message."""
        return replace(super().message(), content="".join(self._pieces))
