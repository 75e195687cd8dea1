"""Reads OpenAI requests, and refuses what does not fit, in OpenAI's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from llmgate_plugins.testing.simulator.openai_rules import check
from llmgate_plugins.testing.simulator.openai_schema import Chat, Choice, Embeddings, SchemaFormat
from llmgate_plugins.testing.simulator.question import Question, Tool
from llmgate_plugins.testing.simulator.refused import Refused, worst
from llmgate_plugins.types import Message, ToolCall

__all__ = ["read_chat", "read_embeddings"]


def read_chat(body: Any) -> Question:
    """The question in a chat-completions body.

    Raises:
        Refused: The real API would refuse it.
    """
    try:
        chat = Chat.model_validate(body)
    except ValidationError as error:
        raise _refused(error, body) from None
    check(chat)
    form = chat.response_format
    return Question(
        model=chat.model,
        messages=tuple(_message(raw) for raw in body["messages"]),
        tools=tuple(
            Tool(name=f.name, description=f.description or "", schema=f.parameters or {})
            for f in [tool.function for tool in chat.tools or ()]
        ),
        tool_choice=_choice(chat.tool_choice),
        parallel=chat.parallel_tool_calls is not False,
        schema=form.json_schema.schema_ or {} if isinstance(form, SchemaFormat) else None,
        json_mode=form is not None and form.type == "json_object",
        stop=(chat.stop,) if isinstance(chat.stop, str) else tuple(chat.stop or ()),
        max_tokens=chat.max_completion_tokens or chat.max_tokens,
        n=chat.n or 1,
        stream=bool(chat.stream),
        include_usage=bool(chat.stream_options and chat.stream_options.include_usage),
        body=body,
    )


def read_embeddings(body: Any) -> Embeddings:
    """An embeddings request.

    Raises:
        Refused: The real API would refuse it.
    """
    try:
        return Embeddings.model_validate(body)
    except ValidationError as error:
        raise _refused(error, body) from None


def _message(raw: Mapping[str, Any]) -> Message:
    content = raw.get("content") or ""
    return Message(
        role="system" if raw["role"] == "developer" else raw["role"],
        content=content if isinstance(content, str) else tuple(content),
        tool_calls=tuple(
            ToolCall(id=c["id"], name=c["function"]["name"], arguments=c["function"]["arguments"], index=i)
            for i, c in enumerate(raw.get("tool_calls") or ())
        ),
        tool_call_id=raw.get("tool_call_id"),
        name=raw.get("name"),
    )


def _choice(choice: str | Choice | None) -> str:
    if isinstance(choice, Choice):
        return choice.function.name
    return {"required": "any", None: "auto"}.get(choice, str(choice))


def _refused(error: ValidationError, body: Any) -> Refused:
    """What is wrong, in OpenAI's words."""
    path, problem = worst(error, body)
    context, kind = problem.get("ctx", {}), problem["type"]
    if kind.startswith("union_tag"):  # the location is the message's, not its role's
        path = [*path, str(context["discriminator"]).strip("'")]
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    text, code = _words(kind, name, problem["input"], context, str(path[-1]) if path else "")
    return Refused(text or f"Invalid '{name}': {problem['msg']}.", name, code)


def _words(
    kind: str, name: str, given: Any, context: Mapping[str, Any], field: str
) -> tuple[str | None, str | None]:
    """The sentence and the code of one kind of mistake."""
    match kind:
        case "missing" | "union_tag_not_found":
            return f"Missing required parameter: '{name}'.", "missing_required_parameter"
        case "extra_forbidden":
            return f"Unknown parameter: '{name}'.", "unknown_parameter"
        case "too_short":
            return f"Invalid '{name}': empty array. Expected an array with minimum length 1.", "empty_array"
        case "too_long":
            lengths = (
                f"maximum length {context['max_length']}, but got an array with length {len(given)} instead"
            )
            return (
                f"Invalid '{name}': array too long. Expected an array with {lengths}.",
                "array_above_max_length",
            )
        case "greater_than_equal" | "less_than_equal":
            return _range(name, given, context)
        case "literal_error" | "union_tag_invalid":
            expected = context.get("expected") or context.get("expected_tags")
            shown = given.get(field) if isinstance(given, Mapping) else given
            return f"Invalid value: '{shown}'. Supported values are: {expected}.", "invalid_value"
    wanted = _TYPES.get(kind)
    if wanted is None:
        return None, "invalid_value"
    return f"Invalid type for '{name}': expected {wanted}, but got {_kind(given)} instead.", "invalid_type"


_TYPES = {
    "string_type": "a string",
    "float_type": "a decimal",
    "int_type": "an integer",
    "bool_type": "a boolean",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}


def _range(name: str, given: float, context: Mapping[str, Any]) -> tuple[str, str]:
    bound = context.get("ge", context.get("le"))
    what = "decimal" if isinstance(bound, float) else "integer"
    side, sign, short = (
        ("below minimum", ">=", "below_min") if "ge" in context else ("above maximum", "<=", "above_max")
    )
    text = (
        f"Invalid '{name}': {what} {side} value. Expected a value {sign} {bound:g}, but got {given} instead."
    )
    return text, f"{what}_{short}_value"


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a decimal number"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"
