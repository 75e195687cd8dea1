"""The messages of a conversation, in the OpenAI chat vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

__all__ = ["LazyMessages", "Message", "ToolCall"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call of a tool that the model asks for; `arguments` is JSON text as received."""

    id: str
    name: str
    arguments: str = "{}"
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a conversation, in the OpenAI chat vocabulary.

    Attributes:
        role: "system", "user", "assistant" or "tool".
        content: Text, or content parts as OpenAI writes them
            (`{"type": "text", "text": ...}`, `{"type": "image_url", ...}`).
        tool_calls: What an assistant message asks for.
        tool_call_id: Which tool call a tool message answers.
        native: The host's own message this one was read from. It survives
            `dataclasses.replace`, so that a host can carry a change back.
    """

    role: str
    content: str | tuple[Mapping[str, Any], ...] = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None
    native: Any = field(default=None, repr=False, compare=False)

    @property
    def text(self) -> str:
        """The text of all text parts, joined."""
        if isinstance(self.content, str):
            return self.content
        return "".join(str(part.get("text", "")) for part in self.content if part.get("type") == "text")


class LazyMessages(Sequence[Message]):
    """Messages that are read from a host's own only when a plugin looks at them.

    Args:
        native: The host's messages.
        read: Turns one of them into a `Message`. Pure; called once per message.
    """

    __slots__ = ("_messages", "_read", "native")

    def __init__(self, native: Sequence[Any], read: Callable[[Any], Message]) -> None:
        self.native = native
        self._read = read
        self._messages: tuple[Message, ...] | None = None

    @property
    def messages(self) -> tuple[Message, ...]:
        """All messages, read now if they have not been."""
        if self._messages is None:
            self._messages = tuple(map(self._read, self.native))
        return self._messages

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Message]: ...
    def __getitem__(self, index: int | slice) -> Message | Sequence[Message]:
        return self.messages[index]

    def __len__(self) -> int:
        return len(self.native)

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(self.messages)

    def __repr__(self) -> str:
        return repr(self.messages)
