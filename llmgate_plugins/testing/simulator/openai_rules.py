"""The rules of the OpenAI API that no schema can say."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from llmgate_plugins.testing.simulator.openai_schema import (
    Assistant,
    Chat,
    Choice,
    SchemaFormat,
    ToolResult,
)
from llmgate_plugins.testing.simulator.refused import Refused

__all__ = ["check"]

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def check(chat: Chat) -> None:
    """Refuse a request that has the right shape and still makes no sense.

    Raises:
        Refused: The real API would refuse it.
    """
    _check_history(chat.messages)
    _check_options(chat)
    _check_tools(chat)
    _check_format(chat)


def _check_history(messages: Sequence[BaseModel]) -> None:
    open_calls: list[str] = []
    answerable: set[str] = set()
    for index, message in enumerate(messages):
        if isinstance(message, ToolResult):
            if message.tool_call_id not in answerable:
                raise Refused(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding "
                    "message with 'tool_calls'.",
                    param=f"messages.[{index}].role",
                )
            open_calls = [call for call in open_calls if call != message.tool_call_id]
            continue
        _check_answered(open_calls, index)
        open_calls = [call.id for call in getattr(message, "tool_calls", None) or ()]
        answerable = set(open_calls)
    _check_answered(open_calls, len(messages))


def _check_answered(open_calls: Sequence[str], index: int) -> None:
    if open_calls:
        raise Refused(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            "'tool_call_id'. The following tool_call_ids did not have response messages: "
            + ", ".join(open_calls),
            param=f"messages.[{index}].role",
        )


def _check_options(chat: Chat) -> None:
    for index, message in enumerate(chat.messages):
        if not isinstance(message, Assistant) or message.content is not None:
            continue
        if not (message.tool_calls or message.function_call or message.refusal or message.audio):
            raise Refused(
                "Invalid value for 'content': expected a string, got null.",
                param=f"messages[{index}].content",
            )
    if chat.stream_options is not None and not chat.stream:
        raise Refused(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
        )
    if chat.max_tokens is not None and chat.max_completion_tokens is not None:
        raise Refused(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            param="max_tokens",
            code="invalid_parameter_combination",
        )
    if chat.top_logprobs is not None and not chat.logprobs:
        raise Refused(
            "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.", param="top_logprobs"
        )


def _check_tools(chat: Chat) -> None:
    if chat.tools is None:
        for option in ("tool_choice", "parallel_tool_calls"):
            if getattr(chat, option) not in {None, "none"}:
                raise Refused(
                    f"Invalid value for '{option}': '{option}' is only allowed when 'tools' are specified.",
                    param=option,
                )
        return
    for index, tool in enumerate(chat.tools):
        function, where = tool.function, f"tools[{index}].function"
        if not _NAME.fullmatch(function.name):
            raise Refused(
                f"Invalid '{where}.name': string does not match pattern. Expected a string that matches "
                "the pattern '^[a-zA-Z0-9_-]+$'.",
                param=f"{where}.name",
                code="invalid_value",
            )
        _check_schema(function.parameters, function.strict, f"function '{function.name}'", where)
    if isinstance(chat.tool_choice, Choice):
        name = chat.tool_choice.function.name
        if name not in {tool.function.name for tool in chat.tools}:
            raise Refused(f"Tool choice '{name}' not found in 'tools' parameter.", param="tool_choice")


def _check_format(chat: Chat) -> None:
    form = chat.response_format
    if isinstance(form, SchemaFormat):
        schema = form.json_schema
        _check_schema(
            schema.schema_, schema.strict, f"response_format '{schema.name}'", "response_format", of_text=True
        )
    elif form is not None and form.type == "json_object":
        said = json.dumps([message.model_dump().get("content") for message in chat.messages])
        if "json" not in said.lower():
            raise Refused(
                "'messages' must contain the word 'json' in some form, to use 'response_format' of type "
                "'json_object'.",
                param="messages",
            )


def _check_schema(
    schema: Mapping[str, Any] | None, strict: bool | None, owner: str, param: str, *, of_text: bool = False
) -> None:
    def refuse(what: str) -> Refused:
        name = "response_format" if of_text else f"{param}.parameters"
        code = None if of_text else "invalid_function_parameters"
        return Refused(f"Invalid schema for {owner}: {what}", param=name, code=code)

    if schema is None or (not schema and not strict):
        return
    kind = schema.get("type")
    if kind != "object" and not (of_text and not strict) and "$ref" not in schema:
        raise refuse(f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{kind}\"'.")
    if kind == "object" and not isinstance(schema.get("properties", {}), Mapping):
        raise refuse("'properties' is not of type 'object'.")
    if strict:
        for place, part in _objects(schema, ()):
            properties = part.get("properties", {})
            if part.get("additionalProperties") is not False:
                raise refuse(
                    f"In context={place}, 'additionalProperties' is required to be supplied and to be false."
                )
            missing = [name for name in properties if name not in part.get("required", ())]
            if missing:
                raise refuse(
                    f"In context={place}, 'required' is required to be supplied and to be an array including "
                    f"every key in properties. Missing '{missing[0]}'."
                )


def _objects(schema: Any, place: tuple[str, ...]) -> list[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Every object schema in a schema, with the path to it."""
    if not isinstance(schema, Mapping):
        return []
    found = [(place, schema)] if schema.get("type") == "object" else []
    for key in ("properties", "$defs", "definitions"):
        for name, part in (schema.get(key) or {}).items():
            found += _objects(part, (*place, key, name))
    for key in ("anyOf", "allOf"):
        for index, part in enumerate(schema.get(key) or ()):
            found += _objects(part, (*place, key, str(index)))
    return found + (_objects(schema["items"], (*place, "items")) if "items" in schema else [])
