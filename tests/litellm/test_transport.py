"""LiteLLM as a transport of plain gateway calls: OpenAI's and Anthropic's wire, sync and async."""

from __future__ import annotations

import pytest
from litellm_llmgate import LiteLLMTransport
from support.litellm_routers import HELLO, KEY

from llmgate_plugins import ConfigurationError, Gateway, StreamInterrupted
from llmgate_plugins.secrets import Secret
from llmgate_plugins.testing import Fault
from llmgate_plugins.types import Deployment, Endpoint, Request

PROVIDERS = ("openai", "anthropic")
MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-haiku-4-5"}


def deployment(provider, simulated, id="one", **endpoint) -> Deployment:
    url = simulated.openai_base_url if provider == "openai" else simulated.anthropic_base_url
    return Deployment(
        id=id,
        alias="fast",
        provider=provider,
        model=MODELS.get(provider, provider),
        endpoint=Endpoint(base_url=url, api_key=Secret(KEY), **endpoint),
    )


def gateway(*deployments) -> Gateway:
    return Gateway(deployments, transport=LiteLLMTransport())


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_each_face_is_served_with_the_deployments_key_and_booked(sim, provider):
    one = sim.provider("one", keys=[KEY])
    one.reply("Hello there.")
    gate = gateway(deployment(provider, one))
    assert gate.complete("fast", HELLO, max_tokens=50).text == "Hello there."
    assert (await gate.acomplete("fast", HELLO, max_tokens=50)).text == "Hello there."
    assert "".join(chunk.text for chunk in gate.stream("fast", HELLO, max_tokens=50)) == "Hello there."
    assert (
        "".join([chunk.text async for chunk in gate.astream("fast", HELLO, max_tokens=50)]) == "Hello there."
    )
    rows = gate.services.ledger.attempts()
    assert [(row["status"], row["estimated"]) for row in rows] == [("success", False)] * 4
    assert all(row["output_tokens"] > 0 for row in rows)


@pytest.mark.parametrize("kind", ["html", "empty", "done_only"])
async def test_what_is_no_stream_is_no_answer(sim, kind):
    broken, alive = sim.provider("broken"), sim.provider("alive")
    broken.fail_always(Fault(kind))
    alive.reply("Hello there.")
    gate = gateway(deployment("openai", broken, "broken"), deployment("openai", alive, "alive"))
    assert "".join(chunk.text for chunk in gate.stream("fast", HELLO)) == "Hello there."
    assert "".join([chunk.text async for chunk in gate.astream("fast", HELLO)]) == "Hello there."
    assert [row["status"] for row in gate.services.ledger.attempts()] == ["error", "success"] * 2


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_stream_cut_without_a_word_is_no_whole_answer(sim, provider):
    one = sim.provider("one")
    one.fail_always(Fault("truncated"))
    gate = gateway(deployment(provider, one))
    with pytest.raises(StreamInterrupted):
        list(gate.stream("fast", HELLO))
    with pytest.raises(StreamInterrupted):
        [chunk async for chunk in gate.astream("fast", HELLO)]


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_nothing_is_retried_below_the_gateway(sim, provider):
    dead, alive = sim.provider("dead"), sim.provider("alive")
    dead.fail_always(Fault("server"))
    gate = gateway(deployment(provider, dead, "dead"), deployment(provider, alive, "alive"))
    assert gate.complete("fast", HELLO).text
    assert (await gate.acomplete("fast", HELLO)).text
    assert len(dead.requests) == 2
    assert [row["status"] for row in gate.services.ledger.attempts()] == ["error", "success"] * 2


@pytest.mark.parametrize("provider", PROVIDERS)
def test_tool_calls_come_back_whole_and_in_pieces(sim, provider):
    gate = gateway(deployment(provider, sim.provider("one")))
    tool = {
        "type": "function",
        "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
    }
    params = {"tools": [tool], "tool_choice": {"type": "function", "function": {"name": "weather"}}}
    (call,) = gate.complete("fast", HELLO, **params).message.tool_calls
    assert call.name == "weather"
    chunks = list(gate.stream("fast", HELLO, **params))
    assert [call.name for chunk in chunks for call in chunk.tool_calls if call.name] == ["weather"]


def test_a_stream_that_breaks_after_content_is_interrupted(sim):
    one = sim.provider("one")
    one.reply("Once upon a time there was a gateway.")
    one.fail_always(Fault("reset_midstream", after=3))
    gate = gateway(deployment("openai", one))
    with pytest.raises(StreamInterrupted) as caught:
        list(gate.stream("fast", HELLO))
    assert caught.value.partial


def test_a_stream_that_is_left_is_booked_as_abandoned(sim):
    gate = gateway(deployment("openai", sim.provider("one")))
    stream = gate.stream("fast", HELLO)
    next(stream)
    stream.close()
    assert [row["status"] for row in gate.services.ledger.attempts()] == ["abandoned"]


async def test_embeddings(sim):
    one = deployment("openai", sim.provider("one"))
    gate = gateway(one)
    asked = Request(model="fast", operation="embedding", params={"input": ["one", "two"]})
    assert len(gate.complete(asked).native.data) == 2
    assert len((await gate.acomplete(asked)).native.data) == 2


def test_headers_of_the_deployment_are_sent_and_those_of_a_call_refused(sim):
    one = sim.provider("one")
    gate = gateway(deployment("openai", one, headers={"x-team": Secret("search-team")}))
    gate.complete("fast", HELLO)
    assert one.requests[0].headers["x-team"] == "search-team"
    for name in ("api_key", "api_base", "base_url", "extra_headers", "custom_llm_provider"):
        with pytest.raises(ConfigurationError, match=name):
            gate.complete("fast", HELLO, **{name: "http://elsewhere"})
    assert len(one.requests) == 1


def test_a_stalled_provider_is_left_at_the_calls_deadline(sim):
    one = sim.provider("one")
    one.fail_always(Fault("stall"))
    gate = gateway(deployment("openai", one))
    with pytest.raises(Exception, match=r"(?i)time"):
        gate.complete("fast", HELLO, deadline=1.0)
    assert [row["error_class"] for row in gate.services.ledger.attempts()] == ["timeout"]
