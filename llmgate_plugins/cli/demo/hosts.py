"""The three hosts of the demo, each with calls as its users write them."""

from __future__ import annotations

import asyncio
import importlib
import itertools
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from llmgate_plugins._discovery import installed
from llmgate_plugins.cli.demo.stage import Stage
from llmgate_plugins.context import NOBODY, Context
from llmgate_plugins.transports.by_provider import GROUP

__all__ = ["HOSTS", "Host", "Job", "NotInstalled"]

AT_ONCE: Final = 3
"""Calls of one asynchronous job."""
FEATURES: Final = ("search", "support", "summary")
TOPICS: Final = (
    "the tides",
    "a broken parcel for ana@example.com",
    "the minutes of Monday",
    "a bill for bo@example.org",
)


class NotInstalled(Exception):
    """A host, or an adapter, that is not there; the message says what to install."""


@dataclass(frozen=True, slots=True)
class Job:
    """One thing that an application does: one call, or several at once.

    Attributes:
        kind: In a word or two, for the reader.
        run: Does it; returns one text per answer.
        size: How many answers.
    """

    kind: str
    run: Callable[[], list[str]]
    size: int = 1


@dataclass(frozen=True, slots=True)
class Host:
    """A way to make calls: `jobs` loads it and then gives jobs without end."""

    name: str
    title: str
    jobs: Callable[[Stage], Iterator[Job]]


def langchain_jobs(stage: Stage) -> Iterator[Job]:
    """A chain, a stream, an agent with a tool, and a batch, over `ChatLLMGate`."""
    adapter = _needed("langchain_llmgate", "langchain-llmgate")
    prompts = _needed("langchain_core.prompts", "langchain-core")
    parsers = _needed("langchain_core.output_parsers", "langchain-core")
    _needed("langchain_openai", "langchain-openai")
    limits = _restricted("langchain_anthropic", "langchain_litellm")
    model = adapter.ChatLLMGate(
        model="fast", gateway=stage.gateway, **({"context": limits} if limits else {})
    )
    prompt = prompts.ChatPromptTemplate.from_messages(
        [("system", "Be brief."), ("user", "Tell me about {topic}")]
    )
    chain = prompt | model | parsers.StrOutputParser()
    agent = _agent(model)

    def whole(question: dict[str, str], config: Any) -> list[str]:
        return [chain.invoke(question, config)]

    def stream(question: dict[str, str], config: Any) -> list[str]:
        return ["".join(chain.stream(question, config))]

    def batch(question: dict[str, str], config: Any) -> list[str]:
        return list(stage.runner.run(chain.abatch([question] * AT_ONCE, config)))

    for topic, feature in _turns():
        told = {"topic": topic}, {"metadata": {"host": "langchain", "feature": feature}}
        yield Job("chain", partial(whole, *told))
        yield Job("stream", partial(stream, *told))
        yield Job("agent with a tool", partial(agent, "get_weather in Paris, please", told[1]))
        yield Job("abatch", partial(batch, *told), AT_ONCE)


def _agent(model: Any) -> Callable[[str, Any], list[str]]:
    """An agent that may look up the weather: LangChain's own, or the same by hand without it."""
    tools = importlib.import_module("langchain_core.tools")

    def get_weather(city: str) -> str:
        """The weather in a city."""
        return f"18 degrees in {city}"

    weather = tools.tool(get_weather)
    try:
        agents = importlib.import_module("langchain.agents")
    except ImportError:
        bound = model.bind_tools([weather])

        def by_hand(question: str, config: Any) -> list[str]:
            said: list[Any] = [("user", question), bound.invoke(question, config)]
            said += [weather.invoke(call) for call in said[1].tool_calls]
            return [str(bound.invoke(said, config).text)]

        return by_hand
    agent = agents.create_agent(model, tools=[weather])

    def ask(question: str, config: Any) -> list[str]:
        said = agent.invoke({"messages": [("user", question)]}, config)["messages"]
        if not any(message.type == "tool" for message in said):
            raise RuntimeError("the agent did not use its tool")
        return [str(said[-1].text)]

    return ask


