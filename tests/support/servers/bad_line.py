"""A line to a server that can be slow, silent, cut, or lead to another server from one moment on."""

from __future__ import annotations

import asyncio
import ssl
import threading
from types import TracebackType
from typing import Self

from support.servers.processes import LocalServer

__all__ = ["BadLine"]


class BadLine:
    """A TCP proxy on 127.0.0.1 in a thread of its own; what goes wrong can change at any time.

    Args:
        to: Where the line leads.
        tls: For clients that speak TLS.

    Attributes:
        port: Where clients connect.
        delay: Seconds that whatever the server says is held back.
    """

    def __init__(self, to: LocalServer, tls: ssl.SSLContext | None = None) -> None:
        self.delay = 0.0
        self._to = to.port
        self._cut = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="bad-line", daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=tls), self._loop
        ).result(10)
        self.port: int = self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        """Of a Redis at the other end."""
        return f"redis://127.0.0.1:{self.port}/0"

    def lead_to(self, server: LocalServer) -> None:
        """From here connections lead to this one; those that are open are cut. A failover."""
        self._to = server.port
        self._loop.call_soon_threadsafe(self._drop_all)

    def cut(self) -> None:
        """Connections are cut, and new ones end at once, until `mend`."""
        self._cut = True
        self._loop.call_soon_threadsafe(self._drop_all)

    def mend(self) -> None:
        self._cut, self.delay = False, 0.0

    def close(self) -> None:
        async def end() -> None:
            self._server.close()
            self._drop_all()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _drop_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        try:
            await asyncio.gather(self._pump(reader, back, late=False), self._pump(there, writer, late=True))
        except asyncio.CancelledError:
            pass  # the line is closed; asyncio would complain of a cancelled connection
        finally:
            self._writers -= {writer, back}
            writer.transport.abort()
            back.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, late: bool) -> None:
        try:
            while data := await source.read(65_536):
                if late and self.delay:
                    await asyncio.sleep(self.delay)
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        sink.transport.abort()
