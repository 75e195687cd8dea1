"""Plain calls to OpenAI and to all who speak its wire, by the `openai` package."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from operator import attrgetter
from typing import Any, Final

from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.meters import ChunkMeter
from llmgate_plugins.redaction import redact_logs
from llmgate_plugins.services import Clock
from llmgate_plugins.transports import openai_wire as wire
from llmgate_plugins.transports.answer_bytes import LARGEST, AnswerBytes
from llmgate_plugins.transports.exchange import CURRENT, Exchange
from llmgate_plugins.transports.openai_clients import Clients, is_keyless, openai_package
from llmgate_plugins.transports.openai_prefill import address_for_prefill
from llmgate_plugins.transports.openai_stream import ChunkReader, chunks_of_body
from llmgate_plugins.transports.time_allowed import TimeAllowed, time_allowed
from llmgate_plugins.types import Attempt, Chunk, Deployment, Request, Response

__all__ = ["OpenAITransport"]

_CREDENTIALS: Final = frozenset(
    {"authorization", "proxy-authorization", "api-key", "x-api-key", "cookie", "host"}
)
_END: Final = object()


class OpenAITransport:
    """Sends one attempt to one deployment through the real SDK. Thread-safe; serves any event loop.

    Errors are the SDK's own. What comes with status 200 and is no answer (a page of
    HTML, an error, nothing) is a `ProviderError`. Clients are made at the first call to
    a deployment; that is when its key is read.

    The attempt's limits and deadline hold in synchronous calls too, however slowly the
    provider drips: what lasts too long is a `TimeoutError` of the deployment, or
    `DeadlineExceeded`. In an event loop the gateway's driver sees to the wait for a first
    token and for the next chunk.

    Args:
        clock: The gateway's, by which attempts and deadlines are told; None counts an
            attempt's time from its sending.
        largest_answer: Bytes of a whole answer, or of one event of a stream; more is
            refused before it is read.
    """

    def __init__(self, *, clock: Clock | None = None, largest_answer: int = LARGEST) -> None:
        self._clients = Clients()
        self._clock = clock
        self._largest = largest_answer
        redact_logs()

    def send(self, attempt: Attempt, request: Request) -> Response:
        """Send and return the whole answer.

        Raises:
            openai.OpenAIError: As the SDK raises it.
            TimeoutError, DeadlineExceeded: It took too long.
            ProviderError: What came is no answer.
            ConfigurationError: The package, a key or an address is missing.
        """
        client = _suited(self._clients.client(attempt.deployment), attempt)
        exchange, allowed = self._exchange(attempt, request, patient=False)
        path, read, words = _asked(attempt, request, allowed)
        token = CURRENT.set(exchange)
        try:
            answer = path(client).create(**words)
        except Exception as error:  # noqa: BLE001 - whatever the client raises, the exchange may know better
            exchange.raise_for(error)
        finally:
            CURRENT.reset(token)
            exchange.over()
        return read(answer, attempt, exchange.quota())

    async def asend(self, attempt: Attempt, request: Request) -> Response:
        """The same for an event loop."""
        client = _suited(await self._clients.aclient(attempt.deployment), attempt)
        exchange, allowed = self._exchange(attempt, request, patient=True)
        path, read, words = _asked(attempt, request, allowed)
        token = CURRENT.set(exchange)
        try:
            answer = await path(client).create(**words)
        except Exception as error:  # noqa: BLE001 - as above
            exchange.raise_for(error)
        finally:
            CURRENT.reset(token)
        return read(answer, attempt, exchange.quota())

    def open(self, attempt: Attempt, request: Request) -> Iterator[Chunk]:
        """Send and yield the chunks; the connection is closed with the iterator."""
        client = _suited(self._clients.client(attempt.deployment), attempt)
        exchange, allowed = self._exchange(attempt, request, patient=False)
        _, _, words = _asked(attempt, request, allowed)
        reader = ChunkReader(attempt, exchange)
        token = CURRENT.set(exchange)
        try:
            stream = client.chat.completions.create(**words, stream=True)
        except Exception as error:  # noqa: BLE001 - as above
            exchange.over()
            exchange.raise_for(error)
        finally:
            CURRENT.reset(token)
        with closing(stream):
            try:
                if _is_no_stream(stream.response):
                    yield from chunks_of_body(reader, stream.response.read())
                    return
                for piece in stream:
                    yield reader.read(piece)
                exchange.check_whole()
            except Exception as error:  # noqa: BLE001 - as above
                if not reader.is_whole_despite(error):
                    exchange.raise_for(error)
            finally:
                exchange.over()

    async def aopen(self, attempt: Attempt, request: Request) -> AsyncIterator[Chunk]:
        """The same for an event loop."""
        client = _suited(await self._clients.aclient(attempt.deployment), attempt)
        exchange, allowed = self._exchange(attempt, request, patient=True)
        _, _, words = _asked(attempt, request, allowed)
        reader = ChunkReader(attempt, exchange)
        token = CURRENT.set(exchange)
        try:
            stream = await client.chat.completions.create(**words, stream=True)
        except Exception as error:  # noqa: BLE001 - as above
            exchange.raise_for(error)
        finally:
            CURRENT.reset(token)
        async with stream:
            try:
                if _is_no_stream(stream.response):
                    for chunk in chunks_of_body(reader, await stream.response.aread()):
                        yield chunk
                    return
                pieces = aiter(stream)
                while (piece := await _next(pieces, reader)) is not _END:
                    yield reader.read(piece)
            except Exception as error:  # noqa: BLE001 - as above
                if not reader.is_whole_despite(error):
                    exchange.raise_for(error)

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

    def _exchange(self, attempt: Attempt, request: Request, *, patient: bool) -> tuple[Exchange, TimeAllowed]:
        now = None if self._clock is None else self._clock.monotonic()
        allowed = time_allowed(attempt, request, now)
        received = AnswerBytes(stream=request.stream, largest=self._largest)
        exchange = Exchange(attempt, allowed, received, patient=patient)
        exchange.check_time()
        return exchange, allowed


async def _next(pieces: AsyncIterator[Any], reader: ChunkReader) -> Any:
    """The next piece; what follows the finish reason is not waited for very long."""
    if not reader.finished:
        return await anext(pieces, _END)
    try:
        async with asyncio.timeout(reader.patience):
            return await anext(pieces, _END)
    except TimeoutError:
        return _END


def _suited(client: Any, attempt: Attempt) -> Any:
    """The client, or one for the address at which this provider goes on from a given beginning."""
    if attempt.prefill is None:
        return client
    address = address_for_prefill(attempt.deployment)
    return client if address is None else client.with_options(base_url=address)


def _asked(
    attempt: Attempt, request: Request, allowed: TimeAllowed
) -> tuple[Callable[[Any], Any], Callable[[Any, Attempt, Any], Response], dict[str, Any]]:
    """What of the client to call, how to read its answer, and with which words.

    All parameters travel in the body as they are: the client would refuse what OpenAI
    itself does not know.
    """
    words: dict[str, Any] = {
        "model": attempt.deployment.model,
        "timeout": _timeout(allowed),
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


def _timeout(allowed: TimeAllowed) -> Any:
    """What the client is told at first; the exchange says what is left when a wait begins."""
    from openai import Timeout

    limits = [limit for limit in (allowed.read, allowed.total) if limit is not None]
    seconds = min(limits, default=None)
    connect = min((limit for limit in (allowed.connect, seconds) if limit is not None), default=None)
    return Timeout(seconds, connect=connect)


def _is_no_stream(response: Any) -> bool:
    """Whether the provider answered with a document: JSON, or a page of some proxy."""
    kind = str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()
    return kind.endswith("json") or kind == "text/html"
