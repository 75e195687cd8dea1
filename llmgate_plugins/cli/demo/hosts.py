"""The three hosts of the demo, each with calls as its users write them."""

from __future__ import annotations

import asyncio
import importlib
import itertools
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from llmgate_plugins.cli.demo.stage import Stage, all_speak_anthropic, is_there
from llmgate_plugins.errors import ConfigurationError

Do = Callable[[str, str], list[str]]
"""Asks about a topic for a feature of the application; returns the answers."""

__all__ = ["HOSTS", "Host", "Job", "NotInstalled", "is_installed"]

AT_ONCE: Final = 3
"""Calls of one asynchronous job."""
FEATURES: Final = ("search", "support", "summary", "support")
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
    """A way to make calls.

    Attributes:
        module: What must be installed.
        jobs: Loads it and gives jobs without end.
    """

    name: str
    title: str
    module: str
    jobs: Callable[[Stage], Iterator[Job]]


def langchain_jobs(stage: Stage) -> Iterator[Job]:
    """A chain, a stream, an agent with a tool, and a batch, over `ChatLLMGate`."""
    adapter = _needed("langchain_llmgate", "langchain-llmgate")
    prompts = _needed("langchain_core.prompts", "langchain-core")
    parsers = _needed("langchain_core.output_parsers", "langchain-core")
    if not any(map(is_there, ("langchain_openai", "langchain_litellm"))):
        raise NotInstalled("it has no client: pip install langchain-openai langchain-anthropic")
    model = adapter.ChatLLMGate(model="fast", gateway=stage.gateway)
    for deployment in stage.gateway.deployments.values():
        with suppress(ConfigurationError):  # a call says it better
            model.fleet.leaf(deployment)
    prompt = prompts.ChatPromptTemplate.from_messages(
        [("system", "Be brief."), ("user", "Tell me about {topic}")]
    )
    chain = prompt | model | parsers.StrOutputParser()
    agent = _agent(model)

    def told(feature: str) -> Any:
        return {"metadata": {"host": "langchain", "feature": feature}}

    def whole(topic: str, feature: str) -> list[str]:
        return [chain.invoke({"topic": topic}, told(feature))]

    def stream(topic: str, feature: str) -> list[str]:
        return ["".join(chain.stream({"topic": topic}, told(feature)))]

    def use_tool(topic: str, feature: str) -> list[str]:
        return [agent(f"get_weather in Paris, and note {topic}", told(feature))]

    def batch(topic: str, feature: str) -> list[str]:
        return list(stage.runner.run(chain.abatch([{"topic": topic}] * AT_ONCE, told(feature))))

    return _in_turn(
        ("chain", whole, 1),
        ("stream", stream, 1),
        ("agent with a tool", use_tool, 1),
        ("abatch", batch, AT_ONCE),
    )


def _agent(model: Any) -> Callable[[str, Any], str]:
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

        def by_hand(question: str, config: Any) -> str:
            said: list[Any] = [("user", question), bound.invoke(question, config)]
            said += [weather.invoke(call) for call in said[1].tool_calls]
            return str(bound.invoke(said, config).text)

        return by_hand
    agent = agents.create_agent(model, tools=[weather])

    def ask(question: str, config: Any) -> str:
        said = agent.invoke({"messages": [("user", question)]}, config)["messages"]
        if not any(message.type == "tool" for message in said):
            raise RuntimeError("the agent did not use its tool")
        return str(said[-1].text)

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

    def whole(topic: str, feature: str) -> list[str]:
        return [router.completion(**words(topic, feature)).choices[0].message.content]

    def stream(topic: str, feature: str) -> list[str]:
        pieces = router.completion(**words(topic, feature), stream=True)
        return ["".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)]

    async def one(topic: str, feature: str) -> str:
        return str((await router.acompletion(**words(topic, feature))).choices[0].message.content)

    return _in_turn(
        ("completion", whole, 1), ("stream", stream, 1), ("acompletion", _at_once(stage, one), AT_ONCE)
    )


def plain_jobs(stage: Stage) -> Iterator[Job]:
    """`complete`, `stream` and `acomplete` of the gateway itself."""
    gateway = stage.gateway
    _needed("openai", "'llmgate-plugins[openai]'")
    if all_speak_anthropic():
        _litellm()
    getattr(gateway.transport, "prepare", lambda _: None)(gateway.deployments.values())

    numbers = itertools.count(1)

    def words(topic: str, feature: str) -> dict[str, Any]:
        told = {"host": "plain", "feature": feature}
        call_id = f"demo-{stage.seed}-{next(numbers)}"
        return {"model": "fast", "messages": f"What about {topic}?", "tags": told, "call_id": call_id}

    def whole(topic: str, feature: str) -> list[str]:
        return [gateway.complete(**words(topic, feature)).text]

    def stream(topic: str, feature: str) -> list[str]:
        return ["".join(chunk.text for chunk in gateway.stream(**words(topic, feature)))]

    async def one(topic: str, feature: str) -> str:
        return (await gateway.acomplete(**words(topic, feature))).text

    return _in_turn(
        ("complete", whole, 1), ("stream", stream, 1), ("acomplete", _at_once(stage, one), AT_ONCE)
    )


HOSTS: Final = (
    Host(
        "langchain",
        'LangChain  ChatLLMGate(model="fast", gateway=gateway)',
        "langchain_llmgate",
        langchain_jobs,
    ),
    Host("litellm", "LiteLLM    register(litellm.Router(...), gateway)", "litellm_llmgate", litellm_jobs),
    Host("plain", 'Python     gateway.complete("fast", ...)', "openai", plain_jobs),
)


def is_installed(host: Host) -> bool:
    """Whether its package is there; what that needs may still be missing."""
    return is_there(host.module)


def _in_turn(*kinds: tuple[str, Do, int]) -> Iterator[Job]:
    """Jobs of each kind in turn, about one topic after another."""
    turns = zip(itertools.cycle(kinds), itertools.cycle(TOPICS), itertools.cycle(FEATURES), strict=False)
    for (kind, do, size), topic, feature in turns:
        yield Job(kind, partial(do, topic, feature), size)


def _at_once(stage: Stage, one: Callable[[str, str], Awaitable[str]]) -> Do:
    def do(topic: str, feature: str) -> list[str]:
        async def gather() -> list[str]:
            return list(await asyncio.gather(*(one(topic, feature) for _ in range(AT_ONCE))))

        return stage.runner.run(gather())

    return do


def _needed(module: str, package: str) -> Any:
    """A host's module. Hosts are named here and not imported, since the core depends on none."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        raise NotInstalled(f"{missing.name} is not installed: pip install {package}") from missing


def _litellm() -> Any:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # no look-up on the net at import
    litellm = _needed("litellm", "litellm-llmgate")
    litellm.suppress_debug_info = True
    logging.getLogger("LiteLLM").setLevel(logging.ERROR)
    logging.getLogger("LiteLLM Router").setLevel(logging.ERROR)
    return litellm
