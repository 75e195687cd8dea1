"""Plain calls by `OpenAITransport` to simulated providers, alone and through a gateway."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from llmgate_plugins import Attempt, Chunk, Deployment, Endpoint, Gateway, Limits, Request, Response, Secret
from llmgate_plugins.messages import to_messages
from llmgate_plugins.testing import SimulatedProvider
from llmgate_plugins.transports import OpenAITransport

__all__ = ["KEY", "asking", "attempt", "chunks", "deployment", "gateway", "whole"]

KEY = "sk-canary-0123456789abcdef"


def deployment(at: SimulatedProvider | str, id: str = "one", **fields: Any) -> Deployment:
    url = at if isinstance(at, str) else at.openai_base_url
    endpoint = Endpoint(base_url=url, api_key=Secret(KEY), **fields.pop("endpoint", {}))
    fields = {"alias": "fast", "provider": "openai", "model": "gpt-4o-mini", **fields}
    return Deployment(id=id, endpoint=endpoint, **fields)


def attempt(
    at: SimulatedProvider | str,
    *,
    seconds: float | None = 10.0,
    limits: Limits | None = None,
    prefill: str | None = None,
    **fields: Any,
) -> Attempt:
    """An attempt that begins now and must be over in some seconds."""
    now = time.monotonic()
    return Attempt(
        call_id="c",
        number=1,
        deployment=deployment(at, **fields),
        alias="fast",
        reason="first",
        started=now,
        deadline=None if seconds is None else now + seconds,
        limits=limits or Limits(),
        prefill=prefill,
    )


def asking(prompt: Any = "one two three", *, stream: bool = False, **params: Any) -> Request:
    return Request(model="fast", messages=to_messages(prompt), params=params, stream=stream)


def whole(face: str, transport: OpenAITransport, at: Attempt, request: Request) -> Response:
    """The answer, by "sync" or "async"."""
    return transport.send(at, request) if face == "sync" else asyncio.run(transport.asend(at, request))


def chunks(face: str, transport: OpenAITransport, at: Attempt, request: Request) -> list[Chunk]:
    """The chunks, by "sync" or "async"."""
    if face == "sync":
        return list(transport.open(at, request))

    async def read() -> list[Chunk]:
        return [chunk async for chunk in transport.aopen(at, request)]

    return asyncio.run(read())


def gateway(*deployments: Deployment, **options: Any) -> Gateway:
    """A gateway that sends by `OpenAITransport`."""
    return Gateway(deployments, transport=OpenAITransport(), **options)
