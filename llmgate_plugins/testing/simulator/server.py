"""The simulator: many providers behind one port, served by a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

import h11

from llmgate_plugins.testing.simulator.answering import Answering
from llmgate_plugins.testing.simulator.connection import ClientLeft, Connection, Hung, Incoming
from llmgate_plugins.testing.simulator.provider import RecordedRequest, SimulatedProvider

__all__ = ["ProviderSimulator"]

_NOT_FOUND = b'{"error": {"message": "There is no such provider here.", "type": "invalid_request_error"}}'


class ProviderSimulator:
    """Providers on 127.0.0.1 that speak the OpenAI and the Anthropic wire.

    Use it in a `with` statement, or call `start` and `close`. Each provider lives
    under its name: `sim.provider("alpha").openai_base_url` is `{url}/alpha/v1`.
    What comes to `{url}/v1` goes to the provider `default`.

    Args:
        seed: Of every random choice, ids included.
        port: 0 for any free one.
        on_request: Told of each request when it is over, in the simulator's thread.

    Attributes:
        url: Its address, known before it starts.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        port: int = 0,
        on_request: Callable[[SimulatedProvider, RecordedRequest], None] | None = None,
    ) -> None:
        self.seed = seed
        self._socket = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.providers: dict[str, SimulatedProvider] = {}
        self._on_request = on_request
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self.default = SimulatedProvider("default", self.url, seed=seed)
        self.providers["default"] = self.default

    def provider(self, name: str, *, keys: Iterable[str] | None = None) -> SimulatedProvider:
        """The provider of this name, made when first asked for.

        Args:
            keys: The API keys it accepts from now on; None leaves it as it is (any).
        """
        if not name or "/" in name or name == "v1":
            raise ValueError(f"{name!r} cannot be a provider's name: it is a part of a path")
        with self._lock:
            if name not in self.providers:
                self.providers[name] = SimulatedProvider(name, f"{self.url}/{name}", seed=self.seed)
            found = self.providers[name]
        if keys is not None:
            found.keys = frozenset(keys)
        return found

    def start(self) -> Self:
        """Begin to serve; returns when it does."""
        ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(ready)), name="provider-simulator", daemon=True
        )
        self._thread.start()
        ready.wait()
        return self

    def close(self) -> None:
        """Stop serving; connections that are open are cut. Idempotent."""
        if self._thread is not None and self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed already
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
            self._thread = None
        self._socket.close()
        for provider in self.providers.values():
            provider.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        connections: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._talk(Connection(reader, writer)))
            connections.add(task)
            task.add_done_callback(connections.discard)

        server = await asyncio.start_server(accept, sock=self._socket)
        ready.set()
        try:
            await self._stop.wait()
        finally:
            server.close()
            for task in connections:
                task.cancel()
            await asyncio.gather(*connections, return_exceptions=True)

    async def _talk(self, connection: Connection) -> None:
        try:
            while (incoming := await connection.next_request()) is not None:
                await self._answer(connection, incoming)
        except (ClientLeft, Hung, h11.ProtocolError):
            pass  # this connection is over; each request has its outcome
        finally:
            await connection.close()

    async def _answer(self, connection: Connection, incoming: Incoming) -> None:
        provider, path = self._find(incoming.path)
        if provider is None:
            headers = {"content-type": "application/json", "content-length": str(len(_NOT_FOUND))}
            await connection.begin(404, headers)
            await connection.write(_NOT_FOUND)
            await connection.end()
            return
        answering = Answering(connection, provider, incoming, path)
        begun = time.monotonic()
        try:
            await connection.while_connected(answering.answer())
        except ClientLeft:
            answering.record.outcome = "left"
            raise
        finally:
            answering.record.seconds = time.monotonic() - begun
            if self._on_request is not None:
                self._on_request(provider, answering.record)

    def _find(self, path: str) -> tuple[SimulatedProvider | None, str]:
        name, _, rest = path.removeprefix("/").partition("/")
        if name == "v1":
            return self.default, path
        return self.providers.get(name), f"/{rest}"
