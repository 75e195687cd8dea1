"""Reads Anthropic requests, and refuses what the Messages API refuses, in its words."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from llmgate_plugins.testing.simulator.question import Question, Tool
from llmgate_plugins.testing.simulator.refused import Refused, worst
from llmgate_plugins.types import Message, ToolCall

__all__ = ["read_count", "read_messages"]

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_ID = re.compile(r"[a-zA-Z0-9_-]+")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _CacheControl(_Strict):
    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None


class _Cacheable(_Strict):
    cache_control: _CacheControl | None = None


class _Text(_Cacheable):
    type: Literal["text"]
    text: str
    citations: list[dict[str, Any]] | None = None


class _Source(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)
    type: Literal["base64", "url", "file", "text", "content"]


class _Image(_Cacheable):
    type: Literal["image"]
    source: _Source


class _ToolUse(_Cacheable):
    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]
    caller: dict[str, Any] | None = None


class _Other(BaseModel):
    """Blocks of which this simulator only knows the names."""

    model_config = ConfigDict(extra="allow", strict=True)
    type: str


class _Thinking(_Strict):
    type: Literal["thinking"]
    thinking: str
    signature: str


class _RedactedThinking(_Strict):
    type: Literal["redacted_thinking"]
    data: str


_OTHERS = frozenset(
    "document search_result server_tool_use web_search_tool_result web_fetch_tool_result container_upload "
    "code_execution_tool_result bash_code_execution_tool_result text_editor_code_execution_tool_result "
    "tool_search_tool_result tool_reference mcp_tool_use mcp_tool_result compaction tool_addition "
    "tool_removal".split()
)


def _kind_of(block: Any) -> str | None:
    kind = block.get("type") if isinstance(block, Mapping) else getattr(block, "type", None)
    return "other" if kind in _OTHERS else kind if isinstance(kind, str) else None


ResultPart = Annotated[
    Annotated[_Text, Tag("text")] | Annotated[_Image, Tag("image")] | Annotated[_Other, Tag("other")],
    Discriminator(_kind_of),
]


class _ToolResult(_Cacheable):
    type: Literal["tool_result"]
    tool_use_id: str
    content: str | list[ResultPart] | None = None
    is_error: bool | None = None


Block = Annotated[
    Annotated[_Text, Tag("text")]
    | Annotated[_Image, Tag("image")]
    | Annotated[_ToolUse, Tag("tool_use")]
    | Annotated[_ToolResult, Tag("tool_result")]
    | Annotated[_Thinking, Tag("thinking")]
    | Annotated[_RedactedThinking, Tag("redacted_thinking")]
    | Annotated[_Other, Tag("other")],
    Discriminator(_kind_of),
]


class _Message(_Strict):
    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class _InputSchema(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)
    type: Literal["object"]
    properties: dict[str, Any] | None = None
    required: list[str] | None = None


class _CustomTool(_Cacheable):
    name: str
    input_schema: _InputSchema
    description: str | None = None
    type: Literal["custom"] | None = None
    strict: bool | None = None
    allowed_callers: list[str] | None = None
    defer_loading: bool | None = None
    eager_input_streaming: bool | None = None
    input_examples: list[dict[str, Any]] | None = None


class _ServerTool(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)
    type: str


def _tool_kind(tool: Any) -> str:
    kind = tool.get("type") if isinstance(tool, Mapping) else None
    return "custom" if kind in {None, "custom"} else "server"


AnyTool = Annotated[
    Annotated[_CustomTool, Tag("custom")] | Annotated[_ServerTool, Tag("server")], Discriminator(_tool_kind)
]


class _Choice(_Strict):
    type: Literal["auto", "any", "none", "tool"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class _ThinkingConfig(_Strict):
    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: Annotated[int, Field(ge=1024)] | None = None
    display: Literal["summarized", "omitted"] | None = None


class _Format(_Strict):
    type: Literal["json_schema"]
    schema_: dict[str, Any] = Field(alias="schema")
    name: str | None = None


class _OutputConfig(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: _Format | None = None


class Counted(_Strict):
    """The body of a count-tokens request, and what it shares with a message request."""

    model: Annotated[str, Field(min_length=1)]
    messages: list[_Message]
    system: str | list[_Text] | None = None
    tools: list[AnyTool] | None = None
    tool_choice: _Choice | None = None
    thinking: _ThinkingConfig | None = None
    output_config: _OutputConfig | None = None
    output_format: _Format | None = None
    cache_control: _CacheControl | None = None
    context_management: dict[str, Any] | None = None
    mcp_servers: list[dict[str, Any]] | None = None
    speed: Literal["standard", "fast"] | None = None


class Messages(Counted):
    """The body of a message request."""

    max_tokens: Annotated[int, Field(ge=1)]
    container: Any = None
    diagnostics: dict[str, Any] | None = None
    fallbacks: list[dict[str, Any]] | None = None
    inference_geo: str | None = None
    metadata: dict[str, Any] | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    stop_sequences: list[str] | None = None
    stream: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None


Body = TypeVar("Body", bound=Counted)


def read_messages(body: Any) -> Question:
    """The question in a message request.

    Raises:
        Refused: The real API would refuse it.
    """
    asked = _validated(Messages, body)
    _check_thinking(asked)
    return _question(asked, body)


def read_count(body: Any) -> Question:
    """The question in a count-tokens request.

    Raises:
        Refused: The real API would refuse it.
    """
    return _question(_validated(Counted, body), body)


def _validated(kind: type[Body], body: Any) -> Body:
    try:
        asked = kind.model_validate(body)
    except ValidationError as error:
        raise _refused(error, body) from None
    _check_history(asked)
    _check_tools(asked)
    return asked


def _question(asked: Counted, body: Mapping[str, Any]) -> Question:
    choice = asked.tool_choice
    form = asked.output_format or (asked.output_config and asked.output_config.format)
    system = body.get("system")
    first = (
        [Message(role="system", content=system if isinstance(system, str) else tuple(system))]
        if system
        else []
    )
    return Question(
        model=asked.model,
        messages=(*first, *(part for raw in body["messages"] for part in _messages(raw))),
        tools=tuple(
            Tool(name=tool["name"], description=tool.get("description") or "", schema=tool["input_schema"])
            for tool in body.get("tools") or ()
            if "input_schema" in tool
        ),
        tool_choice="auto" if choice is None else str(choice.name) if choice.type == "tool" else choice.type,
        parallel=not (choice and choice.disable_parallel_tool_use),
        schema=form.schema_ if form else None,
        thinking=asked.thinking is not None and asked.thinking.type in {"enabled", "adaptive"},
        stop=tuple(getattr(asked, "stop_sequences", None) or ()),
        max_tokens=getattr(asked, "max_tokens", None),
        stream=bool(getattr(asked, "stream", None)),
        include_usage=True,
        body=body,
    )


def _messages(raw: Mapping[str, Any]) -> list[Message]:
    """One wire message as neutral ones: each tool result stands alone, before the words."""
    content = raw["content"]
    if isinstance(content, str):
        return [Message(role=raw["role"], content=content)]
    results = [block for block in content if block["type"] == "tool_result"]
    uses = [block for block in content if block["type"] == "tool_use"]
    rest = tuple(block for block in content if block["type"] not in {"tool_result", "tool_use", "thinking"})
    found = [
        Message(role="tool", content=_result_text(block), tool_call_id=block["tool_use_id"])
        for block in results
    ]
    if rest or uses or not results:
        calls = tuple(
            ToolCall(id=use["id"], name=use["name"], arguments=json.dumps(use["input"]), index=index)
            for index, use in enumerate(uses)
        )
        found.append(Message(role=raw["role"], content=rest, tool_calls=calls))
    return found


def _result_text(block: Mapping[str, Any]) -> str:
    content = block.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def _check_history(asked: Counted) -> None:
    messages = asked.messages
    if not messages:
        raise Refused("messages: at least one message is required")
    if messages[0].role == "assistant":
        raise Refused('messages.0: the first message must use the "user" role')
    waiting: list[str] = []
    for index, message in enumerate(messages):
        blocks = message.content if isinstance(message.content, list) else []
        _check_content(message, index, last=index == len(messages) - 1)
        results = [block.tool_use_id for block in blocks if isinstance(block, _ToolResult)]
        _check_results(waiting, results, index)
        if message.role == "assistant" and index and messages[index - 1].role == "assistant":
            continue
        waiting = [block.id for block in blocks if isinstance(block, _ToolUse)]
    if waiting:
        _check_results(waiting, [], len(messages))


def _check_content(message: _Message, index: int, *, last: bool) -> None:
    if not message.content and not (last and message.role == "assistant"):
        raise Refused(
            f"messages.{index}: all messages must have non-empty content except for the optional final "
            "assistant message"
        )
    if isinstance(message.content, str):
        return
    for block in message.content:
        if isinstance(block, _Text) and not block.text:
            raise Refused(f"messages.{index}: text content blocks must be non-empty")
        if isinstance(block, _ToolUse) and not _ID.fullmatch(block.id):
            raise Refused(
                f"messages.{index}.content: tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
            )
        if isinstance(block, _ToolResult) and message.role != "user":
            raise Refused(f"messages.{index}: `tool_result` blocks can only be in `user` messages")
        if isinstance(block, _ToolUse) and message.role != "assistant":
            raise Refused(f"messages.{index}: `tool_use` blocks can only be in `assistant` messages")


def _check_results(waiting: Sequence[str], results: Sequence[str], index: int) -> None:
    strange = [result for result in results if result not in waiting]
    if strange:
        raise Refused(
            f"messages.{index}.content.0: unexpected `tool_use_id` found in `tool_result` blocks: "
            f"{strange[0]}. Each `tool_result` block must have a corresponding `tool_use` block in the "
            "previous message."
        )
    missing = [one for one in waiting if one not in results]
    if missing:
        raise Refused(
            f"messages.{index - 1}: `tool_use` ids were found without `tool_result` blocks immediately "
            f"after: {', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` "
            "block in the next message."
        )


def _check_tools(asked: Counted) -> None:
    names: set[str] = set()
    for index, tool in enumerate(asked.tools or ()):
        if not isinstance(tool, _CustomTool):
            continue
        if not _NAME.fullmatch(tool.name):
            raise Refused(
                f"tools.{index}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
            )
        if tool.name in names:
            raise Refused("tools: Tool names must be unique.")
        names.add(tool.name)
    choice = asked.tool_choice
    if choice is None:
        return
    if not asked.tools:
        raise Refused("tool_choice: tool_choice may only be specified while providing tools")
    if choice.type == "tool" and choice.name is None:
        raise Refused("tool_choice.tool.name: Field required")
    if choice.type == "tool" and choice.name not in names:
        raise Refused(f"tool_choice: Tool '{choice.name}' not found in provided tools")


def _check_thinking(asked: Messages) -> None:
    thinking = asked.thinking
    if thinking is None or thinking.type != "enabled":
        return
    if thinking.budget_tokens is None:
        raise Refused("thinking.enabled.budget_tokens: Field required")
    if thinking.budget_tokens >= asked.max_tokens:
        raise Refused("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if asked.temperature not in {None, 1}:
        raise Refused("`temperature` may only be set to 1 when thinking is enabled.")
    if asked.tool_choice is not None and asked.tool_choice.type in {"any", "tool"}:
        raise Refused("Thinking may not be enabled when tool_choice forces tool use.")


def _refused(error: ValidationError, body: Any) -> Refused:
    """What is wrong, in Anthropic's words, which are pydantic's."""
    path, problem = worst(error, body)
    where = ".".join(map(str, path))
    what = {"missing": "Field required", "extra_forbidden": "Extra inputs are not permitted"}.get(
        problem["type"], problem["msg"].replace(" using _kind_of()", " using 'type'")
    )
    return Refused(f"{where}: {what}" if where else what)
