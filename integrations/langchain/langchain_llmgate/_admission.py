"""An admitted call on its way through LangChain's core: policy comes before any trace or cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from langchain_core.messages import BaseMessage

from langchain_llmgate._messages import read_message, write_messages
from langchain_llmgate._tools import BoundTools, same_tools
from llmgate_plugins.context import Call
from llmgate_plugins.errors import HookFailed, RequestDenied
from llmgate_plugins.records import CallStatus
from llmgate_plugins.types import LazyMessages, OnBreak, Request

if TYPE_CHECKING:
    from llmgate_plugins.gateway import Gateway

__all__ = ["ADMISSION", "Admission", "ask"]

ADMISSION: Final = "llmgate_admission"
"""The call argument in which an admission travels through LangChain's core, unseen by traces and caches."""


class Admission:
    """A call that policy let in, with the arguments in which the core hands it on.

    A context manager: on leaving, what was opened is closed, and a call that was never
    carried out (LangChain's cache answered) gets its one terminal event.

    Attributes:
        messages, stop, words: As admitted.
        opened: The stream that carries the call out, once there is one.
        ruled_out: Ids of deployments that may not serve it, for the key of a cache; None until asked.
    """

    __slots__ = ("_gateway", "call", "messages", "opened", "ruled_out", "stop", "words")

    def __init__(self, gateway: Gateway, call: Call, asked: Request) -> None:
        self._gateway = gateway
        self.call = call
        self.opened: Any = None
        self.ruled_out: frozenset[str] | None = None
        admitted = call.request
        self.messages = _messages(asked, admitted)
        self.words = dict(asked.params) if admitted.params is asked.params else _words(asked, admitted)
        stop = self.words.pop("stop", None)
        self.stop: list[str] | None = [stop] if isinstance(stop, str) else stop

    @property
    def handed_on(self) -> dict[str, Any]:
        """The call's words with the admission among them."""
        return {**self.words, ADMISSION: self}

    def look_for_origins(self) -> None:
        """Learn whose answers are not for this call, before a cache is asked for one."""
        try:
            self.ruled_out = self._gateway.ruled_out(self.call)
        except (RequestDenied, HookFailed):
            self._share_nothing()

    async def alook_for_origins(self) -> None:
        """The same for an event loop."""
        try:
            self.ruled_out = await self._gateway.aruled_out(self.call)
        except (RequestDenied, HookFailed):
            self._share_nothing()

    def _share_nothing(self) -> None:
        """Selection will fail likewise, and tell why; until then this call is like no other."""
        self.ruled_out = frozenset((self.call.id,))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.opened is not None:
            self.opened.close()
        if self.call.record.status == "open":
            self._gateway.dismiss(self.call, _status(error))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose(_status(error))

    async def aclose(self, status: CallStatus = "abandoned") -> None:
        """Close what was opened; end the call if it is still open."""
        if self.opened is not None:
            await self.opened.aclose()
        if self.call.record.status == "open":
            await self._gateway.adismiss(self.call, status)

    def __del__(self) -> None:
        """A stream of events that was made and never read."""
        if self.call.record.status == "open" and self.opened is None:
            self._gateway.dismiss(self.call, "abandoned")


def ask(
    model: str,
    messages: Sequence[BaseMessage],
    words: Mapping[str, Any],
    *,
    tags: Mapping[str, str],
    stream: bool,
    session: str | None,
    timeout: float | None,
    on_break: OnBreak | None,
) -> Request:
    """The neutral request. Its messages are read only if a plugin looks at them."""
    return Request(
        model=model,
        messages=LazyMessages(messages, read_message),
        params=words,
        tags=tags,
        stream=stream,
        session=session,
        timeout=timeout,
        on_break=on_break,
    )


def _messages(asked: Request, admitted: Request) -> list[BaseMessage]:
    if admitted.messages is asked.messages:
        return list(asked.messages.native)  # type: ignore[attr-defined]
    return write_messages(admitted.messages)


def _words(asked: Request, admitted: Request) -> dict[str, Any]:
    """The words as a plugin left them; tools that it kept remember what they were made of."""
    words = dict(admitted.params)
    before, after = asked.params.get("tools"), words.get("tools")
    if isinstance(before, BoundTools) and after is not None and after is not before:
        words["tools"] = same_tools(before, after)
    return words


def _status(error: BaseException | None) -> CallStatus:
    if error is None:
        return "answered"
    if isinstance(error, GeneratorExit):
        return "abandoned"
    return "error" if isinstance(error, Exception) else "cancelled"
