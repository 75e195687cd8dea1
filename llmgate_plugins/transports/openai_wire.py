"""Between the gateway's nouns and OpenAI's wire, both ways. Pure; knows no client."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from llmgate_plugins.errors import ConfigurationError, ProviderError
from llmgate_plugins.masking import scrub
from llmgate_plugins.messages import from_message
from llmgate_plugins.transports.openai_providers import PROVIDERS, length_word
from llmgate_plugins.types import Attempt, Chunk, Deployment, Message, Request, Response, ToolCall
from llmgate_plugins.usage import usage_from_openai

__all__ = ["body_of", "chunk_of", "chunks_of_body", "embedding_body_of", "embeddings_of", "response_of"]

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
    return body


def embedding_body_of(attempt: Attempt, request: Request) -> dict[str, Any]:
    """The JSON body of an embedding call."""
    return _parameters(attempt.deployment, request)


def _parameters(deployment: Deployment, request: Request) -> dict[str, Any]:
    asked = {**deployment.params, **request.params}
    refused = sorted(_BOUND & request.params.keys())
    if refused:
        raise ConfigurationError(
            f"{', '.join(refused)} cannot be given with a call: address and key belong to the deployment"
        )
    body = {name: value for name, value in asked.items() if name not in _NOT_IN_BODY and value is not None}
    return {**body, **(asked.get("extra_body") or {})}


def response_of(completion: Any, attempt: Attempt) -> Response:
    """An answer from the client's own object.

    Raises:
        ProviderError: It is none: text, an error with status 200, or no choice.
    """
    choice = _first_choice(completion)
    return Response(
        source=lambda: _message(choice.message),
        usage=usage_from_openai(completion.usage) if completion.usage is not None else None,
        finish_reason=_reason(choice.finish_reason, choice.message),
        model=completion.model,
        deployment_id=attempt.deployment.id,
        native=completion,
    )


def embeddings_of(answer: Any, attempt: Attempt) -> Response:
    """The same for an embedding; the vectors are in `native`."""
    if isinstance(answer, str) or not getattr(answer, "data", None):
        raise _garbage(answer)
    usage = getattr(answer, "usage", None)
    return Response(
        source=Message(role="assistant"),
        usage=usage_from_openai(usage) if usage is not None else None,
        model=getattr(answer, "model", None),
        deployment_id=attempt.deployment.id,
        native=answer,
    )


def chunk_of(piece: Any) -> Chunk:
    """One piece of a stream, the first choice of it.

    Raises:
        ProviderError: It is an error, or nothing that could be a piece.
    """
    choices = piece.choices
    usage = usage_from_openai(piece.usage) if piece.usage is not None else None
    if not choices:
        if choices is None and usage is None:
            raise _garbage(piece)
        return Chunk(usage=usage, model=piece.model, native=piece)
    choice = choices[0]
    delta = choice.delta
    if choice.index or delta is None:
        return Chunk(usage=usage, model=piece.model, native=piece)
    extra = delta.model_extra  # looked up once: an absent attribute of such an object is dear
    return Chunk(
        text=delta.content or delta.refusal or "",
        reasoning=(extra.get("reasoning_content") or extra.get("reasoning") or "") if extra else "",
        tool_calls=_calls(delta.tool_calls, default="") if delta.tool_calls else (),
        usage=usage,
        finish_reason=choice.finish_reason,
        model=piece.model,
        native=piece,
    )


def chunks_of_body(body: str) -> Iterator[Chunk]:
    """What came in place of a stream: one whole answer as JSON is fine, anything else an error."""
    try:
        answer = json.loads(body)
    except ValueError:
        answer = body
    choices = answer.get("choices") if isinstance(answer, Mapping) else None
    if not isinstance(answer, Mapping) or not isinstance(choices, list) or not choices:
        raise _garbage(answer)
    message = choices[0].get("message") or {}
    usage = answer.get("usage")
    yield Chunk(
        text=message.get("content") or "",
        reasoning=message.get("reasoning_content") or "",
        tool_calls=tuple(
            ToolCall(
                id=str(call.get("id") or ""),
                name=str(call.get("function", {}).get("name") or ""),
                arguments=str(call.get("function", {}).get("arguments") or "{}"),
                index=index,
            )
            for index, call in enumerate(message.get("tool_calls") or ())
        ),
        usage=usage_from_openai(usage) if usage else None,
        finish_reason=choices[0].get("finish_reason"),
        model=answer.get("model"),
        native=answer,
    )


def _first_choice(completion: Any) -> Any:
    choices = None if isinstance(completion, str) else getattr(completion, "choices", None)
    if not choices or getattr(choices[0], "message", None) is None:
        raise _garbage(completion)
    return choices[0]


def _garbage(answer: Any) -> ProviderError:
    """What to raise for something with status 200 that is no answer."""
    error = answer.get("error") if isinstance(answer, Mapping) else getattr(answer, "error", None)
    if error:
        said = error.get("message") if isinstance(error, Mapping) else str(error)
        told = error if isinstance(error, Mapping) else {"message": str(error)}
        return ProviderError(
            f"an error in place of an answer: {said}", code=_word(told), body={"error": dict(told)}
        )
    if isinstance(answer, str) and answer.strip():
        return ProviderError(
            f"text in place of an answer: {scrub(answer.strip())[:80]!r}", code="bad_response"
        )
    return ProviderError("an answer without any choice", code="bad_response")


def _word(error: Mapping[str, Any]) -> str:
    word = error.get("code") or error.get("type")
    return word if isinstance(word, str) else "bad_response"


def _message(message: Any) -> Message:
    return Message(
        role="assistant",
        content=message.content or message.refusal or "",
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
