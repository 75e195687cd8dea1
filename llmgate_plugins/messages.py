"""Messages as OpenAI writes them, to and from neutral ones. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmgate_plugins.types import Message, ToolCall

__all__ = ["from_message", "to_message", "to_messages"]


def to_messages(messages: str | Sequence[Message | Mapping[str, Any]]) -> tuple[Message, ...]:
    """Neutral messages from a prompt, from dicts in the OpenAI shape, or from neutral ones.

    Raises:
        ValueError: One has no role.
        TypeError: They are something else.
    """
    if isinstance(messages, str):
        return (Message(role="user", content=messages),)
    if not hasattr(messages, "__iter__"):
        raise _no_message(messages)
    return tuple([one if isinstance(one, Message) else to_message(one) for one in messages])


def _no_message(given: object) -> TypeError:
    return TypeError(
        'messages are a text, or a list of {"role": "user", "content": "..."}; '
        f"this is of type {type(given).__name__}"
    )


def to_message(message: Mapping[str, Any]) -> Message:
    """A neutral message from one in the OpenAI shape; `native` keeps the original.

    Raises:
        ValueError: It has no role.
        TypeError: It is no mapping.
    """
    try:
        role = message.get("role")
    except AttributeError:  # to ask first would cost every message
        raise _no_message(message) from None
    if not isinstance(role, str):
        raise ValueError(  # noqa: TRY004 - the value is wrong, not its type
            f"a message needs a role: {sorted(message)}"
        )
    content = message.get("content") or ""
    return Message(
        role=role,
        content=content if isinstance(content, str) else tuple(content),
        tool_calls=tuple(
            _to_tool_call(index, call) for index, call in enumerate(message.get("tool_calls") or ())
        ),
        tool_call_id=message.get("tool_call_id"),
        name=message.get("name"),
        native=message,
    )


def from_message(message: Message) -> dict[str, Any]:
    """A message in the OpenAI shape. Further fields of the original survive."""
    written: dict[str, Any] = dict(message.native) if isinstance(message.native, Mapping) else {}
    written["role"] = message.role
    written["content"] = message.content if isinstance(message.content, str) else list(message.content)
    if message.tool_calls:
        written["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
        written["content"] = written["content"] or None
    if message.tool_call_id is not None:
        written["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        written["name"] = message.name
    return written


def _to_tool_call(index: int, call: Mapping[str, Any]) -> ToolCall:
    function = call.get("function") or {}
    return ToolCall(
        id=str(call.get("id") or ""),
        name=str(function.get("name") or ""),
        arguments=str(function.get("arguments") or "{}"),
        index=index,
    )