def litellm_jobs(stage: Stage) -> Iterator[Job]:
    """`completion`, a stream, and `acompletion` of a `Router` that has the gateway inside."""
    litellm = _litellm()
    adapter = _needed("litellm_llmgate", "litellm-llmgate")
    yaml = importlib.import_module("yaml")
    router = litellm.Router(model_list=yaml.safe_load(stage.text)["model_list"])
    adapter.register(router, stage.gateway)

    def words(topic: str, feature: str) -> dict[str, Any]:
        told = {"host": "litellm", "feature": feature}
        return {
            "model": "fast",
            "messages": [{"role": "user", "content": f"About {topic}?"}],
            "metadata": told,
        }

    def whole(asked: dict[str, Any]) -> list[str]:
        return [router.completion(**asked).choices[0].message.content]

    def stream(asked: dict[str, Any]) -> list[str]:
        pieces = router.completion(**asked, stream=True)
        return ["".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)]

    async def one(asked: dict[str, Any]) -> str:
        return str((await router.acompletion(**asked)).choices[0].message.content)

    for topic, feature in _turns():
        asked = words(topic, feature)
        yield Job("completion", partial(whole, asked))
        yield Job("stream", partial(stream, asked))
        yield Job("acompletion", partial(_at_once, stage, partial(one, asked)), AT_ONCE)


def plain_jobs(stage: Stage) -> Iterator[Job]:
    """`complete`, `stream` and `acomplete` of the gateway itself."""
    gateway = stage.gateway
    _needed("openai", "'llmgate-plugins[openai]'")
    limits = None if any(one.name == "litellm" for one in installed(GROUP)) else _ONLY_OPENAI
    if limits is None:
        _litellm()
    getattr(gateway.transport, "prepare", lambda _: None)(gateway.deployments.values())

    def whole(asked: str, told: dict[str, Any]) -> list[str]:
        return [gateway.complete("fast", asked, **told).text]

    def stream(asked: str, told: dict[str, Any]) -> list[str]:
        return ["".join(chunk.text for chunk in gateway.stream("fast", asked, **told))]

    async def one(asked: str, told: dict[str, Any]) -> str:
        return (await gateway.acomplete("fast", asked, **told)).text

    for topic, feature in _turns():
        asked = f"What about {topic}?"
        told = {"context": limits or NOBODY, "tags": {"host": "plain", "feature": feature}}
        yield Job("complete", partial(whole, asked, told))
        yield Job("stream", partial(stream, asked, told))
        yield Job("acomplete", partial(_at_once, stage, partial(one, asked, told)), AT_ONCE)


HOSTS: Final = (
    Host("langchain", 'LangChain  ChatLLMGate(model="fast", gateway=gateway)', langchain_jobs),
    Host("litellm", "LiteLLM    register(litellm.Router(...), gateway)", litellm_jobs),
    Host("plain", 'Python     gateway.complete("fast", ...)', plain_jobs),
)
_ONLY_OPENAI: Final = Context(policy="openai-only")
"""For a host that lacks a client for Anthropic's wire."""


def _turns() -> Iterator[tuple[str, str]]:
    return zip(itertools.cycle(TOPICS), itertools.cycle(FEATURES), strict=False)


def _at_once(stage: Stage, one: Callable[[], Awaitable[str]]) -> list[str]:
    async def gather() -> list[str]:
        return list(await asyncio.gather(*(one() for _ in range(AT_ONCE))))

    return stage.runner.run(gather())


def _needed(module: str, package: str) -> Any:
    """A host's module. Hosts are named here and not imported, since the core depends on none."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        raise NotInstalled(f"{missing.name} is not installed: pip install {package}") from missing


def _restricted(*modules: str) -> Context | None:
    """None if one of these can speak Anthropic's wire, else the policy that does without."""
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError:
            continue
        return None
    return _ONLY_OPENAI


def _litellm() -> Any:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # no look-up on the net at import
    litellm = _needed("litellm", "litellm-llmgate")
    litellm.suppress_debug_info = True
    logging.getLogger("LiteLLM").setLevel(logging.ERROR)
    logging.getLogger("LiteLLM Router").setLevel(logging.ERROR)
    return litellm
