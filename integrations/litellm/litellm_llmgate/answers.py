"""Answers between LiteLLM's shape and the neutral one."""

from __future__ import annotations

import copy
import time
import uuid
from dataclasses import replace
from typing import Any

from litellm.types.utils import Choices, EmbeddingResponse, ModelResponse
from litellm.types.utils import Message as LiteLLMMessage
from litellm.types.utils import Usage as LiteLLMUsage

from litellm_llmgate.endpoints import ENDPOINTS, MEDIA, WORDED
from litellm_llmgate.endpoints.reports import FREE, fields_of, quota_in, usage_of
from litellm_llmgate.quotes import usage_told
from llmgate_plugins.errors import LLMGateError, ProviderError
from llmgate_plugins.limits import Quota
from llmgate_plugins.messages import from_message, to_message
from llmgate_plugins.types import Attempt, Message, Request, Response, Usage

__all__ = ["litellm_usage", "native_answer", "read_response"]

NO_MESSAGE = Message(role="assistant")
PLAIN = frozenset({"chat", "embedding"})
"""Operations whose usage stands where LiteLLM always has it."""
BESIDE_TEXT = ("tool_calls", "function_call", "audio", "images", "refusal")
"""What an answer may consist of where it has no text."""


def read_response(answer: Any, attempt: Attempt, request: Request) -> Response:
    """LiteLLM's answer, read lazily; what its own cache answered costs nothing.

    Raises:
        ProviderError: It holds no choice at all.
    """
    operation, fields = request.operation, fields_of(answer)
    hidden = fields("_hidden_params")
    usage: Usage | None = FREE
    quota: Quota | None = None
    kept = isinstance(hidden, dict) and hidden.get("cache_hit") is True
    if not kept or _is_partly_new(answer, hidden):
        if operation in PLAIN:
            usage = usage_of(fields, hidden)
        elif operation in MEDIA:
            usage = usage_told(operation, answer, attempt.deployment)
        else:
            usage = ENDPOINTS[operation].usage_in(answer)
        quota = quota_in(hidden)
        if kept and usage is not None:
            usage = replace(usage, estimated=True)
    model = fields("model")
    if operation != "chat":
        endpoint = WORDED.get(operation)
        return Response(
            source=NO_MESSAGE if endpoint is None else lambda: endpoint.message_in(answer),
            usage=usage,
            finish_reason=None,
            model=model,
            deployment_id=attempt.deployment.id,
            call_id=attempt.call_id,
            quota=quota,
            native=answer,
        )
    choices = getattr(answer, "choices", None)
    if not choices:
        raise ProviderError("the provider answered without a choice", code="empty_response")
    message = choices[0].message
    return Response(
        source=lambda: _message_of(answer),
        usage=usage,
        finish_reason=choices[0].finish_reason,
        model=model,
        id=fields("id"),
        deployment_id=attempt.deployment.id,
        call_id=attempt.call_id,
        quota=quota,
        empty=not message.content and _says_nothing(message),
        native=answer,
    )


def _is_partly_new(answer: Any, hidden: Any) -> bool:
    """Whether LiteLLM's cache knew some inputs of an embedding and the provider was asked for the others.

    LiteLLM says "cache_hit" of it, too, and tells the tokens of all of them. It is told by having
    taken time, where an answer that was kept as a whole has none, or else the key it was kept by.
    """
    return (
        isinstance(answer, EmbeddingResponse)
        and "cache_key" not in hidden
        and getattr(answer, "_response_ms", None) is not None
    )


def _says_nothing(message: Any) -> bool:
    apart = getattr(message, "provider_specific_fields", None)
    if isinstance(apart, dict) and apart.get("refusal"):
        return False  # LiteLLM keeps it there; a refusal is an answer, and not to be asked for elsewhere
    return not any(getattr(message, name, None) for name in BESIDE_TEXT)


def native_answer(response: Response, sent: Response | None, request: Request) -> Any:
    """What LiteLLM's caller gets: the provider's answer untouched, or what a plugin made of it."""
    if response is sent:
        return response.native
    message, endpoint = response.message, WORDED.get(request.operation)
    if response.native is not None and request.operation != "chat":
        answer = response.native
        if endpoint is not None and message != (
            endpoint.message_in(answer) if sent is None else sent.message
        ):
            answer = endpoint.changed(answer, message)
        return _free(answer) if sent is None else answer
    if endpoint is not None:
        return endpoint.made(response, request.model, uuid.uuid4().hex)
    if request.operation != "chat":
        raise LLMGateError(
            f"a plugin answered a call of {request.operation!r} by itself, which is not answered with text; "
            "let it leave such calls alone, or deny them"
        )
    if isinstance(response.native, ModelResponse):
        answer = response.native
        if message != (_message_of(answer) if sent is None else sent.message):
            answer = answer.model_copy(deep=True)
            answer.choices[0].message = LiteLLMMessage(**_plain(message))
        return _free(answer) if sent is None else answer
    usage = response.usage
    return ModelResponse(
        id=f"chatcmpl-{uuid.uuid4().hex}",
        created=int(time.time()),
        model=response.model or request.model,
        object="chat.completion",
        choices=[
            Choices(
                index=0,
                finish_reason=response.finish_reason or "stop",
                message=LiteLLMMessage(**_plain(message)),
            )
        ],
        usage=litellm_usage(usage),
    )


def _message_of(answer: ModelResponse) -> Message:
    return to_message(answer.choices[0].message.model_dump(exclude_none=True))


def _free(answer: Any) -> Any:
    """An answer that was given before, and is booked already."""
    hidden = getattr(answer, "_hidden_params", None)
    if not isinstance(hidden, dict):
        return answer
    again = copy.copy(answer)
    again._hidden_params = {**hidden, "cache_hit": True, "response_cost": 0.0}
    return again


def litellm_usage(usage: Usage | None) -> LiteLLMUsage:
    """LiteLLM's usage; zeros where nothing was used."""
    usage = usage or FREE
    return LiteLLMUsage(
        prompt_tokens=usage.total_input, completion_tokens=usage.total_output, total_tokens=usage.total
    )


def _plain(message: Message) -> dict[str, Any]:
    written = from_message(message)
    if isinstance(written["content"], list):
        written["content"] = message.text
    return written
