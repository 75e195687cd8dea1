"""What comes back: a whole answer, or a piece of a streamed one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Self

from llmgate_plugins._building import quickly_built
from llmgate_plugins.limits import Quota
from llmgate_plugins.money import Usage
from llmgate_plugins.types.messages import Message, ToolCall

__all__ = ["Chunk", "Response"]


@quickly_built
@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A complete answer.

    Attributes:
        source: The assistant's message, or a function that reads it from `native`
            when first asked for.
        usage: As the provider reported it; None if it did not.
        finish_reason: "stop", "length", "tool_calls", "content_filter", or None.
        model: The model that served, by the provider's word.
        id: The provider's id of this answer, for asking it about one.
        deployment_id: Which deployment served; None if a plugin answered.
        begun_by: Others that wrote its beginning, where a stream broke and this one went on from there.
        call_id: Of the call that this answers, for `explain`, `feedback` and the ledger.
        quota: What the provider said of its rate limits, where the transport can tell.
        empty: It has nothing in it: no text, no tool call. An answer that is empty though the
            model says it has finished is tried once more elsewhere.
        native: The host's own object, handed back to it unchanged.
    """

    source: Message | Callable[[], Message] = field(repr=False)
    usage: Usage | None = None
    finish_reason: str | None = "stop"
    model: str | None = None
    id: str | None = None
    deployment_id: str | None = None
    begun_by: tuple[str, ...] = ()
    call_id: str | None = None
    quota: Quota | None = None
    empty: bool = False
    native: Any = field(default=None, repr=False, compare=False)

    @property
    def message(self) -> Message:
        """The assistant's message."""
        source = self.source
        if not isinstance(source, Message):
            source = source()
            object.__setattr__(self, "source", source)
        return source

    @property
    def text(self) -> str:
        """The text of the answer."""
        return self.message.text

    @classmethod
    def of(cls, text: str, **fields: Any) -> Response:
        """An answer with this text, for plugins that answer themselves."""
        return cls(source=Message(role="assistant", content=text), **fields)

    def replace(self, **changes: Any) -> Self:
        """This response with some fields changed."""
        return replace(self, **changes)


@quickly_built
@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of a streamed answer.

    Attributes:
        id: The provider's id of the answer it is a piece of.
        restarted: All that was delivered before is void; the answer begins anew after this
            chunk. Only where the caller asked for `on_break="restart"`.
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage | None = None
    finish_reason: str | None = None
    model: str | None = None
    id: str | None = None
    restarted: bool = False
    native: Any = field(default=None, repr=False, compare=False)
