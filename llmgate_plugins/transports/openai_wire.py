"""Between the gateway's nouns and OpenAI's wire, both ways. Pure; knows no client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmgate_plugins._building import builder
from llmgate_plugins.errors import ConfigurationError, ProviderError
from llmgate_plugins.limits import Quota
from llmgate_plugins.masking import scrub
from llmgate_plugins.messages import from_message
from llmgate_plugins.transports.openai_prefill import echo_of, with_prefill
from llmgate_plugins.transports.openai_providers import PROVIDERS, length_word
from llmgate_plugins.types import Attempt, Chunk, Deployment, Message, Request, Response, ToolCall, Usage
from llmgate_plugins.usage import merged_params, usage_from_openai

__all__ = [
    "body_of",
    "chunk_of",
    "embedding_body_of",
    "embeddings_of",
    "garbage",
    "response_of",
    "text_of",
    "thoughts_of",
]

_response: Final = builder(Response)
_chunk: Final = builder(Chunk)

_BOUND: Final = frozenset({"api_key", "base_url", "api_base", "api_version", "organization", "extra_query"})
"""Where a call goes and with which key is the deployment's alone."""
_NOT_IN_BODY: Final = frozenset({"extra_headers", "extra_body", "timeout", "stream", "model", "messages"})


def body_of(attempt: Attempt, request: Request) -> dict[str, Any]:
    """The JSON body of a chat call, `stream` left to the client."""
    body = _parameters(attempt.deployment, request)
    if "max_tokens" in body or "max_completion_tokens" in body:
        other = body.pop("max_tokens", None)
        limit = body.pop("max_completion_tokens", None)
        body[length_word(attempt.deployment)] = limit if limit is not None else other
    speaker = PROVIDERS[attempt.deployment.provider]
    if request.stream and speaker.stream_options:
        body["stream_options"] = {**body.get("stream_options", {}), "include_usage": True}
    body["messages"] = [from_message(message) for message in request.messages]
    if attempt.prefill is not None:
        with_prefill(body, attempt)
    return body


def embedding_body_of(attempt: Attempt, request: Request) -> dict[str, Any]:
    """The JSON body of an embedding call."""
    return _parameters(attempt.deployment, request)


def _parameters(deployment: Deployment, request: Request) -> dict[str, Any]:
    asked = merged_params(deployment.params, request.params)
    refused = sorted(_BOUND & request.params.keys())
    if refused:
        raise ConfigurationError(
            f"{', '.join(refused)} cannot be given with a call: address and key belong to the deployment"
        )
    body = {name: value for name, value in asked.items() if name not in _NOT_IN_BODY and value is not None}
    return {**body, **(asked.get("extra_body") or {})}


def response_of(completion: Any, attempt: Attempt, quota: Quota | None = None) -> Response:
    """An answer from the client's own object.

    Raises:
        ProviderError: It is none: text, an error with status 200, or no choice.
    """
    choice = _first_choice(completion)
    message = choice.message
    return _response(
        source=lambda: _message(message, attempt),
        usage=_usage(completion.usage, completion),
        finish_reason=_reason(choice.finish_reason, message),
        model=completion.model,
        id=getattr(completion, "id", None),
        deployment_id=attempt.deployment.id,
        call_id=attempt.call_id,
        quota=quota,
        empty=_is_empty(message),
        native=completion,
    )


def embeddings_of(answer: Any, attempt: Attempt, quota: Quota | None = None) -> Response:
    """The same for an embedding; the vectors are in `native`."""
    if isinstance(answer, str) or not getattr(answer, "data", None):
        raise garbage(answer)
    return Response(
        source=Message(role="assistant"),
        usage=_usage(getattr(answer, "usage", None), answer),
        model=getattr(answer, "model", None),
        deployment_id=attempt.deployment.id,
        call_id=attempt.call_id,
        quota=quota,
        native=answer,
    )


