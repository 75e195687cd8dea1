"""One HTTP/1.1 connection, with the ways to break it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass

import h11

__all__ = ["ClientLeft", "Connection", "Hung", "Incoming"]

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 seconds: closing sends RST instead of FIN
_LARGEST_BODY = 64 * 1024 * 1024


class ClientLeft(Exception):
    """The client closed the connection before it had its answer."""


class Hung(Exception):
    """The connection was broken on purpose; nothing more can be sent on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A request; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Connection:
    """Reads requests from a socket and writes answers, whole, in pieces, or broken.

    A client that shuts down its sending half before it has its answer counts as gone.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER)
        self._read: asyncio.Task[bytes] | None = None
        sock = writer.get_extra_info("socket")
        if sock is not None:  # else small pieces wait 40 ms for the peer's delayed ACK
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def next_request(self) -> Incoming | None:
        """The next request; None when the client is done.

        Raises:
            h11.RemoteProtocolError: It does not speak HTTP.
        """
        if self._http.our_state is h11.MUST_CLOSE or self._http.their_state is h11.CLOSED:
            return None
        if self._http.our_state is h11.DONE:
            self._http.start_next_cycle()
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    await self._send(h11.InformationalResponse(status_code=100, headers=[]))
                self._http.receive_data(await self._bytes())
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > _LARGEST_BODY:
                    return None
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                headers = {name.decode().lower(): value.decode("latin-1") for name, value in head.headers}
                target = head.target.decode("latin-1")
                return Incoming(method=head.method.decode(), path=target, headers=headers, body=bytes(body))
            else:
                return None

    async def while_connected(self, answering: Awaitable[None]) -> None:
        """Carry this out, or stop it when the client leaves.

        Raises:
            ClientLeft: It left.
        """
        task = asyncio.ensure_future(answering)
        watch = self._reading()
        try:
            await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done() and _is_end(watch):
                raise ClientLeft
            await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the status line and headers."""
        pairs = [(name, value) for name, value in headers.items()]
        await self._send(h11.Response(status_code=status, headers=pairs))

    async def write(self, data: bytes) -> None:
        """Send a piece of the body."""
        await self._send(h11.Data(data=data))

    async def end(self) -> None:
        """End the answer; the connection may carry another."""
        await self._send(h11.EndOfMessage())

    async def cut(self) -> None:
        """Close without ending the answer: a clean FIN in the middle.

        Raises:
            Hung: Always; there is no connection any more.
        """
        self._writer.close()
        raise Hung

    async def reset(self) -> None:
        """Break the connection: what was sent before still arrives, then a TCP reset.

        Raises:
            Hung: Always; there is no connection any more.
        """
        await asyncio.sleep(0.02)  # let the peer's kernel take what was sent: RST throws it away
        sock = self._writer.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._writer.transport.abort()
        raise Hung

    async def close(self) -> None:
        """Close, and forget what was being read."""
        if self._read is not None:
            self._read.cancel()
            await asyncio.gather(self._read, return_exceptions=True)
        self._writer.close()
        await asyncio.gather(self._writer.wait_closed(), return_exceptions=True)

    async def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            try:
                self._writer.write(data)
                await self._writer.drain()
            except ConnectionError:
                raise ClientLeft from None

    def _reading(self) -> asyncio.Task[bytes]:
        if self._read is None:
            self._read = asyncio.ensure_future(self._reader.read(65536))
        return self._read

    async def _bytes(self) -> bytes:
        try:
            return await self._reading()
        except ConnectionError:
            return b""
        finally:
            self._read = None


def _is_end(reading: asyncio.Task[bytes]) -> bool:
    """Whether the reading ended because the peer is gone."""
    return reading.done() and (reading.exception() is not None or reading.result() == b"")
