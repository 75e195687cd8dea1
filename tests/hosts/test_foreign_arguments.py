"""Words and message parts of one provider fail over to another that would refuse them, over real HTTP."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import litellm
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_llmgate import ChatLLMGate
from litellm_llmgate import register

from llmgate_plugins import DecisionRecord, Gateway
from llmgate_plugins.plugins import InOrder
from llmgate_plugins.testing import Fault, ProviderSimulator, SimulatedProvider

litellm.suppress_debug_info = True

THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
MARK = {"type": "ephemeral"}
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Look up.",
        "parameters": {"type": "object", "properties": {}},
    },
}


@pytest.fixture
def sim() -> Iterator[ProviderSimulator]:
    with ProviderSimulator(seed=5) as running:
        yield running


@dataclass
class Told:
    """How a call went.

    Attributes:
        sent: The body of the request that was answered.
    """

    text: str
    record: DecisionRecord
    sent: dict[str, Any]

    @property
    def adapted(self) -> list[str]:
        return self.record.attempts[-1][0].adapted

    def left_out(self) -> set[str]:
        return {
            one.removeprefix("left out ").split(":")[0] for one in self.adapted if one.startswith("left out")
        }


def entries(sim: ProviderSimulator, first: str, then: str) -> list[dict[str, Any]]:
    """Two deployments of one alias, the first of them down."""
    sim.provider("one").fail_always(Fault("unavailable"))
    return [_entry(sim.provider("one"), "one", first), _entry(sim.provider("two"), "two", then)]


def _entry(provider: SimulatedProvider, id: str, model: str) -> dict[str, Any]:
    base = provider.anthropic_base_url if model.startswith("anthropic/") else provider.openai_base_url
    return {
        "model_name": "fast",
        "litellm_params": {"model": model, "api_base": base, "api_key": "sk-foreign-arguments"},
        "model_info": {"id": id},
    }


def in_core(listed: list[dict[str, Any]], messages: list[dict[str, Any]], words: dict[str, Any]) -> Any:
    gateway = Gateway.from_config({"model_list": listed}, plugins=[InOrder()])
    return gateway.complete("fast", messages, **words).text, gateway


def in_core_stream(
    listed: list[dict[str, Any]], messages: list[dict[str, Any]], words: dict[str, Any]
) -> Any:
    gateway = Gateway.from_config({"model_list": listed}, plugins=[InOrder()])
    return "".join(chunk.text for chunk in gateway.stream("fast", messages, **words)), gateway


def in_litellm(listed: list[dict[str, Any]], messages: list[dict[str, Any]], words: dict[str, Any]) -> Any:
    router = litellm.Router(model_list=listed)
    gateway = register(router, Gateway(plugins=[InOrder()])).gateway
    return router.completion("fast", messages, **words).choices[0].message.content, gateway


def in_langchain(listed: list[dict[str, Any]], messages: list[dict[str, Any]], words: dict[str, Any]) -> Any:
    gate = ChatLLMGate(model="fast", config={"model_list": listed}, plugins=[InOrder()])
    return gate.invoke(_as_langchain(messages), **words).text, gate.gateway


def _as_langchain(messages: list[dict[str, Any]]) -> list[Any]:
    made: list[Any] = []
    for message in messages:
        content = message.get("content") or ""
        match message["role"]:
            case "assistant":
                calls = [
                    {"id": call["id"], "name": call["function"]["name"], "args": {}}
                    for call in message.get("tool_calls", ())
                ]
                made.append(AIMessage(content, tool_calls=calls))
            case "tool":
                made.append(ToolMessage(content, tool_call_id=message["tool_call_id"]))
            case "system":
                made.append(SystemMessage(content))
            case _:
                made.append(HumanMessage(content))
    return made


HOSTS: dict[str, Callable[..., Any]] = {
    "core": in_core,
    "core, streamed": in_core_stream,
    "LiteLLM": in_litellm,
    "LangChain": in_langchain,
}
every_host: Any = pytest.mark.parametrize("host", HOSTS)


def told(
    host: str, sim: ProviderSimulator, first: str, then: str, messages: list[dict[str, Any]], **words: Any
) -> Told:
    sim.provider("two").reply("hello from two")
    text, gateway = HOSTS[host](entries(sim, first, then), messages, words)
    return Told(text, gateway.decisions[-1], sim.provider("two").requests[-1].body)


HELLO = [{"role": "user", "content": "Say hello."}]
OPENAI, CLAUDE = "openai/gpt-4o-mini", "anthropic/claude-haiku-4-5"
OPENAIS = {
    "seed": 7,
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "top_logprobs": 2,
    "frequency_penalty": 0.1,
    "presence_penalty": 0.1,
    "prompt_cache_key": "k",
    "store": False,
}


@every_host
def test_openais_words_fail_over_to_anthropic(host: str, sim: ProviderSimulator) -> None:
    ended = told(host, sim, OPENAI, CLAUDE, HELLO, **OPENAIS, max_completion_tokens=50, temperature=0.2)
    assert ended.text == "hello from two"
    assert [outcome.status for _, outcome in ended.record.attempts] == ["error", "success"]
    assert ended.left_out() >= OPENAIS.keys()
    assert not OPENAIS.keys() & ended.sent.keys()
    assert ended.sent["max_tokens"] == 50
    assert ended.sent["temperature"] == 0.2


@every_host
def test_the_first_provider_got_its_own_words_untouched(host: str, sim: ProviderSimulator) -> None:
    ended = told(host, sim, OPENAI, CLAUDE, HELLO, **OPENAIS)
    assert ended.record.attempts[0][0].adapted == []
    first = sim.provider("one").requests[0].body
    assert {name: first[name] for name in OPENAIS} == OPENAIS


@every_host
def test_anthropics_words_fail_over_to_openai(host: str, sim: ProviderSimulator) -> None:
    words = {"thinking": {"type": "enabled", "budget_tokens": 2_000}, "top_k": 5, "max_tokens": 4_000}
    ended = told(host, sim, CLAUDE, OPENAI, HELLO, **words)
    assert ended.text == "hello from two"
    assert {"thinking", "top_k"} <= ended.left_out()
    assert not {"thinking", "top_k", "reasoning_effort"} & ended.sent.keys()


@every_host
def test_thinking_becomes_an_effort_where_the_other_model_thinks(host: str, sim: ProviderSimulator) -> None:
    words = {"thinking": {"type": "enabled", "budget_tokens": 2_000}, "max_tokens": 4_000}
    ended = told(host, sim, CLAUDE, "openai/gpt-5-mini", HELLO, **words)
    assert ended.text == "hello from two"
    assert ended.adapted[0] == "thinking became reasoning_effort=medium for openai"
    assert ended.sent["reasoning_effort"] == "medium"
    assert "thinking" not in ended.sent


@every_host
def test_an_effort_becomes_thinking(host: str, sim: ProviderSimulator) -> None:
    ended = told(host, sim, "openai/gpt-5-mini", CLAUDE, HELLO, reasoning_effort="low", max_tokens=4_000)
    assert ended.text == "hello from two"
    assert ended.sent["thinking"] == {"type": "enabled", "budget_tokens": 1_024}


@every_host
def test_a_reasoning_model_is_not_told_a_temperature(host: str, sim: ProviderSimulator) -> None:
    ended = told(host, sim, CLAUDE, "openai/gpt-5-mini", HELLO, temperature=0.2)
    assert ended.text == "hello from two"
    assert ended.adapted == ["left out temperature: gpt-5-mini does not take it"]
    assert "temperature" not in ended.sent


@every_host
def test_a_conversation_with_claude_goes_on_with_openai(host: str, sim: ProviderSimulator) -> None:
    call = {"id": "toolu_01", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
    answer = {"role": "assistant", "content": [{"type": "text", "text": "Let me see."}], "tool_calls": [call]}
    answer["content"] = [THOUGHT, *answer["content"]]
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "Be brief.", "cache_control": MARK}]},
        {"role": "user", "content": [{"type": "text", "text": "What is it?", "cache_control": MARK}]},
        answer,
        {"role": "tool", "tool_call_id": "toolu_01", "content": "a pear"},
    ]
    ended = told(host, sim, CLAUDE, OPENAI, messages, tools=[TOOL])
    assert ended.text == "hello from two"
    assert "cache_control" not in str(ended.sent)
    assert "signature" not in str(ended.sent)
    assert {"thinking in messages", "cache_control in messages"} <= ended.left_out()


@every_host
def test_ids_of_tool_calls_that_anthropic_refuses_are_changed(host: str, sim: ProviderSimulator) -> None:
    given = "functions.look_up:0"
    call = {"id": given, "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "What is it?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": given, "content": "a pear"},
    ]
    ended = told(host, sim, OPENAI, CLAUDE, messages, tools=[TOOL])
    assert ended.text == "hello from two"


@every_host
def test_words_that_were_left_out_are_nobodys_ill_health(host: str, sim: ProviderSimulator) -> None:
    ended = told(host, sim, OPENAI, CLAUDE, HELLO, **OPENAIS)
    assert len(sim.provider("two").requests) == 1
    assert ended.record.attempts[-1][1].failure is None
    assert ended.record.problems == []
    assert ended.record.to_dict()["attempts"][-1]["adapted"] == ended.adapted
