"""The bodies of Anthropic requests, as strict as the Messages API is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

__all__ = ["Counted", "CustomTool", "Messages", "Text", "ToolResult", "ToolUse", "Turn"]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class CacheControl(Strict):
    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None


class Cacheable(Strict):
    cache_control: CacheControl | None = None


class Text(Cacheable):
    type: Literal["text"]
    text: str
    citations: list[dict[str, Any]] | None = None


class Source(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)
    type: Literal["base64", "url", "file", "text", "content"]


class Image(Cacheable):
    type: Literal["image"]
    source: Source


class ToolUse(Cacheable):
    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]
    caller: dict[str, Any] | None = None


class Other(BaseModel):
    """Blocks of which this simulator only knows the names."""

    model_config = ConfigDict(extra="allow", strict=True)
    type: str


class Thinking(Strict):
    type: Literal["thinking"]
    thinking: str
    signature: str


class RedactedThinking(Strict):
    type: Literal["redacted_thinking"]
    data: str


_OTHERS = frozenset(
    [
        "document",
        "search_result",
        "server_tool_use",
        "web_search_tool_result",
        "web_fetch_tool_result",
        "container_upload",
        "code_execution_tool_result",
        "bash_code_execution_tool_result",
        "text_editor_code_execution_tool_result",
        "tool_search_tool_result",
        "tool_reference",
        "mcp_tool_use",
        "mcp_tool_result",
        "compaction",
        "tool_addition",
        "tool_removal",
    ]
)


def _kind_of(block: Any) -> str | None:
    kind = block.get("type") if isinstance(block, Mapping) else getattr(block, "type", None)
    return "other" if kind in _OTHERS else kind if isinstance(kind, str) else None


ResultPart = Annotated[
    Annotated[Text, Tag("text")] | Annotated[Image, Tag("image")] | Annotated[Other, Tag("other")],
    Discriminator(_kind_of),
]


class ToolResult(Cacheable):
    type: Literal["tool_result"]
    tool_use_id: str
    content: str | list[ResultPart] | None = None
    is_error: bool | None = None


Block = Annotated[
    Annotated[Text, Tag("text")]
    | Annotated[Image, Tag("image")]
    | Annotated[ToolUse, Tag("tool_use")]
    | Annotated[ToolResult, Tag("tool_result")]
    | Annotated[Thinking, Tag("thinking")]
    | Annotated[RedactedThinking, Tag("redacted_thinking")]
    | Annotated[Other, Tag("other")],
    Discriminator(_kind_of),
]


class Turn(Strict):
    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class InputSchema(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)
    type: Literal["object"]
    properties: dict[str, Any] | None = None
    required: list[str] | None = None


class CustomTool(Cacheable):
    name: str
    input_schema: InputSchema
    description: str | None = None
    type: Literal["custom"] | None = None
    strict: bool | None = None
    allowed_callers: list[str] | None = None
    defer_loading: bool | None = None
    eager_input_streaming: bool | None = None
    input_examples: list[dict[str, Any]] | None = None


class ServerTool(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)
    type: str


def _tool_kind(tool: Any) -> str:
    kind = tool.get("type") if isinstance(tool, Mapping) else None
    return "custom" if kind in {None, "custom"} else "server"


AnyTool = Annotated[
    Annotated[CustomTool, Tag("custom")] | Annotated[ServerTool, Tag("server")], Discriminator(_tool_kind)
]


class Choice(Strict):
    type: Literal["auto", "any", "none", "tool"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class ThinkingConfig(Strict):
    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: Annotated[int, Field(ge=1024)] | None = None
    display: Literal["summarized", "omitted"] | None = None


class Format(Strict):
    type: Literal["json_schema"]
    schema_: dict[str, Any] = Field(alias="schema")
    name: str | None = None


class OutputConfig(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: Format | None = None


class Counted(Strict):
    """The body of a count-tokens request, and what it shares with a message request."""

    model: Annotated[str, Field(min_length=1)]
    messages: list[Turn]
    system: str | list[Text] | None = None
    tools: list[AnyTool] | None = None
    tool_choice: Choice | None = None
    thinking: ThinkingConfig | None = None
    output_config: OutputConfig | None = None
    output_format: Format | None = None
    cache_control: CacheControl | None = None
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
