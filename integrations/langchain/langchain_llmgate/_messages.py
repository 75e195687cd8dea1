"""LangChain messages to neutral ones and back. Pure; what nobody changed comes back as the same object."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    is_data_content_block,
)
from langchain_core.messages.block_translators.openai import convert_to_openai_data_block
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from llmgate_plugins.types import Chunk, LazyMessages, Message, Response, ToolCall

__all__ = [
    "answer_chunk",
    "answer_message",
    "answer_result",
    "as_chunk",
    "read_message",
    "rewrite_message",
    "write_messages",
]

ROLES: Final = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool", "function": "tool"}


class _Part(dict[str, Any]):
    """A content part in the OpenAI shape that remembers the block it was read from."""

    __slots__ = ("block",)

    block: Any


# ------------------------------------------------------------ reading


def read_message(message: BaseMessage) -> Message:
    """A neutral message that keeps the original as `native`."""
    kind = message.type.removesuffix("MessageChunk").lower()
    content = message.content
    return Message(
        role=ROLES.get(kind) or getattr(message, "role", None) or kind,
        content=content if isinstance(content, str) else tuple(map(_read_block, content)),
        tool_calls=tuple(_read_calls(message)) if isinstance(message, AIMessage) else (),
        tool_call_id=message.tool_call_id if isinstance(message, ToolMessage) else None,
        name=message.name,
        native=message,
    )


def _read_calls(message: AIMessage) -> list[ToolCall]:
    calls = [
        (call["id"], call["name"], json.dumps(call["args"], ensure_ascii=False))
        for call in message.tool_calls
    ]
    calls += [(call["id"], call["name"] or "", call["args"] or "") for call in message.invalid_tool_calls]
    return [
        ToolCall(id=identity or "", name=name, arguments=arguments, index=index)
        for index, (identity, name, arguments) in enumerate(calls)
    ]


def _read_block(block: str | dict[str, Any]) -> Mapping[str, Any]:
    """Text and data blocks in the OpenAI shape; whatever else a provider has, as it is."""
    part = _Part()
    if isinstance(block, str):
        part.update(type="text", text=block)
    elif block.get("type") in ("image", "audio", "file") and is_data_content_block(block):
        try:
            part.update(convert_to_openai_data_block(block))
        except (KeyError, ValueError):  # a source that OpenAI has no shape for, a file by URL say
            part.update(block)
    else:
        part.update(block)
    part.block = block
    return part


# ------------------------------------------------------------ writing back


def write_messages(messages: Sequence[Message]) -> list[BaseMessage]:
    """The LangChain messages of a request as a plugin left it.

    An untouched message is the very object it was read from; a changed one is a copy of
    it with the change; one that a plugin made up is new.
    """
    if isinstance(messages, LazyMessages):
        return list(messages.native)
    return [rewrite_message(message) for message in messages]


def rewrite_message(message: Message) -> BaseMessage:
    """The message this one was read from, with what has changed since changed in a copy."""
    native = message.native
    if not isinstance(native, BaseMessage):
        return _new_message(message)
    before = read_message(native)
    if before == message:
        return native
    if before.role != message.role:
        return _new_message(message)
    update: dict[str, Any] = {}
    if before.content != message.content:
        update["content"] = _write_content(message.content)
    if before.name != message.name:
        update["name"] = message.name
    if before.tool_call_id != message.tool_call_id:
        update["tool_call_id"] = message.tool_call_id or ""
    if before.tool_calls != message.tool_calls:
        update.update(_write_calls(native, message, update.get("content", native.content)))
    return native.model_copy(update=update)


def _write_calls(native: BaseMessage, message: Message, content: Any) -> dict[str, Any]:
    """Changed tool calls, without the copies of them that providers keep elsewhere in the message."""
    valid, invalid = _parsed_calls(message.tool_calls)
    kept = {
        key: v for key, v in native.additional_kwargs.items() if key not in ("tool_calls", "function_call")
    }
    if isinstance(content, list):
        content = [
            block
            for block in content
            if not (
                isinstance(block, dict) and block.get("type") in ("tool_use", "tool_call", "function_call")
            )
        ]
    return {
        "tool_calls": valid,
        "invalid_tool_calls": invalid,
        "additional_kwargs": kept,
        "content": content,
    }


def _parsed_calls(calls: Sequence[ToolCall]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    valid: list[dict[str, Any]] = []
    invalid: list[dict[str, Any]] = []
    for call in calls:
        try:
            args = json.loads(call.arguments or "{}")
        except ValueError:
            args = None
        if isinstance(args, dict):
            valid.append({"type": "tool_call", "id": call.id, "name": call.name, "args": args})
        else:
            invalid.append(
                {
                    "type": "invalid_tool_call",
                    "id": call.id,
                    "name": call.name,
                    "args": call.arguments,
                    "error": None,
                }
            )
    return valid, invalid


def _write_content(content: str | Sequence[Mapping[str, Any]]) -> str | list[str | dict[str, Any]]:
    if isinstance(content, str):
        return content
    return [part.block if isinstance(part, _Part) else dict(part) for part in content]


def _new_message(message: Message) -> BaseMessage:
    content = _write_content(message.content)
    match message.role:
        case "system" | "developer":
            return SystemMessage(content=content, name=message.name)
        case "user":
            return HumanMessage(content=content, name=message.name)
        case "assistant":
            return answer_message(message)
        case "tool":
            return ToolMessage(content=content, name=message.name, tool_call_id=message.tool_call_id or "")
    return ChatMessage(content=content, role=message.role, name=message.name)


# ------------------------------------------------------------ answers


def answer_message(message: Message) -> AIMessage:
    """An assistant's message that was not a LangChain one: a plugin's own answer."""
    valid, invalid = _parsed_calls(message.tool_calls)
    return AIMessage(
        content=_write_content(message.content),
        name=message.name,
        tool_calls=valid,
        invalid_tool_calls=invalid,
    )


def answer_result(response: Response) -> ChatResult:
    """A plugin's own answer, as a chat model gives it.

    It brings no usage, since it used no tokens now: LangChain's counters would count those of
    an earlier call again.
    """
    message = answer_message(response.message)
    if response.model is not None:
        message.response_metadata["model_name"] = response.model
    return ChatResult(
        generations=[
            ChatGeneration(message=message, generation_info={"finish_reason": response.finish_reason})
        ]
    )


def answer_chunk(chunk: Chunk) -> ChatGenerationChunk:
    """A plugin's own answer to a streamed call, in one chunk; without usage, as above."""
    metadata = {"finish_reason": chunk.finish_reason, "model_name": chunk.model}
    return ChatGenerationChunk(
        message=AIMessageChunk(
            content=chunk.text,
            tool_call_chunks=[
                tool_call_chunk(name=call.name, args=call.arguments, id=call.id, index=call.index)
                for call in chunk.tool_calls
            ],
            response_metadata={key: value for key, value in metadata.items() if value is not None},
            chunk_position="last",
        )
    )


def as_chunk(result: ChatResult) -> ChatGenerationChunk:
    """A whole answer as the only chunk of a stream, for a model that does not stream."""
    generation = result.generations[0]
    message = generation.message
    calls = read_message(message).tool_calls
    return ChatGenerationChunk(
        message=AIMessageChunk(
            content=message.content,
            id=message.id,
            name=message.name,
            additional_kwargs=message.additional_kwargs,
            response_metadata={**(result.llm_output or {}), **message.response_metadata},
            usage_metadata=message.usage_metadata if isinstance(message, AIMessage) else None,
            tool_call_chunks=[
                tool_call_chunk(name=call.name, args=call.arguments, id=call.id, index=call.index)
                for call in calls
            ],
            chunk_position="last",
        ),
        generation_info=generation.generation_info,
    )
