"""Reads OpenAI requests, and refuses what the OpenAI API refuses, in its words."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmgate_plugins.testing.simulator.question import Question, Tool
from llmgate_plugins.testing.simulator.refused import Refused, worst
from llmgate_plugins.types import Message, ToolCall

__all__ = ["Chat", "Embeddings", "read_chat", "read_embeddings"]

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


Breakpoint = dict[str, Any]


class _Text(_Strict):
    type: Literal["text"]
    text: str
    prompt_cache_breakpoint: Breakpoint | None = None


class _Refusal(_Strict):
    type: Literal["refusal"]
    refusal: str


class _ImageUrl(_Strict):
    url: str
    detail: Literal["auto", "low", "high"] | None = None


class _Image(_Strict):
    type: Literal["image_url"]
    image_url: _ImageUrl
    prompt_cache_breakpoint: Breakpoint | None = None


class _InputAudio(_Strict):
    data: str
    format: Literal["wav", "mp3"]


class _Audio(_Strict):
    type: Literal["input_audio"]
    input_audio: _InputAudio
    prompt_cache_breakpoint: Breakpoint | None = None


class _FileOf(_Strict):
    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class _File(_Strict):
    type: Literal["file"]
    file: _FileOf
    prompt_cache_breakpoint: Breakpoint | None = None


UserPart = Annotated[_Text | _Image | _Audio | _File, Field(discriminator="type")]
AssistantPart = Annotated[_Text | _Refusal, Field(discriminator="type")]


class _Called(_Strict):
    name: str
    arguments: str


class _Call(_Strict):
    id: str
    type: Literal["function"]
    function: _Called


class _System(_Strict):
    role: Literal["system", "developer"]
    content: str | list[_Text]
    name: str | None = None


class _User(_Strict):
    role: Literal["user"]
    content: str | list[UserPart]
    name: str | None = None


class _Assistant(_Strict):
    role: Literal["assistant"]
    content: str | list[AssistantPart] | None = None
    name: str | None = None
    refusal: str | None = None
    audio: dict[str, Any] | None = None
    tool_calls: Annotated[list[_Call], Field(min_length=1)] | None = None
    function_call: _Called | None = None


class _ToolResult(_Strict):
    role: Literal["tool"]
    content: str | list[_Text]
    tool_call_id: str


class _FunctionResult(_Strict):
    role: Literal["function"]
    content: str | None
    name: str


AnyMessage = Annotated[
    _System | _User | _Assistant | _ToolResult | _FunctionResult, Field(discriminator="role")
]


class _Function(_Strict):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _Tool(_Strict):
    type: Literal["function"]
    function: _Function


class _Named(_Strict):
    name: str


class _Choice(_Strict):
    type: Literal["function"]
    function: _Named


class _JsonSchema(_Strict):
    name: str
    description: str | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None


class _TextFormat(_Strict):
    type: Literal["text", "json_object"]


class _SchemaFormat(_Strict):
    type: Literal["json_schema"]
    json_schema: _JsonSchema


class _StreamOptions(_Strict):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


Unit = Annotated[float, Field(ge=0, le=1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]


class Chat(_Strict):
    """The body of a chat-completions request."""

    model: str
    messages: Annotated[list[AnyMessage], Field(min_length=1)]
    audio: dict[str, Any] | None = None
    frequency_penalty: Penalty | None = None
    function_call: str | dict[str, Any] | None = None
    functions: list[_Function] | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    metadata: dict[str, str] | None = None
    modalities: list[Literal["text", "audio"]] | None = None
    moderation: dict[str, Any] | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    parallel_tool_calls: bool | None = None
    prediction: dict[str, Any] | None = None
    presence_penalty: Penalty | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prompt_cache_retention: Literal["in_memory", "24h"] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    response_format: Annotated[_TextFormat | _SchemaFormat, Field(discriminator="type")] | None = None
    safety_identifier: str | None = None
    seed: int | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    tool_choice: Literal["none", "auto", "required"] | _Choice | None = None
    tools: Annotated[list[_Tool], Field(min_length=1, max_length=128)] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    top_p: Unit | None = None
    user: str | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    web_search_options: dict[str, Any] | None = None


class Embeddings(_Strict):
    """The body of an embeddings request."""

    model: str
    input: str | Annotated[list[str] | list[int] | list[list[int]], Field(min_length=1, max_length=2048)]
    dimensions: Annotated[int, Field(ge=1, le=3072)] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = None


def read_chat(body: Any) -> Question:
    """The question in a chat-completions body.

    Raises:
        Refused: The real API would refuse it.
    """
    try:
        chat = Chat.model_validate(body)
    except ValidationError as error:
        raise _refused(error, body) from None
    _check_history(chat.messages)
    _check_options(chat)
    _check_tools(chat)
    form = chat.response_format
    _check_format(chat)
    return Question(
        model=chat.model,
        messages=tuple(_message(raw) for raw in body["messages"]),
        tools=tuple(
            Tool(name=f.name, description=f.description or "", schema=f.parameters or {})
            for f in [tool.function for tool in chat.tools or ()]
        ),
        tool_choice=_choice(chat.tool_choice),
        parallel=chat.parallel_tool_calls is not False,
        schema=form.json_schema.schema_ or {} if isinstance(form, _SchemaFormat) else None,
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


def _choice(choice: str | _Choice | None) -> str:
    if isinstance(choice, _Choice):
        return choice.function.name
    return {"required": "any", None: "auto"}.get(choice, str(choice))


def _check_history(messages: Sequence[BaseModel]) -> None:
    open_calls: list[str] = []
    answerable: set[str] = set()
    for index, message in enumerate(messages):
        if isinstance(message, _ToolResult):
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
        if isinstance(message, _Assistant) and message.content is None:
            if not (message.tool_calls or message.function_call or message.refusal or message.audio):
                raise Refused(
                    "Invalid value for 'content': expected a string, got null.",
                    param=f"messages.[{index}].content",
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
    if isinstance(chat.tool_choice, _Choice):
        name = chat.tool_choice.function.name
        if name not in {tool.function.name for tool in chat.tools}:
            raise Refused(f"Tool choice '{name}' not found in 'tools' parameter.", param="tool_choice")


def _check_format(chat: Chat) -> None:
    form = chat.response_format
    if isinstance(form, _SchemaFormat):
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
