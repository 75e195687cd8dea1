"""Answers between LiteLLM's shape and the neutral one."""

from __future__ import annotations

import functools
import time
import uuid
from typing import Any

from litellm.types.utils import Choices, EmbeddingResponse, ModelResponse
from litellm.types.utils import Message as LiteLLMMessage
from litellm.types.utils import Usage as LiteLLMUsage

from llmgate_plugins.errors import ProviderError
from llmgate_plugins.messages import from_message, to_message
from llmgate_plugins.types import Attempt, Message, Request, Response, Usage
from llmgate_plugins.usage import usage_from_litellm

__all__ = ["native_answer", "read_response"]

FREE = Usage()
NO_MESSAGE = Message(role="assistant")


def read_response(answer: Any, attempt: Attempt, request: Request) -> Response:
    """LiteLLM's answer, read lazily; what its own cache answered costs nothing.

    Raises:
        ProviderError: It holds no choice at all.
    """
    fields = answer.get if isinstance(answer, dict) else functools.partial(_field, answer)
    usage = usage_from_litellm(fields("usage") or {})
    hidden = getattr(answer, "_hidden_params", None)
    if isinstance(hidden, dict) and hidden.get("cache_hit") is True:
        usage = FREE
    model = fields("model")
    if request.operation != "chat":
        return Response(
            source=NO_MESSAGE,
            usage=usage,
            finish_reason=None,
            model=model,
            deployment_id=attempt.deployment.id,
            native=answer,
        )
    choices = getattr(answer, "choices", None)
    if not choices:
        raise ProviderError("the provider answered without a choice", code="empty_response")
    message = choices[0].message
    return Response(
        source=lambda: to_message(message.model_dump(exclude_none=True)),
        usage=usage,
        finish_reason=choices[0].finish_reason,
        model=model,
        deployment_id=attempt.deployment.id,
        native=answer,
    )


def native_answer(response: Response, sent: Response | None, request: Request) -> Any:
    """What LiteLLM's caller gets: the provider's answer untouched, or what a plugin made of it."""
    if response is sent:
        return response.native
    if isinstance(response.native, EmbeddingResponse) or request.operation != "chat":
        return response.native
    message = response.message
    if isinstance(response.native, ModelResponse):
        answer = response.native
        if sent is None or message == sent.message:
            return answer
        answer = answer.model_copy(deep=True)
        answer.choices[0].message = LiteLLMMessage(**_plain(message))
        return answer
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


def _field(answer: Any, name: str) -> Any:
    return getattr(answer, name, None)


def litellm_usage(usage: Usage | None) -> LiteLLMUsage:
    """LiteLLM's usage; zeros where nothing was used."""
    usage = usage or FREE
    asked = usage.input + usage.cached_input + usage.cache_write
    answered = usage.output + usage.reasoning
    return LiteLLMUsage(prompt_tokens=asked, completion_tokens=answered, total_tokens=asked + answered)


def _plain(message: Message) -> dict[str, Any]:
    written = from_message(message)
    if isinstance(written["content"], list):
        written["content"] = message.text
    return written
