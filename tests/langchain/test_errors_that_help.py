"""Errors: the provider's own, with what was tried, and what LangChain's own wrappers make of them."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import openai
import pytest
from langchain_llmgate import ChatLLMGate
from support.langchain_faces import ENTRANCES
from support.langchain_leaves import LEAVES, fake, leaf
from support.patience import time_that_is_over_when

from llmgate_plugins import AllDeploymentsUnavailable, Drop, hookimpl
from llmgate_plugins.plugins import Failover
from llmgate_plugins.testing import Fault, SimulatedProvider


def quick() -> Failover:
    return Failover(base=0.0, throttle_base=0.0)


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_the_primarys_own_error_with_a_note_per_attempt_and_no_key(
    entrance: str, provider: SimulatedProvider, other: SimulatedProvider
) -> None:
    provider.fail_always(Fault("rate_limit"))
    other.fail_always(Fault("overloaded"))
    gate = ChatLLMGate.from_models(
        {"fast": [leaf("openai", provider), leaf("anthropic", other)]}, plugins=[quick()]
    )

    with pytest.raises(openai.RateLimitError) as caught:
        ENTRANCES[entrance](gate, "hello")

    error = caught.value
    notes = [note for note in error.__notes__ if note.startswith("llmgate attempt")]
    assert len(notes) == len(gate.gateway.decisions[-1].attempts)
    assert "fast/openai-gpt-4o-mini: rate_limit (HTTP 429)" in notes[0]
    assert any("fast/anthropic-claude-haiku-4-5: overloaded" in note for note in notes)
    assert "sk-simulated-key" not in repr(dict(error.request.headers))
    assert b"sk-simulated-key" not in pickle.dumps(dict(error.request.headers))
    assert error.status_code == 429
    assert len(provider.requests) + len(other.requests) == len(notes)


class Closed:
    """Nothing may be tried until a certain time."""

    @hookimpl
    def narrow_deployments(self, deployments: Any) -> Drop:
        names = [one.id for one in deployments]
        return Drop(dict.fromkeys(names, "closed"), until=dict.fromkeys(names, 1_900_000_000.0))


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_where_nothing_could_be_tried_it_says_when_to_come_back(entrance: str) -> None:
    gate = ChatLLMGate.from_models({"fast": [fake()]}, plugins=[Closed()])

    with pytest.raises(AllDeploymentsUnavailable) as caught:
        ENTRANCES[entrance](gate, "hello")

    assert caught.value.retry_at == 1_900_000_000.0
    assert caught.value.reasons == {"fast/fake-fake-model": "closed"}


def test_a_batch_keeps_the_answers_beside_the_errors() -> None:
    gate = ChatLLMGate.from_models({"fast": [fake(errors=[ValueError("no"), None])]})

    told = gate.batch(["one", "two"], {"max_concurrency": 1}, return_exceptions=True)

    assert [type(one).__name__ for one in told] == ["ValueError", "AIMessage"]


# ------------------------------------------------------------ one owner of retries


@pytest.mark.parametrize("kind", LEAVES)
@pytest.mark.parametrize("entrance", ["invoke", "ainvoke", "stream", "astream"])
def test_a_model_that_was_made_to_retry_does_not(
    kind: str, entrance: str, provider: SimulatedProvider
) -> None:
    provider.fail_always(Fault("server"))
    eager = leaf(kind, provider, max_retries=5)
    gate = ChatLLMGate.from_models({"fast": [eager]}, plugins=[quick()])

    with pytest.raises(Exception):  # noqa: B017 - each client has its own
        ENTRANCES[entrance](gate, "hello")

    assert len(provider.requests) == len(gate.gateway.decisions[-1].attempts) <= 3
    assert eager.max_retries == 5  # type: ignore[attr-defined]


def test_langchains_own_retry_begins_whole_calls(provider: SimulatedProvider) -> None:
    provider.fail_always(Fault("server"))
    gate = ChatLLMGate.from_models({"fast": [leaf("openai", provider)]}, plugins=[quick()])
    calls = gate.with_retry(stop_after_attempt=2, wait_exponential_jitter=False)

    with pytest.raises(openai.InternalServerError):
        calls.invoke("hello")

    records = gate.gateway.decisions
    outcomes = [outcome.status for record in records for _, outcome in record.attempts]
    assert len(records) == 2
    assert len(provider.requests) == outcomes.count("error")


def test_langchains_own_fallbacks_come_after_the_gates(
    provider: SimulatedProvider, other: SimulatedProvider
) -> None:
    provider.fail_always(Fault("server"))
    gate = ChatLLMGate.from_models({"fast": [leaf("openai", provider)]}, plugins=[quick()])

    answer = gate.with_fallbacks([leaf("openai", other)]).invoke("hello there")

    assert answer.text == "You said: hello there"
    assert len(gate.gateway.decisions) == 1
    assert len(provider.requests) == len(gate.gateway.decisions[0].attempts)


def test_a_cancelled_call_is_no_error_of_a_deployment() -> None:
    inner = fake(pause=60.0)
    gate = ChatLLMGate.from_models({"fast": [inner, fake("other")]})

    async def leave() -> None:
        with pytest.raises(TimeoutError):
            async with time_that_is_over_when(lambda: inner.asked):
                await gate.ainvoke("hello")

    asyncio.run(leave())

    ((_, outcome),) = gate.gateway.decisions[-1].attempts
    assert outcome.status == "cancelled"
