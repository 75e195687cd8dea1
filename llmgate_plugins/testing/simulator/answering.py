"""Answers one request as its provider's wire and faults have it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any, NoReturn

from llmgate_plugins.testing.faults import Fault
from llmgate_plugins.testing.simulator.anthropic_request import read_count, read_messages
from llmgate_plugins.testing.simulator.anthropic_wire import AnthropicWire
from llmgate_plugins.testing.simulator.connection import Connection, Incoming
from llmgate_plugins.testing.simulator.openai_request import read_chat, read_embeddings
from llmgate_plugins.testing.simulator.openai_wire import OpenAIWire, embeddings_body
from llmgate_plugins.testing.simulator.provider import RecordedRequest, SimulatedProvider
from llmgate_plugins.testing.simulator.question import Question
from llmgate_plugins.testing.simulator.refused import Refused
from llmgate_plugins.testing.simulator.wire import Events, Wire

__all__ = ["Answering"]

OPENAI: Wire = OpenAIWire()
ANTHROPIC: Wire = AnthropicWire()

_HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_FOREVER = 7 * 24 * 3600.0
_MODELS = ("gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5", "claude-haiku-4-5")


class Answering:
    """One request on its way to its answer.

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

    async def answer(self) -> None:
        """Send the answer, or whatever a fault makes of it."""
        try:
            await self._route()
        except Refused as refused:
            self.record.outcome = "refused"
            body = self.wire.refusal(refused)
            if self.wire is ANTHROPIC:
                body["request_id"] = self.request_id
            await self._json(refused.status, body)

    async def _route(self) -> None:
        self.wire.check_key(self.record.authorization(), self.provider.keys, self.incoming.headers)
        match self.incoming.method, self.path:
            case "POST", "/v1/chat/completions" | "/v1/messages":
                await self._generate(read_chat if self.wire is OPENAI else read_messages)
            case "POST", "/v1/messages/count_tokens":
                question = read_count(self._body())
                await self._plain({"input_tokens": question.tokens})
            case "POST", "/v1/embeddings":
                request = read_embeddings(self._body())
                self._check_model(request.model)
                await self._plain(embeddings_body(request))
            case "GET", "/v1/models":
                await self._plain(self._models())
            case method, _:
                raise Refused(f"Unknown request URL: {method} {self.path}", code="unknown_url", status=404)

    def _body(self) -> Any:
        try:
            return json.loads(self.incoming.body)
        except ValueError:
            raise Refused("We could not parse the JSON body of your request.", status=400) from None

    def _check_model(self, model: str) -> None:
        if self.provider.models is not None and model not in self.provider.models:
            message = f"The model `{model}` does not exist or you do not have access to it."
            raise Refused(
                message if self.wire is OPENAI else f"model: {model}", code="model_not_found", status=404
            )

    def _models(self) -> dict[str, Any]:
        models = self.provider.models or _MODELS
        if self.wire is ANTHROPIC:
            made = "2025-01-01T00:00:00Z"
            data = [{"type": "model", "id": m, "display_name": m, "created_at": made} for m in models]
            return {"data": data, "has_more": False, "first_id": models[0], "last_id": models[-1]}
        listed = [
            {"id": m, "object": "model", "created": 1735689600, "owned_by": "simulator"} for m in models
        ]
        return {"object": "list", "data": listed}

    async def _plain(self, body: Mapping[str, Any]) -> None:
        """An answer that cannot stream, as it is or with a fault."""
        step = self.provider.next_step()
        self._admit()
        if isinstance(step, Fault):
            await self._fault(step, json.dumps(body).encode(), events=None)
        else:
            await self._json(200, body)

    async def _generate(self, read: Any) -> None:
        question: Question = read(self._body())
        self._check_model(question.model)
        step = self.provider.next_step()
        self._admit()
        fault = step if isinstance(step, Fault) else None
        told = None if isinstance(step, Fault) else step
        if self.provider.first_delay:
            await asyncio.sleep(self.provider.first_delay)
        if fault is not None and fault.refusal is not None:
            await self._fault(fault, b"", events=None)
            return
        answers = self.provider.answers(question, told, self.wire.call_prefix)
        number = self.provider.new_id()
        whole = json.dumps(self.wire.whole(question, answers, number), ensure_ascii=False).encode()
        events = self.wire.events(question, answers, number) if question.stream else None
        if fault is not None:
            await self._fault(fault, whole, events)
        elif events is None:
            await self._bytes(200, whole)
        else:
            await self._stream(events, pause=self.provider.piece_delay)

    def _admit(self) -> None:
        now = time.time()
        limit, left, reset = self.provider.admit(now)
        self.headers |= self.wire.limit_headers(limit, max(left, 0), reset, now)
        if left < 0:
            self.headers["retry-after"] = str(max(1, round(reset)))
            self.headers["retry-after-ms"] = str(round(reset * 1000))
            kind = "requests" if self.wire is OPENAI else "rate_limit_error"
            raise Refused(
                "Rate limit reached for requests", code="rate_limit_exceeded", status=429, type=kind
            )

    # ------------------------------------------------------------ sending

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
        await self._begin(200, "text/event-stream; charset=utf-8")
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
            case "slow":
                await asyncio.sleep(fault.seconds)
                await self._healthy(whole, events)
            case "drip":
                await self._drip(fault, whole, events)
            case "html":
                await self._bytes(200, _HTML, "text/html")
            case "json":
                await self._bytes(200, whole)
            case "empty":
                await self._bytes(200, b"", "text/event-stream" if events else "application/json")
            case "done_only":
                await self._bytes(200, self.wire.done, "text/event-stream; charset=utf-8")
            case _:
                await self._midway(fault, whole, events)

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
        await self._begin(200, "text/event-stream; charset=utf-8")
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