def chunk_of(piece: Any) -> Chunk:
    """One piece of a stream, the first choice of it.

    Raises:
        ProviderError: It is an error, or nothing that could be a piece.
    """
    choices = getattr(piece, "choices", None)
    usage = _usage(getattr(piece, "usage", None), piece)
    if not choices:
        if choices is None and usage is None:
            raise garbage(piece)
        return _chunk(usage=usage, model=piece.model, id=piece.id, native=piece)
    choice = choices[0]
    reason = choice.finish_reason
    if reason == "error":
        raise garbage(choice if getattr(choice, "error", None) else piece)
    delta = choice.delta
    if choice.index or delta is None:
        return _chunk(
            usage=usage,
            finish_reason=None if choice.index else reason,
            model=piece.model,
            id=piece.id,
            native=piece,
        )
    content, extra = delta.content, delta.model_extra  # looked up once: an absent attribute is dear
    thoughts = (extra.get("reasoning_content") or extra.get("reasoning") or "") if extra else ""
    if content is not None and type(content) is not str:
        content, thoughts = text_of(content), thoughts or thoughts_of(content)
    return _chunk(
        text=content or delta.refusal or "",
        reasoning=thoughts,
        tool_calls=_calls(delta.tool_calls, default="") if delta.tool_calls else (),
        usage=usage,
        finish_reason=reason,
        model=piece.model,
        id=piece.id,
        native=piece,
    )


def _usage(report: Any, answer: Any) -> Usage | None:
    """Usage, and the service tier beside it."""
    if report is None:
        return None
    return usage_from_openai(report, tier=getattr(answer, "service_tier", None))


def text_of(content: Any) -> str:
    """The text of a message's content, which some providers cut into typed parts (Mistral does)."""
    if isinstance(content, str):
        return content
    return "".join(str(part["text"]) for part in _parts(content) if isinstance(part.get("text"), str))


def thoughts_of(content: Any) -> str:
    """What such parts have of the model's thinking."""
    if isinstance(content, str):
        return ""
    return "".join(text_of(part["thinking"]) for part in _parts(content) if part.get("thinking"))


def _parts(content: Any) -> list[Mapping[str, Any]]:
    return [part for part in content if isinstance(part, Mapping)] if isinstance(content, list) else []


def garbage(answer: Any) -> ProviderError:
    """What to raise for something with status 200 that is no answer.

    An error's own code is kept, whether the error stands inside the answer or in its place.
    """
    error = _field(answer, "error")
    if not error and (_field(answer, "object") == "error" or _field(answer, "type") == "error"):
        error = {name: _field(answer, name) for name in ("message", "type", "code")}
    if error:
        told = dict(error) if isinstance(error, Mapping) else {"message": str(error)}
        return ProviderError(
            f"an error in place of an answer: {told.get('message')}", code=_word(told), body={"error": told}
        )
    if isinstance(answer, str) and answer.strip():
        return ProviderError(
            f"text in place of an answer: {scrub(answer.strip())[:80]!r}", code="bad_response"
        )
    return ProviderError("an answer without any choice", code="bad_response")


def _field(answer: Any, name: str) -> Any:
    return answer.get(name) if isinstance(answer, Mapping) else getattr(answer, name, None)


def _word(error: Mapping[str, Any]) -> str:
    for name in ("code", "type"):
        word = error.get(name)
        if isinstance(word, str) and word and word != "error":
            return word
    return "bad_response"


def _first_choice(completion: Any) -> Any:
    choices = None if isinstance(completion, str) else getattr(completion, "choices", None)
    choice = choices[0] if isinstance(choices, list) and choices else None
    if choice is None:
        raise garbage(completion)
    if getattr(choice, "error", None):
        raise garbage(choice)
    if getattr(choice, "message", None) is None or choice.finish_reason == "error":
        raise garbage(completion)
    return choice


def _is_empty(message: Any) -> bool:
    """Whether it says nothing and asks for nothing. Sounds and pictures say something."""
    if message.content or message.tool_calls or message.refusal or message.audio or message.function_call:
        return False
    return not (message.model_extra and message.model_extra.get("images"))


def _message(message: Any, attempt: Attempt) -> Message:
    content = message.content
    if not isinstance(content, str):
        content = text_of(content)
    echo = echo_of(attempt)
    return Message(
        role="assistant",
        content=(content if echo is None else echo.without_in(content)) or message.refusal or "",
        tool_calls=_calls(message.tool_calls, default="{}") if message.tool_calls else (),
        native=message,
    )


def _calls(calls: Any, *, default: str) -> tuple[ToolCall, ...]:
    made = []
    for place, call in enumerate(calls):
        function = getattr(call, "function", None)
        index = getattr(call, "index", None)
        made.append(
            ToolCall(
                id=call.id or "",
                name=(function.name if function else None) or "",
                arguments=(function.arguments if function else None) or default,
                index=place if index is None else index,
            )
        )
    return tuple(made)


def _reason(reason: str | None, message: Any) -> str | None:
    refused = message.refusal and not message.content
    return "content_filter" if refused else reason
