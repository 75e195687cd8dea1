"""LangChain's agents, chains and graphs run over a gate as over any chat model, also through a failover."""

from __future__ import annotations

from typing import Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_core.tools import tool
from langchain_llmgate import ChatLLMGate
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel, Field
from support.langchain_leaves import leaf

from llmgate_plugins.testing import Fault, SimulatedProvider

TEAMS = {
    "openai": ("openai", "openai"),
    "anthropic": ("anthropic", "anthropic"),
    "dead openai, then anthropic": ("openai", "anthropic"),
    "dead anthropic, then openai": ("anthropic", "openai"),
    "dead openai, then litellm": ("openai", "litellm"),
}


class Weather(BaseModel):
    """The weather somewhere."""

    city: str = Field(description="The city")
    degrees: int = Field(description="Celsius")


class WeatherDict(TypedDict):
    """The weather somewhere."""

    city: str
    degrees: int


@tool
def get_weather(city: str) -> str:
    """Look up the weather in a city."""
    return f"sunny in {city}"


@pytest.fixture(params=TEAMS)
def gate(
    request: pytest.FixtureRequest, provider: SimulatedProvider, other: SimulatedProvider
) -> ChatLLMGate:
    """A gate whose first deployment is dead, where the team's name says so."""
    first, second = TEAMS[request.param]
    if request.param.startswith("dead"):
        provider.fail_always(Fault("server"))
    return ChatLLMGate.from_models({"fast": [leaf(first, provider), leaf(second, other)]})


def test_an_agent_calls_tools(gate: ChatLLMGate) -> None:
    agent = create_agent(gate, tools=[get_weather])

    messages = agent.invoke({"messages": [("user", "get_weather for Paris")]})["messages"]

    assert any(isinstance(one, AIMessage) and one.tool_calls for one in messages)
    assert any(isinstance(one, ToolMessage) and "sunny in" in one.text for one in messages)
    assert "sunny in" in messages[-1].text


@pytest.mark.parametrize("strategy", [Weather, ToolStrategy(Weather), ProviderStrategy(Weather)], ids=repr)
@pytest.mark.parametrize("tools", [[], [get_weather]], ids=["no tools", "tools"])
async def test_an_agent_answers_in_a_structure(gate: ChatLLMGate, strategy: Any, tools: list[Any]) -> None:
    agent = create_agent(gate, tools=tools, response_format=strategy)

    state = await agent.ainvoke({"messages": [("user", "what is it like in Paris?")]})

    assert isinstance(state["structured_response"], Weather)


def test_a_profile_that_all_share_lets_agents_use_native_structures(gate: ChatLLMGate) -> None:
    assert gate.profile is None or "max_input_tokens" in gate.profile


@pytest.mark.parametrize("method", [None, "json_schema", "function_calling", "json_mode"])
@pytest.mark.parametrize("schema", [Weather, WeatherDict], ids=lambda kind: kind.__name__)
def test_each_structure_is_asked_for_and_parsed_as_the_serving_provider_does(
    gate: ChatLLMGate, method: str | None, schema: Any
) -> None:
    prompt = "weather as JSON with 'city' and 'degrees' please"
    structured = gate.with_structured_output(schema, method=method, include_raw=True)

    answer = structured.invoke(prompt)

    assert answer["raw"].response_metadata["llmgate"]["deployment"]
    if method == "json_mode" and gate.invoke("x").response_metadata["llmgate"]["provider"] != "anthropic":
        return  # a JSON object of any shape: whether it fits is the prompt's affair
    assert answer["parsing_error"] is None
    expected = Weather if schema is Weather else dict
    assert isinstance(answer["parsed"], expected)


async def test_a_structure_streams_as_it_grows(gate: ChatLLMGate) -> None:
    structured = gate.with_structured_output(WeatherDict, method="function_calling")

    parts = [part async for part in structured.astream("the weather in Paris")]
    again = list(structured.stream("the weather in Paris"))

    assert len(parts) > 1
    assert parts[-1] == again[-1]
    assert set(parts[-1]) == {"city", "degrees"}


def test_chains_are_chains(gate: ChatLLMGate) -> None:
    prompt = ChatPromptTemplate.from_messages([("system", "be kind"), ("user", "{question}")])
    chain = prompt | gate | StrOutputParser()
    both = RunnableParallel(short=chain, long=chain | RunnableLambda(len))

    assert chain.invoke({"question": "how are you?"}) == "You said: how are you?"
    assert "".join(chain.stream({"question": "how are you?"})) == "You said: how are you?"
    assert both.invoke({"question": "eh?"}) == {"short": "You said: eh?", "long": 13}


@pytest.mark.parametrize("most", [1, 3])
async def test_batches_keep_their_order(gate: ChatLLMGate, most: int) -> None:
    questions = [f"question {number}" for number in range(7)]

    sync = gate.batch(questions, {"max_concurrency": most})
    later = await gate.abatch(questions, {"max_concurrency": most})

    assert [one.text for one in sync] == [one.text for one in later] == [f"You said: {q}" for q in questions]
    assert len(gate.gateway.decisions) == 14


def graph_over(gate: ChatLLMGate) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("talk", lambda state: {"messages": [gate.invoke(state["messages"])]})
    graph.add_edge(START, "talk")
    return graph.compile()


def test_langgraph_sees_each_token_once(gate: ChatLLMGate) -> None:
    asked = {"messages": [("user", "tell me something long and interesting")]}

    chunks = [chunk for chunk, _ in graph_over(gate).stream(asked, stream_mode="messages")]

    assert all(isinstance(chunk, AIMessageChunk) for chunk in chunks)
    assert "".join(chunk.text for chunk in chunks) == "You said: tell me something long and interesting"
    assert len(chunks) > 3
    assert len(gate.gateway.decisions) == 1


async def test_events_of_version_two_tell_each_token_once(gate: ChatLLMGate) -> None:
    chain = ChatPromptTemplate.from_template("{q}") | gate | StrOutputParser()

    events = [event async for event in chain.astream_events({"q": "tell me something"}, version="v2")]

    streamed = [e["data"]["chunk"].text for e in events if e["event"] == "on_chat_model_stream"]
    assert "".join(streamed) == "You said: tell me something"
    assert [e["event"] for e in events].count("on_chat_model_start") == 1
    assert [e["event"] for e in events].count("on_chat_model_end") == 1


async def test_events_of_an_invoke_inside_a_chain_are_streamed(gate: ChatLLMGate) -> None:
    chain = RunnableLambda(lambda q: gate.invoke(q))

    events = [event async for event in chain.astream_events("tell me something", version="v2")]

    streamed = [e["data"]["chunk"].text for e in events if e["event"] == "on_chat_model_stream"]
    assert "".join(streamed) == "You said: tell me something"
