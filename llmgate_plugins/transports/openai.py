"""Plain calls to OpenAI and to all who speak its wire, by the `openai` package."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from operator import attrgetter
from typing import Any, Final

from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.meters import ChunkMeter
from llmgate_plugins.redaction import redact_logs
from llmgate_plugins.transports import openai_wire as wire
from llmgate_plugins.transports.openai_clients import Clients, is_keyless, openai_package
from llmgate_plugins.types import Attempt, Chunk, Deployment, Request, Response

__all__ = ["OpenAITransport"]

_CONNECT: Final = 10.0
"""Seconds for a connection to come about, at most."""
_CREDENTIALS: Final = frozenset(
    {"authorization", "proxy-authorization", "api-key", "x-api-key", "cookie", "host"}
)


class OpenAITransport:
    """Sends one attempt to one deployment through the real SDK. Thread-safe; serves any event loop.

    Errors are the SDK's own. What comes with status 200 and is no answer (a page of
    HTML, an error, nothing) is a `ProviderError`. Clients are made at the first call to
    a deployment; that is when its key is read.
    """

    def __init__(self) -> None:
        self._clients = Clients()
        redact_logs()

    def send(self, attempt: Attempt, request: Request) -> Response:
        """Send and return the whole answer.

        Raises:
            openai.OpenAIError: As the SDK raises it.
            ProviderError: What came is no answer.
            ConfigurationError: The package, a key or an address is missing.
        """
        client = self._clients.client(attempt.deployment)
        path, read, words = _asked(attempt, request)
        return read(path(client).create(**words), attempt)

    async def asend(self, attempt: Attempt, request: Request) -> Response:
        """The same for an event loop."""
        client = await self._clients.aclient(attempt.deployment)
        path, read, words = _asked(attempt, request)
        return read(await path(client).create(**words), attempt)

    def open(self, attempt: Attempt, request: Request) -> Iterator[Chunk]:
        """Send and yield the chunks; the connection is closed with the iterator."""
        client = self._clients.client(attempt.deployment)
        _, _, words = _asked(attempt, request)
        with closing(client.chat.completions.create(**words, stream=True)) as stream:
            if _is_no_stream(stream.response):
                yield from wire.chunks_of_body(stream.response.read().decode(errors="replace"))
                return
            for piece in stream:
                yield wire.chunk_of(piece)

    async def aopen(self, attempt: Attempt, request: Request) -> AsyncIterator[Chunk]:
        """The same for an event loop."""
        client = await self._clients.aclient(attempt.deployment)
        _, _, words = _asked(attempt, request)
        async with await client.chat.completions.create(**words, stream=True) as stream:
            if _is_no_stream(stream.response):
                body = (await stream.response.aread()).decode(errors="replace")
                for chunk in wire.chunks_of_body(body):
                    yield chunk
                return
            async for piece in stream:
                yield wire.chunk_of(piece)

    def meter(self, attempt: Attempt, request: Request) -> ChunkMeter:  # noqa: ARG002 - as `Transport` has it
        """A meter for one stream."""
        return ChunkMeter()

    def prepare(self, deployments: Iterable[Deployment]) -> None:
        """Import the SDK and make the clients now, so that the first call does not take that time.

        What is missing is left for the first call to say.
        """
        for deployment in deployments:
            with suppress(ConfigurationError):
                self._clients.client(deployment).chat.completions  # noqa: B018 - loads what it stands for

    def close(self) -> None:
        """Close the connections of synchronous calls; those of a loop are closed with it."""
        self._clients.close()


def _asked(
    attempt: Attempt, request: Request
) -> tuple[Callable[[Any], Any], Callable[[Any, Attempt], Response], dict[str, Any]]:
    """What of the client to call, how to read its answer, and with which words.

    All parameters travel in the body as they are: the client would refuse what OpenAI
    itself does not know.
    """
    words: dict[str, Any] = {
        "model": attempt.deployment.model,
        "timeout": _timeout(attempt, request),
        "extra_headers": _headers(attempt, request.params.get("extra_headers")),
    }
    if request.operation == "embedding":
        body = wire.embedding_body_of(attempt, request)
        return (
            attrgetter("embeddings"),
            wire.embeddings_of,
            {**words, "input": body.pop("input", []), "extra_body": body},
        )
    body = wire.body_of(attempt, request)
    return (
        attrgetter("chat.completions"),
        wire.response_of,
        {**words, "messages": body.pop("messages"), "extra_body": body},
    )


def _headers(attempt: Attempt, given: Mapping[str, str] | None) -> dict[str, Any]:
    bound = sorted(name for name in given or () if name.lower() in _CREDENTIALS)
    if bound:
        raise ConfigurationError(
            f"{', '.join(bound)} cannot be given with a call: credentials belong to the deployment"
        )
    if not is_keyless(attempt.deployment):
        return dict(given or {})
    return {**(given or {}), "Authorization": openai_package().Omit()}


def _timeout(attempt: Attempt, request: Request) -> Any:
    """The shortest of what the call, the deployment and the request allow."""
    from openai import Timeout

    options = attempt.deployment.endpoint.options
    limits = [
        None if attempt.deadline is None else attempt.deadline - attempt.started,
        (options.get("stream_timeout") if request.stream else None) or options.get("timeout"),
        request.params.get("timeout"),
        request.timeout,
    ]
    seconds = min((float(limit) for limit in limits if limit is not None), default=None)
    return Timeout(seconds, connect=_CONNECT if seconds is None else min(seconds, _CONNECT))


def _is_no_stream(response: Any) -> bool:
    """Whether the provider answered with a document: JSON, or a page of some proxy."""
    kind = str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()
    return kind.endswith("json") or kind == "text/html"
