"""The three surfaces of a gateway behind one small interface: four ways to ask, and what is inside."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

from support.litellm_callbacks import CALLBACKS

from llmgate_plugins import Deployment, Endpoint, Gateway, Secret
from llmgate_plugins.plugins import InOrder
from llmgate_plugins.transports import OpenAITransport

__all__ = [
    "MODES",
    "PROMPT",
    "STREAMS",
    "SURFACES",
    "WHOLE",
    "Door",
    "Place",
    "ask",
    "close_loop",
    "read",
    "run",
]

MODES = ("sync", "async", "stream", "astream")
WHOLE, STREAMS = MODES[:2], MODES[2:]
PROMPT = "Tell me of the sea, in a few words."
MESSAGES = [{"role": "user", "content": PROMPT}]
ALIAS = "fast"
WINDOWS = {"gpt-4o-mini": 128_000, "gpt-4o": 128_000, "gpt-4.1": 1_047_576}
"""Tokens, as LiteLLM's own table has them."""


class Place:
    """Where a deployment is: its id, address, key and model."""

    def __init__(self, id: str, url: str, model: str = "gpt-4o-mini") -> None:
        self.id, self.url, self.model = id, url, model
        self.key = f"sk-key-of-{id}-0123456789abcdef"

    def deployment(self) -> Deployment:
        """As plain calls and LangChain have it."""
        endpoint = Endpoint(base_url=self.url, api_key=Secret(self.key))
        return Deployment(
            id=self.id,
            alias=ALIAS,
            provider="openai",
            model=self.model,
            context_window=WINDOWS[self.model],
            endpoint=endpoint,
        )


Places = Sequence[Place]
Plugins = Sequence[object]


class Door(Protocol):
    """One gateway on one surface. Streams are the surface's own, as its users get them."""

    gateway: Gateway

    def whole(self, **params: Any) -> str:
        """The text of a whole answer."""

    async def awhole(self, **params: Any) -> str:
        """The same for an event loop."""

    def open(self, **params: Any) -> Iterator[Any]:
        """A stream."""

    async def aopen(self, **params: Any) -> AsyncIterator[Any]:
        """The same for an event loop."""

    def text(self, chunk: Any) -> str:
        """The text of a chunk."""

    def close(self) -> None:
        """Let go of connections."""


class Core:
    """Plain calls, sent by `OpenAITransport`."""

    def __init__(self, places: Places, plugins: Plugins, options: Mapping[str, Any]) -> None:
        transport = OpenAITransport(clock=options.get("clock"))
        made = [place.deployment() for place in places]
        self.gateway = Gateway(made, plugins=plugins, transport=transport, **options)

    def whole(self, **params: Any) -> str:
        return self.gateway.complete(ALIAS, PROMPT, **params).text

    async def awhole(self, **params: Any) -> str:
        return (await self.gateway.acomplete(ALIAS, PROMPT, **params)).text

    def open(self, **params: Any) -> Iterator[Any]:
        return self.gateway.stream(ALIAS, PROMPT, **params)

    async def aopen(self, **params: Any) -> AsyncIterator[Any]:
        return self.gateway.astream(ALIAS, PROMPT, **params)

    def text(self, chunk: Any) -> str:
        return str(chunk.text)

    def close(self) -> None:
        self.gateway.close()


class LangChain:
    """`ChatLLMGate` over one `ChatOpenAI` per deployment."""

    def __init__(self, places: Places, plugins: Plugins, options: Mapping[str, Any]) -> None:
        from langchain_llmgate import ChatLLMGate

        made = [place.deployment() for place in places]
        self.gateway = Gateway(made, plugins=plugins, **options)
        self.gate = ChatLLMGate(gateway=self.gateway, model=ALIAS)
        for one in made:  # what building a client takes is no provider's slowness
            self.gate.fleet.leaf(one)

    def whole(self, **params: Any) -> str:
        return self.gate.invoke(PROMPT, **params).text

    async def awhole(self, **params: Any) -> str:
        return (await self.gate.ainvoke(PROMPT, **params)).text

    def open(self, **params: Any) -> Iterator[Any]:
        return self.gate.stream(PROMPT, **params)

    async def aopen(self, **params: Any) -> AsyncIterator[Any]:
        return self.gate.astream(PROMPT, **params)

    def text(self, chunk: Any) -> str:
        return str(chunk.text)

    def close(self) -> None:
        self.gateway.close()


class LiteLLM:
    """A `litellm.Router` with the gateway registered in it."""

    def __init__(self, places: Places, plugins: Plugins, options: Mapping[str, Any]) -> None:
        import litellm
        from litellm_llmgate import register

        litellm.suppress_debug_info = True
        litellm.disable_aiohttp_transport = True  # its sessions are never closed and complain much later
        entries = [
            {
                "model_name": ALIAS,
                "litellm_params": {
                    "model": f"openai/{place.model}",
                    "api_base": place.url,
                    "api_key": place.key,
                },
                "model_info": {"id": place.id},
            }
            for place in places
        ]
        self._lists = {name: list(getattr(litellm, name)) for name in CALLBACKS}
        # The gateway alone retries and judges health; num_retries shows that it does.
        self.router = litellm.Router(model_list=entries, num_retries=2, disable_cooldowns=True)
        self.gateway = Gateway(plugins=[*plugins, InOrder()], **options)
        self.registration = register(self.router, self.gateway)

    def whole(self, **params: Any) -> str:
        return self.router.completion(ALIAS, MESSAGES, **params).choices[0].message.content or ""

    async def awhole(self, **params: Any) -> str:
        return (await self.router.acompletion(ALIAS, MESSAGES, **params)).choices[0].message.content or ""

    def open(self, **params: Any) -> Iterator[Any]:
        return iter(self.router.completion(ALIAS, MESSAGES, stream=True, **params))

    async def aopen(self, **params: Any) -> AsyncIterator[Any]:
        return aiter(await self.router.acompletion(ALIAS, MESSAGES, stream=True, **params))

    def text(self, chunk: Any) -> str:
        return (chunk.choices[0].delta.content or "") if chunk.choices else ""

    def close(self) -> None:
        import litellm

        self.registration.unregister()
        self.gateway.close()
        for name, before in self._lists.items():
            getattr(litellm, name)[:] = before


SURFACES: dict[str, Callable[[Places, Plugins, Mapping[str, Any]], Door]] = {
    "core": Core,
    "langchain": LangChain,
    "litellm": LiteLLM,
}

_runner: asyncio.Runner | None = None


def run(work: Any) -> Any:
    """Run this in the one event loop of all cells: hosts keep things that belong to a loop."""
    global _runner
    if _runner is None:
        _runner = asyncio.Runner()
    return _runner.run(work)


def close_loop() -> None:
    """No more cells."""
    global _runner
    if _runner is not None:
        _runner.close()
        _runner = None


def ask(door: Door, mode: str, pieces: list[str], **params: Any) -> None:
    """Ask in this mode; what the caller gets goes to `pieces` as it comes."""
    if mode == "sync":
        pieces.append(door.whole(**params))
    elif mode == "async":
        pieces.append(run(door.awhole(**params)))
    elif mode == "stream":
        for chunk in door.open(**params):
            pieces += [door.text(chunk)]
    else:
        run(read(door, pieces, **params))


async def read(door: Door, pieces: list[str], **params: Any) -> None:
    """Read a stream in an event loop."""
    async for chunk in await door.aopen(**params):
        pieces += [door.text(chunk)]
