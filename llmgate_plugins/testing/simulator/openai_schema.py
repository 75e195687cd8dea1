"""The bodies of OpenAI requests, as strict as the OpenAI API is."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Assistant", "Chat", "Choice", "Embeddings", "SchemaFormat", "ToolResult"]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


Breakpoint = dict[str, Any]


class Text(Strict):
    type: Literal["text"]
    text: str
    prompt_cache_breakpoint: Breakpoint | None = None


class Refusal(Strict):
    type: Literal["refusal"]
    refusal: str


class ImageUrl(Strict):
    url: str
    detail: Literal["auto", "low", "high"] | None = None


class Image(Strict):
    type: Literal["image_url"]
    image_url: ImageUrl
    prompt_cache_breakpoint: Breakpoint | None = None


class InputAudio(Strict):
    data: str
    format: Literal["wav", "mp3"]


class Audio(Strict):
    type: Literal["input_audio"]
    input_audio: InputAudio
    prompt_cache_breakpoint: Breakpoint | None = None


class FileOf(Strict):
    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class File(Strict):
    type: Literal["file"]
    file: FileOf
    prompt_cache_breakpoint: Breakpoint | None = None


UserPart = Annotated[Text | Image | Audio | File, Field(discriminator="type")]
AssistantPart = Annotated[Text | Refusal, Field(discriminator="type")]


class Called(Strict):
    name: str
    arguments: str


class Call(Strict):
    id: str
    type: Literal["function"]
    function: Called


class System(Strict):
    role: Literal["system", "developer"]
    content: str | list[Text]
    name: str | None = None


class User(Strict):
    role: Literal["user"]
    content: str | list[UserPart]
    name: str | None = None


class Assistant(Strict):
    role: Literal["assistant"]
    content: str | list[AssistantPart] | None = None
    name: str | None = None
    refusal: str | None = None
    audio: dict[str, Any] | None = None
    tool_calls: Annotated[list[Call], Field(min_length=1)] | None = None
    function_call: Called | None = None


class ToolResult(Strict):
    role: Literal["tool"]
    content: str | list[Text]
    tool_call_id: str


class FunctionResult(Strict):
    role: Literal["function"]
    content: str | None
    name: str


AnyMessage = Annotated[System | User | Assistant | ToolResult | FunctionResult, Field(discriminator="role")]


class Function(Strict):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Strict):
    type: Literal["function"]
    function: Function


class Named(Strict):
    name: str


class Choice(Strict):
    type: Literal["function"]
    function: Named


class JsonSchema(Strict):
    name: str
    description: str | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None


class TextFormat(Strict):
    type: Literal["text", "json_object"]


class SchemaFormat(Strict):
    type: Literal["json_schema"]
    json_schema: JsonSchema


class StreamOptions(Strict):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


Unit = Annotated[float, Field(ge=0, le=1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]


class Chat(Strict):
    """The body of a chat-completions request."""

    model: str
    messages: Annotated[list[AnyMessage], Field(min_length=1)]
    audio: dict[str, Any] | None = None
    frequency_penalty: Penalty | None = None
    function_call: str | dict[str, Any] | None = None
    functions: list[Function] | None = None
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
    response_format: Annotated[TextFormat | SchemaFormat, Field(discriminator="type")] | None = None
    safety_identifier: str | None = None
    seed: int | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    tool_choice: Literal["none", "auto", "required"] | Choice | None = None
    tools: Annotated[list[Tool], Field(min_length=1, max_length=128)] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    top_p: Unit | None = None
    user: str | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    web_search_options: dict[str, Any] | None = None


class Embeddings(Strict):
    """The body of an embeddings request."""

    model: str
    input: str | Annotated[list[str] | list[int] | list[list[int]], Field(min_length=1, max_length=2048)]
    dimensions: Annotated[int, Field(ge=1, le=3072)] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = None
