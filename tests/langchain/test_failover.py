"""A dead or failing provider is survived before the first content, and told truthfully after it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import openai
import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_llmgate import ChatLLMGate
from support.langchain_faces import ENTRANCES, STREAMS
from support.langchain_leaves import LEAVES, FakeWithoutStream, fake, leaf
from support.patience import PATIENCE, auntil

from llmgate_plugins import AllDeploymentsUnavailable, StreamInterrupted
from llmgate_plugins.plugins import Failover, Policies
from llmgate_plugins.testing import Fault, SimulatedProvider


def quick() -> Failover:
    """Failover that does not wait."""
    return Failover(base=0.0, throttle_base=0.0)


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("fault", ["server", "overloaded", "connection", "rate_limit", "authentication"])
def test_openai_fails_over_to_anthropic(
    entrance: str, fault: Any, provider: SimulatedProvider, other: SimulatedProvider
) -> None:
    provider.fail_always(Fault(fault))
    gate = ChatLLMGate.from_models({"fast": [leaf("openai", provider), leaf("anthropic", other)]})

    answer = ENTRANCES[entrance](gate, "hello there")

    assert answer.text == "You said: hello there"
    told = answer.response_metadata["llmgate"]
    assert told["provider"] == "anthropic"
    *failed, served = [one["status"] for one in told["attempts"]]
    assert set(failed) == {"error"}
    assert served == "success"
    assert told["cost_usd"] > 0
    assert answer.response_metadata["model_name"].startswith("claude-haiku-4-5")
    assert len(provider.requests) == len(failed), "the inner client must not retry"
    assert len(other.requests) == 1


@pytest.mark.parametrize("kind", LEAVES)
@pytest.mark.parametrize("entrance", ["invoke", "ainvoke", "stream", "astream"])
def test_inner_clients_retry_nothing(kind: str, entrance: str, provider: SimulatedProvider) -> None:
    provider.fail_always(Fault("server"))
    gate = ChatLLMGate.from_models({"fast": [leaf(kind, provider)]}, plugins=[quick()])

    with pytest.raises(Exception):  # noqa: B017 - each client has its own
        ENTRANCES[entrance](gate, "hello")

    assert len(provider.requests) == len(gate.gateway.decisions[-1].attempts)


def test_the_error_is_the_providers_own_with_a_note_per_attempt(
    provider: SimulatedProvider, other: SimulatedProvider
) -> None:
    provider.fail_always(Fault("rate_limit"))
    other.fail_always(Fault("overloaded"))
    gate = ChatLLMGate.from_models(
        {"fast": [leaf("openai", provider), leaf("anthropic", other)]}, plugins=[quick()]
    )

    with pytest.raises(openai.RateLimitError) as caught:
        gate.invoke("hello")

    notes = "\n".join(caught.value.__notes__)
    assert "fast/openai-gpt-4o-mini" in notes
    assert "fast/anthropic-claude-haiku-4-5" in notes


@pytest.mark.parametrize("entrance", STREAMS)
def test_a_role_alone_commits_to_nothing(
    entrance: str, provider: SimulatedProvider, other: SimulatedProvider
) -> None:
    provider.fail_always(Fault("reset_midstream", after=0))
    gate = ChatLLMGate.from_models({"fast": [leaf("openai", provider), leaf("anthropic", other)]})

    answer = STREAMS[entrance](gate, "hello there")

    assert answer.text == "You said: hello there"
    assert [one["status"] for one in answer.response_metadata["llmgate"]["attempts"]] == ["error", "success"]


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        *((kind, fault) for kind in LEAVES for fault in ("reset_midstream", "error_event")),
        ("openai", "truncated"),
        ("anthropic", "truncated"),  # litellm makes up a finish reason, so that nobody behind it can tell
    ],
)
async def test_after_content_a_broken_stream_ends_with_an_error(
    kind: str, fault: Any, provider: SimulatedProvider, other: SimulatedProvider
) -> None:
    provider.fail_always(Fault(fault, after=2))
    gate = ChatLLMGate.from_models({"fast": [leaf(kind, provider), leaf("openai", other)]})
    read: list[str] = []

    async def listen() -> None:
        async for chunk in gate.astream("tell me a long story please"):
            read.append(chunk.text)

    with pytest.raises(StreamInterrupted) as caught:
        await listen()

    assert caught.value.partial == "".join(read) != ""
    assert other.requests == []


def test_another_alias_is_the_last_resort(provider: SimulatedProvider, other: SimulatedProvider) -> None:
    provider.fail_always(Fault("quota"))
    gate = ChatLLMGate.from_models(
        {"fast": [leaf("openai", provider)], "strong": [leaf("anthropic", other)]},
        fallbacks={"fast": ["strong"]},
    )

    told = gate.invoke("hello").response_metadata["llmgate"]

    assert told["alias"] == "strong"
    assert [one["error_class"] for one in told["attempts"]] == ["quota", None]


@pytest.mark.parametrize("streamed", [False, True])
def test_the_answer_says_why_it_came_from_there(
    provider: SimulatedProvider, other: SimulatedProvider, streamed: bool
) -> None:
    policies = Policies({"default": {"ignore": ["openai"], "version": "7"}})
    gate = ChatLLMGate.from_models(
        {"fast": [leaf("openai", provider), leaf("anthropic", other)]}, plugins=[policies]
    )
    if streamed:
        whole: Any = None
        for chunk in gate.stream("hello"):
            whole = chunk if whole is None else whole + chunk
        told = whole.response_metadata["llmgate"]
    else:
        told = gate.invoke("hello").response_metadata["llmgate"]

    assert told["call_id"] == told["decision_id"] == gate.gateway.decisions[-1].call_id
    assert (told["provider"], told["policy"], told["policy_version"]) == ("anthropic", "default", "7")
    assert told["dropped"] == {"ignored": 1}


def test_a_word_that_a_client_refuses_is_not_sent_to_it(
    provider: SimulatedProvider, other: SimulatedProvider
) -> None:
    provider.fail_always(Fault("server"))
    gate = ChatLLMGate.from_models({"fast": [leaf("openai", provider), leaf("anthropic", other)]})

    answer = gate.invoke("hello", seed=7, frequency_penalty=0.1, logprobs=True)

    assert answer.response_metadata["llmgate"]["provider"] == "anthropic"
    assert provider.requests[0].body["seed"] == 7
    assert "seed" not in other.requests[0].body


def test_cache_markers_do_not_cross_to_another_provider(
    provider: SimulatedProvider, other: SimulatedProvider
) -> None:
    marked = {"type": "text", "text": "hello there", "cache_control": {"type": "ephemeral"}}
    provider.fail_always(Fault("overloaded"))
    gate = ChatLLMGate.from_models({"fast": [leaf("anthropic", provider), leaf("openai", other)]})

    answer = gate.invoke([("user", [marked])], cache_control={"type": "ephemeral"})

    assert answer.text == "You said: hello there"
    assert "cache_control" in repr(provider.requests[0].body)
    assert "cache_control" not in repr(other.requests[0].body)


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_an_inner_model_that_does_not_stream_answers_in_one_chunk(entrance: str) -> None:
    gate = ChatLLMGate.from_models({"fast": [FakeWithoutStream(), fake()]})

    answer = ENTRANCES[entrance](gate, "hello")

    assert answer.text == "all at once"
    assert answer.usage_metadata["total_tokens"] == 5
    assert answer.response_metadata["llmgate"]["deployment"].startswith("fast/fakewithoutstream")


def test_a_gate_over_models_that_do_not_stream_does_not_claim_to() -> None:
    assert ChatLLMGate.from_models({"fast": [FakeWithoutStream()]}).disable_streaming is True
    assert ChatLLMGate.from_models({"fast": [fake(), FakeWithoutStream()]}).disable_streaming is False


@pytest.mark.parametrize("entrance", ["invoke", "ainvoke", "stream", "astream"])
def test_an_inner_rate_limiter_counts_every_attempt(entrance: str) -> None:
    class Counting(InMemoryRateLimiter):
        acquired = 0

        def acquire(self, *, blocking: bool = True) -> bool:
            self.acquired += 1
            return True

        async def aacquire(self, *, blocking: bool = True) -> bool:
            return self.acquire()

    limiter = Counting()
    inner = fake(rate_limiter=limiter, errors=[ConnectionError("no"), ConnectionError("no")])
    gate = ChatLLMGate.from_models({"fast": [inner]}, plugins=[quick()])

    ENTRANCES[entrance](gate, "hello")

    assert limiter.acquired == len(inner.asked) == 3


async def test_a_reader_who_leaves_closes_the_inner_stream_at_once() -> None:
    inner = fake(pieces=tuple("abcdefgh"))
    gate = ChatLLMGate.from_models({"fast": [inner]})

    async with aclosing(gate.astream("hello")) as chunks:
        async for chunk in chunks:
            if chunk.text == "c":
                break

    assert inner.closed == ["async"]
    assert gate.gateway.decisions[-1].status == "abandoned"
    assert gate.gateway.decisions[-1].attempts[-1][1].status == "abandoned"


def test_a_reader_who_leaves_a_sync_stream_closes_the_inner_one() -> None:
    inner = fake(pieces=tuple("abcdefgh"))
    gate = ChatLLMGate.from_models({"fast": [inner]})

    chunks = gate.stream("hello")
    for chunk in chunks:
        if chunk.text == "c":
            break
    chunks.close()

    assert inner.closed == ["sync"]
    assert gate.gateway.decisions[-1].status == "abandoned"


async def test_a_cancelled_task_closes_the_inner_stream_and_settles_the_books() -> None:
    inner = fake(pieces=tuple("abcdefgh"), pause=0.02)
    gate = ChatLLMGate.from_models({"fast": [inner]})

    read_so_far: list[str] = []

    async def read() -> None:
        async for chunk in gate.astream("hello"):
            read_so_far.append(chunk.text)

    task = asyncio.create_task(read())
    await auntil(lambda: "".join(read_so_far))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert inner.closed == ["async"]
    record = gate.gateway.decisions[-1]
    assert record.status == "cancelled"
    assert record.attempts[-1][1].usage.output > 0


async def test_a_cancelled_call_is_booked_as_cancelled() -> None:
    inner = fake(pause=60.0)
    gate = ChatLLMGate.from_models({"fast": [inner]})

    task = asyncio.create_task(gate.ainvoke("hello"))
    await auntil(lambda: inner.asked)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert gate.gateway.decisions[-1].status == "cancelled"


async def test_events_that_nobody_reads_leave_no_call_open() -> None:
    gate = ChatLLMGate.from_models({"fast": [fake()]})

    stream = await gate.astream_events("hello", version="v3")
    assert gate.gateway.decisions == ()
    del stream
    import gc

    gc.collect()

    assert [record.status for record in gate.gateway.decisions] == ["abandoned"]


@pytest.mark.parametrize("kind", LEAVES)
@pytest.mark.parametrize("entrance", ENTRANCES)
def test_usage_is_booked_for_every_entrance(kind: str, entrance: str, provider: SimulatedProvider) -> None:
    gate = ChatLLMGate.from_models({"fast": [leaf(kind, provider)]})

    answer = ENTRANCES[entrance](gate, "hello there")

    record = gate.gateway.decisions[-1]
    assert record.usage.total == answer.usage_metadata["total_tokens"] > 0
    assert not record.usage.estimated
    assert record.cost > 0
    assert record.served_by == answer.response_metadata["llmgate"]["deployment"]


@pytest.mark.parametrize("kind", LEAVES)
def test_a_stream_says_who_serves_first_and_what_it_cost_last(kind: str, provider: SimulatedProvider) -> None:
    gate = ChatLLMGate.from_models({"fast": [leaf(kind, provider)]})

    chunks = list(gate.stream("tell me something"))

    told = [chunk.response_metadata.get("llmgate") for chunk in chunks]
    assert all(isinstance(chunk, AIMessageChunk) for chunk in chunks)
    assert "deployment" in told[0]
    assert "cost_usd" not in told[0]
    assert "cost_usd" in told[-1]
    assert not any(told[1:-1])
    assert [chunk.chunk_position for chunk in chunks].count("last") == 1
    assert chunks[-1].chunk_position == "last"


def test_without_any_deployment_left_the_reasons_are_told() -> None:
    class Nowhere:
        from llmgate_plugins import hookimpl

        @hookimpl
        def narrow_deployments(self, deployments: Any) -> Any:
            from llmgate_plugins import Drop

            return Drop({one.id: "closed" for one in deployments})

    gate = ChatLLMGate.from_models({"fast": [fake()]}, plugins=[Nowhere()])

    with pytest.raises(AllDeploymentsUnavailable, match="closed"):
        gate.invoke("hello")


def test_the_calls_time_is_told_to_the_client(provider: SimulatedProvider) -> None:
    provider.fail_always(Fault("stall"))
    gate = ChatLLMGate.from_models({"fast": [leaf("openai", provider)]}, timeout=0.3, plugins=[quick()])

    with pytest.raises((openai.APITimeoutError, TimeoutError)):
        gate.invoke("hello")

    assert gate.gateway.decisions[-1].latency < PATIENCE
