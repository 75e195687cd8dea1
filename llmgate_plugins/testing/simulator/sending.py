"""Sends one answer over a connection, whole, or as a fault has it."""

from __future__ import annotations

import asyncio
import json
import time
from email.utils import formatdate
from typing import Any, Final, NoReturn

from llmgate_plugins.testing.faults import Fault
from llmgate_plugins.testing.simulator.anthropic_wire import AnthropicWire
from llmgate_plugins.testing.simulator.connection import Connection, Incoming
from llmgate_plugins.testing.simulator.openai_wire import OpenAIWire
from llmgate_plugins.testing.simulator.provider import RecordedRequest, SimulatedProvider
from llmgate_plugins.testing.simulator.spoiling import SPOILING, in_odd_lines
from llmgate_plugins.testing.simulator.wire import Events, Wire

__all__ = ["ANTHROPIC", "OPENAI", "Sending"]

OPENAI: Final[Wire] = OpenAIWire()
ANTHROPIC: Final[Wire] = AnthropicWire()

_HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_EVENTS = "text/event-stream; charset=utf-8"
_FOREVER = 7 * 24 * 3600.0


class Sending:
    """One request, and the ways to answer it.

    Args:
        path: The part after the provider's name.
    """

    def __init__(
        self, connection: Connection, provider: SimulatedProvider, incoming: Incoming, path: str
    ) -> None:
        self.connection = connection
        self.provider = provider
        self.incoming = incoming
        self.path = path.partition("?")[0].rstrip("/")
        is_anthropic = self.path.startswith("/v1/messages") or "anthropic-version" in incoming.headers
        self.wire = ANTHROPIC if is_anthropic else OPENAI
        self.request_id = f"req_{provider.new_id()}"
        self.record: RecordedRequest = provider.record(
            incoming.method,
            incoming.path,
            incoming.headers,
            incoming.body,
            self.wire.key_of(incoming.headers),
        )
        self.headers: dict[str, str] = {}

    def _all_headers(self, kind: str, length: int | None) -> dict[str, str]:
        size = {"transfer-encoding": "chunked"} if length is None else {"content-length": str(length)}
        return {
            "date": formatdate(usegmt=True),
            "content-type": kind,
            **size,
            **self.wire.id_headers(self.request_id),
            **self.headers,
        }

    async def _begin(self, status: int, kind: str, length: int | None = None) -> None:
        self.record.status = status
        await self.connection.begin(status, self._all_headers(kind, length))

    async def _json(self, status: int, body: Any) -> None:
        await self._bytes(status, json.dumps(body, ensure_ascii=False).encode())

    async def _bytes(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self._finished()  # before the last byte: the client must not see an open record
        await self._begin(status, kind, len(body))
        await self.connection.write(body)
        await self.connection.end()

    def _finished(self) -> None:
        if self.record.outcome == "open":
            self.record.outcome = "answered"

    async def _stream(self, events: Events, *, pause: float) -> None:
        await self._begin(200, _EVENTS)
        *before, last = (*events.head, *events.body, *events.tail)
        for event in before:
            await self.connection.write(event)
            if pause:
                await asyncio.sleep(pause)
        self._finished()
        await self.connection.write(last)
        await self.connection.end()

    # ------------------------------------------------------------ faults

    async def _fault(self, fault: Fault, whole: bytes, events: Events | None) -> None:
        self.record.outcome = fault.kind
        self.headers |= {**fault.headers, **fault.retry_headers(time.time())}
        if fault.refusal is not None:
            await self._refuse(fault)
            return
        match fault.kind:
            case "connection":
                await self.connection.cut()
            case "reset":
                await self.connection.reset()
            case "html":
                await self._bytes(200, _HTML, "text/html")
            case "json":
                await self._bytes(200, whole)
            case "empty":
                await self._bytes(200, b"", "text/event-stream" if events else "application/json")
            case "done_only":
                await self._bytes(200, self.wire.done, _EVENTS)
            case kind if kind in SPOILING:
                await self._oddly(fault, whole, events)
            case "slow" | "drip" | "pings":
                await self._slowly(fault, whole, events)
            case _:
                await self._midway(fault, whole, events)

    async def _slowly(self, fault: Fault, whole: bytes, events: Events | None) -> None:
        if fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
            await self._healthy(whole, events)
        elif fault.kind == "drip":
            await self._drip(fault, whole, events)
        else:
            await self._ping(fault, events)

    async def _oddly(self, fault: Fault, whole: bytes, events: Events | None) -> None:
        """What is wrong is in the content already, or in how a stream is cut into pieces."""
        if events is None or fault.kind not in ("odd_lines", "unended"):
            await self._healthy(whole, events)
            return
        pieces = (*events.head, *events.body, *events.tail)
        await self._begin(200, _EVENTS)
        if fault.kind == "odd_lines":
            self._finished()
        for piece in in_odd_lines(pieces) if fault.kind == "odd_lines" else pieces:
            await self.connection.write(piece)
        if fault.kind == "unended":
            await asyncio.sleep(_FOREVER)
        await self.connection.end()

    async def _refuse(self, fault: Fault) -> None:
        refusal = fault.refusal
        assert refusal is not None  # noqa: S101 - for the type checker: the caller has looked
        if fault.kind == "bad_gateway" and fault.body is None:
            await self._bytes(fault.status or 502, _HTML, "text/html")
            return
        status, body = self.wire.error(fault, refusal, self.request_id)
        if isinstance(fault.body, str):
            await self._bytes(status, fault.body.encode(), "text/plain")
        else:
            await self._json(status, body if fault.body is None else fault.body)

    async def _healthy(self, whole: bytes, events: Events | None) -> None:
        if events is None:
            await self._bytes(200, whole)
        else:
            await self._stream(events, pause=self.provider.piece_delay)

    async def _ping(self, fault: Fault, events: Events | None) -> None:
        """Nothing but keep-alives, as providers send them while a request waits for its turn."""
        await self._begin(200, "application/json" if events is None else _EVENTS)
        if events is not None and fault.after is not None:
            for event in (*events.head, *events.body[: fault.pieces]):
                await self.connection.write(event)
        while True:
            await self.connection.write(b"\n" if events is None else self.wire.ping)
            await asyncio.sleep(fault.seconds)

    async def _drip(self, fault: Fault, whole: bytes, events: Events | None) -> None:
        if events is not None:
            await self._stream(events, pause=fault.seconds)
            return
        await self._begin(200, "application/json", len(whole))
        for start in range(0, len(whole), 64):
            await self.connection.write(whole[start : start + 64])
            await asyncio.sleep(fault.seconds)
        await self.connection.end()

    async def _midway(self, fault: Fault, whole: bytes, events: Events | None) -> None:
        """What breaks after a part of the answer was sent."""
        if fault.kind == "stall" and fault.after is None:
            await asyncio.sleep(_FOREVER)
        if events is None:
            await self._broken_body(fault, whole)
            return
        await self._begin(200, _EVENTS)
        for event in (*events.head, *events.body[: fault.pieces]):
            await self.connection.write(event)
        match fault.kind:
            case "malformed":
                await self.connection.write(self.wire.malformed)
            case "error_event":
                await self.connection.write(self.wire.error_event(fault))
            case "truncated":
                pass
            case _:
                await self._break(fault)
        await self.connection.end()

    async def _broken_body(self, fault: Fault, whole: bytes) -> None:
        """The same for an answer in one piece: half of it comes."""
        half = whole[: len(whole) // 2]
        match fault.kind:
            case "malformed" | "truncated":
                await self._bytes(200, half)
            case "error_event":
                event = self.wire.error_event(fault)
                await self._bytes(200, event[event.index(b"{") :].strip())
            case _:
                await self._begin(200, "application/json", len(whole))
                await self.connection.write(half)
                await self._break(fault)

    async def _break(self, fault: Fault) -> NoReturn:
        if fault.kind == "stall":
            await asyncio.sleep(_FOREVER)
        if fault.kind == "reset_midstream":
            await self.connection.reset()
        await self.connection.cut()
        raise AssertionError("unreachable")
