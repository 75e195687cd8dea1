"""Google's `generateContent`: what is asked in its shape, what is answered, and what that used."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from litellm_llmgate.endpoints.endpoint import Reading, failure, of, put
from litellm_llmgate.endpoints.events import Events
from llmgate_plugins.types import Chunk, Message, Response, ToolCall, Usage
from llmgate_plugins.usage import usage_from_litellm

__all__ = ["GenerateContent", "bounds_in", "instruction_in", "messages_in"]

_STOPS: Final[Mapping[str, str]] = {"max_tokens": "length", "safety": "content_filter"}


class GenerateContent:
    """`/v1beta/models/...:generateContent`."""

    def usage_in(self, answer: Any) -> Usage | None:
        """What it used, as reported."""
        return _usage(answer)

    def message_in(self, answer: Any) -> Message:
        """What this answer says."""
        texts: list[str] = []
        calls: list[ToolCall] = []
        for part in _parts(answer):
            if of(part, "thought"):
                continue
            if (asked := of(part, "functionCall")) is not None:
                calls.append(_call(asked, len(calls)))
            else:
                texts.append(of(part, "text") or "")
        return Message(role="assistant", content="".join(texts), tool_calls=tuple(calls))

    def changed(self, answer: Any, message: Message) -> Any:
        """A copy that says this instead. Calls bear no ids here: they are told apart by their names."""
        answer = copy.deepcopy(answer)
        words, calls = message.text, {call.name: call for call in message.tool_calls}
        kept = []
        for part in _parts(answer):
            asked = of(part, "functionCall")
            if asked is not None:
                wanted = calls.get(of(asked, "name"))
                if wanted is None:
                    continue
                put(asked, "args", json.loads(wanted.arguments))
            elif not of(part, "thought") and of(part, "text") is not None:
                put(part, "text", words)
                words = ""
            kept.append(part)
        content = of(_first(answer), "content")
        if content is not None:
            put(content, "parts", kept)
        return answer

    def made(self, response: Response, model: str, name: str) -> Any:
        """A plugin's answer in this shape."""
        message, usage = response.message, response.usage or Usage()
        parts: list[dict[str, Any]] = [{"text": message.text}] if message.text else []
        parts += (
            {"functionCall": {"name": call.name, "args": json.loads(call.arguments)}}
            for call in message.tool_calls
        )
        content = {"role": "model", "parts": parts}
        return {
            "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
            "usageMetadata": {
                "promptTokenCount": usage.total_input,
                "candidatesTokenCount": usage.total_output,
                "totalTokenCount": usage.total,
            },
            "modelVersion": response.model or model,
            "responseId": name,
        }

    def reader(self) -> Callable[[Any], Reading]:
        """Reads the pieces of a stream."""
        return Events(_read).read


def messages_in(contents: Any) -> tuple[Message, ...]:
    """The conversation. What is no text is only said to be there."""
    if isinstance(contents, str):
        return (Message(role="user", content=contents),)
    many = contents if isinstance(contents, Sequence) else () if contents is None else (contents,)
    return tuple(_message(one) for one in many)


def bounds_in(config: Any) -> dict[str, int]:
    """How long an answer may be and how many are asked for, in the words of chat."""
    found = {}
    for name, theirs, other in (
        ("max_output_tokens", "maxOutputTokens", "max_output_tokens"),
        ("n", "candidateCount", "candidate_count"),
    ):
        told = of(config, theirs) or of(config, other)
        if isinstance(told, int):
            found[name] = told
    return found


def instruction_in(kwargs: Mapping[str, Any], config: Any) -> Any:
    """What the model is told before the conversation; None if nothing."""
    for where in (kwargs, config):
        for name in ("systemInstruction", "system_instruction"):
            if (told := of(where, name)) is not None:
                return told
    return None


def _usage(answer: Any) -> Usage | None:
    """As reported; what was thought stands beside what was written. None where nothing was."""
    told = of(answer, "usageMetadata") or of(answer, "usage_metadata")

    def count(name: str, other: str) -> int:
        return _number(of(told, name) or of(told, other))

    thought = count("thoughtsTokenCount", "thoughts_token_count")
    written = count("candidatesTokenCount", "candidates_token_count") + thought
    read = count("promptTokenCount", "prompt_token_count")
    read += count("toolUsePromptTokenCount", "tool_use_prompt_token_count")
    cached = count("cachedContentTokenCount", "cached_content_token_count")
    kept = _kinds(told, "cacheTokensDetails", "cache_tokens_details")
    return usage_from_litellm(
        {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
            "prompt_tokens_details": {
                **_kinds(told, "promptTokensDetails", "prompt_tokens_details"),
                "cached_tokens": cached,
                "cached_tokens_details": kept,
            },
            "completion_tokens_details": {
                **_kinds(told, "candidatesTokensDetails", "candidates_tokens_details"),
                "reasoning_tokens": thought,
            },
        },
        tier=_word(of(told, "trafficType") or of(told, "traffic_type")),
    )


_KINDS: Final = {"AUDIO": "audio_tokens", "IMAGE": "image_tokens"}


def _kinds(told: Any, name: str, other: str) -> dict[str, int]:
    """Tokens of sound and pictures, which have prices of their own."""
    found: dict[str, int] = {}
    kinds = of(told, name) or of(told, other)
    for one in kinds if isinstance(kinds, list | tuple) else ():
        kind = _KINDS.get(_word(of(one, "modality")).upper())
        if kind is not None:
            found[kind] = found.get(kind, 0) + _number(of(one, "tokenCount") or of(one, "token_count"))
    return found


def _number(told: Any) -> int:
    """A count, which may stand as text; nothing for what is none."""
    try:
        return int(told or 0)
    except (TypeError, ValueError, OverflowError):
        return 0


def _word(told: Any) -> str:
    """As it stands in JSON; Google's client has an enumeration."""
    return str(getattr(told, "value", told) or "")


def _message(content: Any) -> Message:
    if isinstance(content, str):
        return Message(role="user", content=content)
    role = "assistant" if of(content, "role") == "model" else "user"
    parts = list(of(content, "parts") or ())
    texts = [of(part, "text") for part in parts]
    if all(isinstance(text, str) for text in texts):
        return Message(role=role, content="".join(texts), native=content)
    said = tuple(
        {"type": "text", "text": text} if isinstance(text, str) else {"type": "file", "file": {}}
        for text in texts
    )
    return Message(role=role, content=said, native=content)


def _first(answer: Any) -> Any:
    return next(iter(of(answer, "candidates") or ()), None)


def _parts(answer: Any) -> Sequence[Any]:
    return of(of(_first(answer), "content"), "parts") or ()


def _call(asked: Any, index: int) -> ToolCall:
    arguments = json.dumps(of(asked, "args") or {})
    return ToolCall(id=of(asked, "id") or "", name=of(asked, "name") or "", arguments=arguments, index=index)


def _read(event: Mapping[str, Any]) -> Reading:
    if event.get("error") is not None:
        raise failure(event["error"])
    reason = of(_first(event), "finishReason")
    told = Chunk(
        usage=_usage(event),
        finish_reason=None if reason is None else _STOPS.get(str(reason).lower(), "stop"),
        model=event.get("modelVersion"),
        id=event.get("responseId"),
    )
    yield told, reason is not None
    for index, part in enumerate(_parts(event)):
        asked, text = of(part, "functionCall"), of(part, "text") or ""
        if asked is not None:
            yield Chunk(tool_calls=(_call(asked, index),)), True
        elif of(part, "thought"):
            yield Chunk(reasoning=text), True
        else:
            yield Chunk(text=text), bool(text)
