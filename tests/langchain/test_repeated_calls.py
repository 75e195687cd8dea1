"""A call that the application names can be repeated safely: it is sent once, and counted once."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langchain_llmgate import ChatLLMGate
from support.langchain_faces import ENTRANCES
from support.langchain_leaves import fake, leaf

from llmgate_plugins import RequestDenied
from llmgate_plugins.plugins.idempotency import Idempotency
from llmgate_plugins.testing import SimulatedProvider


def named(identity: Any, **more: Any) -> Any:
    return {"configurable": {"llmgate_call_id": identity}, **more}


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_repeat_is_answered_without_being_sent(entrance: str, provider: SimulatedProvider) -> None:
    gate = ChatLLMGate.from_models({"fast": [leaf("openai", provider)]}, plugins=[Idempotency()])
    usage = UsageMetadataCallbackHandler()

    first = ENTRANCES[entrance](gate, "hello", named("order-7", callbacks=[usage]))
    again = ENTRANCES[entrance](gate, "hello", named("order-7", callbacks=[usage]))

    assert len(provider.requests) == 1
    assert isinstance(again, AIMessage)
    assert again.text == first.text
    assert again.response_metadata["model_name"] == first.response_metadata["model_name"]
    assert again.response_metadata["finish_reason"] == "stop"
    told = again.response_metadata["llmgate"]
    assert told["answered_by"] is not None
    assert told["attempts"] == []
    assert told["cost_usd"] == 0
    assert told["tokens_saved"] == first.usage_metadata["total_tokens"]
    assert again.usage_metadata is None
    ((_, counted),) = usage.usage_metadata.items()
    assert counted["total_tokens"] == first.usage_metadata["total_tokens"]
    assert [record.status for record in gate.gateway.decisions] == ["success", "answered"]


@pytest.mark.parametrize(("first", "second"), [("invoke", "stream"), ("astream", "ainvoke")])
def test_a_repeat_may_be_read_another_way(first: str, second: str) -> None:
    inner = fake()
    gate = ChatLLMGate.from_models({"fast": [inner]}, plugins=[Idempotency()])

    one = ENTRANCES[first](gate, "hello", named("a"))
    two = ENTRANCES[second](gate, "hello", named("a"))

    assert one.text == two.text == "hello"
    assert len(inner.asked) == 1


def test_a_repeated_tool_call_is_one(provider: SimulatedProvider) -> None:
    def look_up(place: str) -> str:
        """What is there."""
        return place

    gate = ChatLLMGate.from_models({"fast": [leaf("anthropic", provider)]}, plugins=[Idempotency()])
    bound = gate.bind_tools([look_up], tool_choice="any")

    first = bound.invoke("Look up Paris", named("a"))
    again = bound.invoke("Look up Paris", named("a"))

    assert again.tool_calls == first.tool_calls
    assert again.tool_calls
    assert len(provider.requests) == 1


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_the_same_name_for_another_call_is_refused(entrance: str) -> None:
    gate = ChatLLMGate.from_models({"fast": [fake()]}, plugins=[Idempotency()])
    ENTRANCES[entrance](gate, "hello", named("a"))

    with pytest.raises(RequestDenied):
        ENTRANCES[entrance](gate, "good bye", named("a"))


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_the_name_is_the_calls_id_and_stays_out_of_what_is_sent(
    entrance: str, provider: SimulatedProvider
) -> None:
    gate = ChatLLMGate.from_models({"fast": [leaf("openai", provider)]})

    ENTRANCES[entrance](gate, "hello", named("order-7"))

    assert [record.call_id for record in gate.gateway.decisions] == ["order-7"]
    assert "order-7" not in repr(provider.requests[0].body)


def test_calls_without_a_name_are_all_sent() -> None:
    inner = fake()
    gate = ChatLLMGate.from_models({"fast": [inner]}, plugins=[Idempotency()])

    gate.invoke("hello")
    gate.invoke("hello")

    assert len(inner.asked) == 2


SINGLE = ["invoke", "ainvoke", "stream", "astream", "stream_events_v3", "astream_events_v3"]
"""The core itself hands the surrounding configuration on to the calls of a batch, and of older events."""


@pytest.mark.parametrize("entrance", SINGLE)
def test_a_name_around_a_graph_is_not_the_name_of_each_call_in_it(entrance: str) -> None:
    inner = fake()
    gate = ChatLLMGate.from_models({"fast": [inner]}, plugins=[Idempotency()])
    call = ENTRANCES[entrance]
    twice = RunnableLambda(lambda text: [call(gate, text).text, call(gate, text).text])

    assert twice.invoke("hello", named("a")) == ["hello", "hello"]
    assert len(inner.asked) == 2


@pytest.mark.parametrize("wrong", [7, "", ["a"]])
def test_a_name_is_a_text(wrong: Any) -> None:
    with pytest.raises(TypeError, match="llmgate_call_id"):
        ChatLLMGate.from_models({"fast": [fake()]}).invoke("hello", named(wrong))


def test_each_call_of_a_batch_has_its_own() -> None:
    inner = fake()
    gate = ChatLLMGate.from_models({"fast": [inner]}, plugins=[Idempotency()])

    for _ in range(2):
        gate.batch(["one", "two"], [named("1"), named("2")])

    assert len(inner.asked) == 2
