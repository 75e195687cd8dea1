"""Every host over one simulated provider, with a canary for a key."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from llmgate_plugins import Gateway, hookimpl
from llmgate_plugins.catalog import Catalog
from llmgate_plugins.ledger import open_ledger
from llmgate_plugins.plugins import Telemetry
from llmgate_plugins.testing import SimulatedProvider, VirtualClock, VirtualSleeper

__all__ = ["FACES", "HOSTS", "Host", "made"]

FACES = ("complete", "acomplete", "stream", "astream")
MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-haiku-4-5"}


class Everything:
    """Keeps whatever a plugin is given."""

    def __init__(self) -> None:
        self.given: list[Any] = []

    @hookimpl
    def admit_request(self, request: Any, context: Any, call: Any, services: Any) -> None:
        self.given += [request, context, call, services]

    @hookimpl
    def narrow_deployments(self, deployments: Any) -> None:
        self.given += deployments

    @hookimpl
    def begin_attempt(self, attempt: Any) -> None:
        self.given.append(attempt)

    @hookimpl
    def end_attempt(self, outcome: Any) -> None:
        self.given.append(outcome)

    @hookimpl
    def recover_attempt(self, untried: Any, fallbacks: Any) -> None:
        self.given += [untried, fallbacks]

    @hookimpl
    def review_response(self, response: Any) -> None:
        self.given.append(response)

    @hookimpl
    def end_call(self, record: Any) -> None:
        self.given.append(record)


@dataclass
class Host:
    """One way to call a provider, and what an application holds in its hands there.

    Attributes:
        clock: The gateway's.
        ask: (face, prompt) -> what was said; awaitable on the asynchronous faces.
        things: What can be shown, copied and written.
    """

    gateway: Gateway
    clock: VirtualClock
    provider: SimulatedProvider
    everything: Everything
    spans: InMemorySpanExporter
    ask: Callable[[str, str], Any] = lambda face, prompt: None
    things: dict[str, Any] = field(default_factory=dict)
    runs: list[Any] = field(default_factory=list)
    cache: Any = None

    def __repr__(self) -> str:
        return "Host()"


def made(kind: str, provider: SimulatedProvider, key: str, ledger: str, *, dead: bool = False) -> Host:
    """A host of this kind. `key`: a value or a reference."""
    family, _, name = kind.partition(":")
    model = name.removesuffix(" from models")
    base = provider.openai_base_url if model != "anthropic" else provider.anthropic_base_url
    if dead:
        base = provider.closed_url.removesuffix("/v1" if model == "anthropic" else "")
    params = {"model": f"{model}/{MODELS[model]}", "api_base": base, "api_key": key}
    entry = {"model_name": "fast", "litellm_params": params, "model_info": {"id": "one"}}
    everything, spans = Everything(), InMemorySpanExporter()
    exporting = TracerProvider()
    exporting.add_span_processor(SimpleSpanProcessor(spans))
    plugins = [everything, Telemetry(tracer_provider=exporting)]
    clock = VirtualClock()
    services: dict[str, Any] = {
        "clock": clock,
        "sleeper": VirtualSleeper(clock),
        "ledger": open_ledger(ledger),
    }
    services["catalog"] = Catalog(sources=())  # tables of prices hold no key, and take long to write down
    if family == "litellm":
        gateway = Gateway(plugins=plugins, **services)
    elif not name.endswith("models"):
        gateway = Gateway.from_config({"model_list": [entry]}, plugins=plugins, **services)
    else:
        gateway = Gateway(**services)
    host = Host(gateway, clock, provider, everything, spans)
    if family == "plain":
        _plain(host)
    elif family == "litellm":
        _litellm(host, entry)
    else:
        _langchain(host, name, model, base, key, plugins, services)
    host.things |= {"gateway": host.gateway, "deployments": dict(host.gateway.deployments)}
    host.things |= {f"deployment {name}": one for name, one in host.gateway.deployments.items()}
    host.things |= {f"endpoint {name}": one.endpoint for name, one in host.gateway.deployments.items()}
    return host


def _plain(host: Host) -> None:
    gateway = host.gateway

    def ask(face: str, prompt: str) -> Any:
        if face == "complete":
            return gateway.complete("fast", prompt)
        if face == "acomplete":
            return gateway.acomplete("fast", prompt)
        return (
            list(gateway.stream("fast", prompt))
            if face == "stream"
            else _all(gateway.astream("fast", prompt))
        )

    host.ask = ask
    host.things["transport"] = gateway.transport


def _langchain(
    host: Host, name: str, model: str, base: str, key: str, plugins: list[Any], services: dict[str, Any]
) -> None:
    from langchain_core.caches import InMemoryCache
    from langchain_core.tracers.base import BaseTracer
    from langchain_llmgate import ChatLLMGate

    class Collecting(BaseTracer):
        def _persist_run(self, run: Any) -> None:
            host.runs.append(run)

    host.cache = InMemoryCache()
    if name.endswith("from models"):
        inner = _inner(model, base, key)
        gate = ChatLLMGate.from_models({"fast": inner}, plugins=plugins, cache=host.cache, **services)
        host.gateway = gate.gateway
    else:
        gate = ChatLLMGate(model="fast", gateway=host.gateway, cache=host.cache)
    tracer = Collecting()

    def ask(face: str, prompt: str) -> Any:
        config: Any = {"callbacks": [tracer]}
        if face == "complete":
            return gate.invoke(prompt, config)
        if face == "acomplete":
            return gate.ainvoke(prompt, config)
        return list(gate.stream(prompt, config)) if face == "stream" else _all(gate.astream(prompt, config))

    host.ask = ask
    host.things |= {"gate": gate, "fleet": gate.fleet, "bound": gate.bind_tools([_tool])}


def _tool(city: str) -> str:
    """The weather of a city."""
    return city


def _inner(model: str, base: str, key: str) -> Any:
    if model == "openai":
        from langchain_openai import ChatOpenAI

        return ChatOpenAI(model=MODELS[model], base_url=base, api_key=key)
    from langchain_anthropic import ChatAnthropic

    return ChatAnthropic(model=MODELS[model], base_url=base, api_key=key)


def _litellm(host: Host, entry: dict[str, Any]) -> None:
    import litellm
    from litellm_llmgate import register

    litellm.disable_aiohttp_transport = True
    router = litellm.Router(model_list=[entry], disable_cooldowns=True)
    registration = register(router, host.gateway)
    say = [{"role": "user", "content": ""}]

    def ask(face: str, prompt: str) -> Any:
        messages = [{**say[0], "content": prompt}]
        if face == "complete":
            return router.completion("fast", messages)
        if face == "acomplete":
            return router.acompletion("fast", messages)
        if face == "stream":
            return list(router.completion("fast", messages, stream=True))
        return _astreamed(router, messages)

    host.ask = ask
    host.things |= {"registration": registration, "deployment one": registration.deployment("one")}


async def _astreamed(router: Any, messages: Any) -> list[Any]:
    return await _all(await router.acompletion("fast", messages, stream=True))


async def _all(chunks: Any) -> list[Any]:
    return [chunk async for chunk in chunks]


HOSTS = (
    "plain:openai",
    "plain:anthropic",
    "langchain:openai",
    "langchain:anthropic",
    "langchain:openai from models",
    "langchain:anthropic from models",
    "litellm:openai",
    "litellm:anthropic",
)
