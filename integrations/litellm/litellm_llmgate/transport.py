"""Plain calls through `litellm.completion`: every provider that LiteLLM speaks to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Final

import litellm

from litellm_llmgate.answers import read_response
from litellm_llmgate.asking import begun_answer
from litellm_llmgate.failures import name_cause
from litellm_llmgate.letting_go import alet_go, let_go
from litellm_llmgate.meter import NeutralMeter, check_whole, chunk_usage, complete_usage, mark_kept
from litellm_llmgate.supported import supported
from litellm_llmgate.timeouts import client_timeout
from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.messages import from_message
from llmgate_plugins.redaction import redact_logs
from llmgate_plugins.secrets import Secret
from llmgate_plugins.transports.time_allowed import time_allowed
from llmgate_plugins.types import Attempt, Chunk, Deployment, Request, Response, ToolCall
from llmgate_plugins.usage import merged_params

__all__ = ["LiteLLMTransport"]

_BOUND: Final = frozenset(
    {
        "api_base",
        "api_key",
        "api_version",
        "base_url",
        "client",
        "custom_llm_provider",
        "extra_headers",
        "headers",
        "model",
        "organization",
    }
)
"""Where a call goes and with which key is the deployment's alone."""


class LiteLLMTransport:
    """Sends one attempt to one deployment through LiteLLM. Thread-safe; serves any event loop.

    Errors are LiteLLM's. Its retries and those of its clients are off, and keys are
    revealed here and nowhere else.
    """

    def __init__(self) -> None:
        redact_logs()

    def send(self, attempt: Attempt, request: Request) -> Response:
        """Send and return the whole answer.

        Raises:
            openai.OpenAIError: As LiteLLM raises it.
            ProviderError: What came is no answer.
            ConfigurationError: The call names an address or a key.
        """
        words = self._asked(attempt, request, in_thread=True)
        send = litellm.embedding if request.operation == "embedding" else litellm.completion
        try:
            answer = send(**words)
        except Exception as error:
            name_cause(error)
            raise
        return read_response(answer, attempt, request)

    async def asend(self, attempt: Attempt, request: Request) -> Response:
        """The same for an event loop."""
        words = self._asked(attempt, request, in_thread=False)
        send = litellm.aembedding if request.operation == "embedding" else litellm.acompletion
        try:
            answer = await send(**words)
        except Exception as error:
            name_cause(error)
            raise
        return read_response(answer, attempt, request)

    def open(self, attempt: Attempt, request: Request) -> Iterator[Chunk]:
        """Send and yield the chunks; the connection is closed with the iterator."""
        stream: Any = None
        try:
            stream = litellm.completion(**self._asked(attempt, request, in_thread=True), stream=True)
            for piece in stream:
                check_whole(piece, stream, attempt.deployment)
                complete_usage(piece, stream)
                mark_kept(piece, stream)
                yield _chunk(piece)
        except Exception as error:
            name_cause(error)
            raise
        finally:
            let_go(stream)

    async def aopen(self, attempt: Attempt, request: Request) -> AsyncIterator[Chunk]:
        """The same for an event loop."""
        stream: Any = None
        try:
            stream = await litellm.acompletion(**self._asked(attempt, request, in_thread=False), stream=True)
            async for piece in stream:
                check_whole(piece, stream, attempt.deployment)
                complete_usage(piece, stream)
                mark_kept(piece, stream)
                yield _chunk(piece)
        except Exception as error:
            name_cause(error)
            raise
        finally:
            await alet_go(stream)

    def meter(self, attempt: Attempt, request: Request) -> NeutralMeter:  # noqa: ARG002 - as `Transport` has it
        """A meter for one stream."""
        return NeutralMeter()

    def _asked(self, attempt: Attempt, request: Request, *, in_thread: bool) -> dict[str, Any]:
        refused = sorted(_BOUND & request.params.keys())
        if refused:
            raise ConfigurationError(
                f"{', '.join(refused)} cannot be given with a call: address and key belong to the deployment"
            )
        deployment = attempt.deployment
        request = supported(attempt, request)
        words = {
            **merged_params(deployment.params, request.params),
            **self._reached(deployment),
            "model": deployment.model,
            "custom_llm_provider": deployment.provider,
            "num_retries": 0,
            "max_retries": 0,
        }
        timeout = _timeout(attempt, request, in_thread=in_thread)
        if timeout is not None:
            words["timeout"] = timeout
        words.pop("stream", None)
        if request.operation == "embedding":
            words.setdefault("input", [])
            return words
        words["messages"] = [from_message(message) for message in request.messages]
        if attempt.prefill is not None:
            words["messages"].append(begun_answer(attempt))
        if request.stream and _takes_stream_options(deployment):
            words["stream_options"] = {**(words.get("stream_options") or {}), "include_usage": True}
        return words

    def _reached(self, deployment: Deployment) -> dict[str, Any]:
        """Address, key and client settings."""
        return _reached(deployment)


def _reached(deployment: Deployment) -> dict[str, Any]:
    """Address, key and client settings; the one place where secrets are revealed."""
    endpoint = deployment.endpoint
    found = {
        name: _plain(value)
        for name, value in endpoint.options.items()
        if name not in ("timeout", "stream_timeout")
    }
    if endpoint.base_url is not None:
        found["api_base"] = endpoint.base_url
    if endpoint.api_key is not None:
        found["api_key"] = endpoint.api_key.reveal()
    if endpoint.headers:
        found["extra_headers"] = {name: _plain(value) for name, value in endpoint.headers.items()}
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return value


def _timeout(attempt: Attempt, request: Request, *, in_thread: bool) -> Any:
    """What the deployment and the request allow, within the attempt's own limits."""
    configured = time_allowed(attempt, request).read
    limit = client_timeout(
        attempt, configured, now=attempt.started, stream=request.stream, in_thread=in_thread
    )
    return configured if limit is None else limit


def _takes_stream_options(deployment: Deployment) -> bool:
    names = litellm.get_supported_openai_params(
        model=deployment.model, custom_llm_provider=deployment.provider
    )
    return "stream_options" in (names or ())


def _chunk(piece: Any) -> Chunk:
    usage = chunk_usage(piece)
    if not piece.choices:
        return Chunk(usage=usage, model=piece.model, id=piece.id, native=piece)
    choice = piece.choices[0]
    delta = choice.delta
    return Chunk(
        text=delta.content or "",
        reasoning=getattr(delta, "reasoning_content", None) or "",
        tool_calls=tuple(
            ToolCall(
                id=call.id or "",
                name=call.function.name or "",
                arguments=call.function.arguments or "",
                index=call.index or 0,
            )
            for call in getattr(delta, "tool_calls", None) or ()
        ),
        usage=usage,
        finish_reason=choice.finish_reason,
        model=piece.model,
        id=piece.id,
        native=piece,
    )
