"""How long an inner client waits: told call by call in a thread, kept by the gateway in an event loop."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
from langchain_llmgate import ChatLLMGate
from langchain_llmgate._leaf import Leaf
from support.langchain_faces import ENTRANCES
from support.langchain_leaves import LEAVES, fake, leaf
from support.patience import PATIENCE

from llmgate_plugins import StreamInterrupted, hookimpl
from llmgate_plugins.limits import UNLIMITED, Limits
from llmgate_plugins.plugins import Failover
from llmgate_plugins.testing import Fault, SimulatedProvider
from llmgate_plugins.types import Attempt, Deployment

MODES = ("invoke", "ainvoke", "stream", "astream")


class Impatient:
    """Gives every attempt the same limits."""

    def __init__(self, **limits: Any) -> None:
        self.limits = Limits(**limits)

    @hookimpl
    def limit_attempt(self) -> Limits:
        return self.limits


def over(*models: Any, **limits: Any) -> ChatLLMGate:
    plugins = [Impatient(**limits), Failover(base=0.0, throttle_base=0.0)]
    return ChatLLMGate.from_models({"fast": list(models)}, plugins=plugins)


@pytest.mark.parametrize("entrance", MODES)
@pytest.mark.parametrize("kind", LEAVES)
def test_a_silent_deployment_is_given_up_in_time(
    kind: str, entrance: str, provider: SimulatedProvider, other: SimulatedProvider
) -> None:
    provider.fail_always(Fault("stall"))
    gate = over(leaf(kind, provider), leaf("openai", other), first_token=0.4, gap=0.4)
    began = time.monotonic()

    answer = ENTRANCES[entrance](gate, "hello")

    assert time.monotonic() - began < PATIENCE
    told = answer.response_metadata["llmgate"]["attempts"]
    assert told[0]["error_class"] == "timeout"
    assert told[-1]["status"] == "success"


@pytest.mark.parametrize("entrance", ["stream", "astream"])
@pytest.mark.parametrize("kind", LEAVES)
def test_a_stream_that_stalls_is_given_up_in_time(
    kind: str, entrance: str, provider: SimulatedProvider
) -> None:
    provider.fail_always(Fault("stall", after=2))
    gate = over(leaf(kind, provider), first_token=1.5, gap=0.4)
    began = time.monotonic()

    with pytest.raises(StreamInterrupted):
        ENTRANCES[entrance](gate, "Tell me a long story please")

    assert time.monotonic() - began < PATIENCE
    _, outcome = gate.gateway.decisions[-1].attempts[-1]
    assert outcome.failure is not None
    assert outcome.failure.error_class == "timeout"


@pytest.mark.parametrize("entrance", ["ainvoke", "astream"])
def test_in_an_event_loop_any_model_is_given_up_in_time(entrance: str) -> None:
    """Even one whose package takes no timeout."""
    gate = over(fake("slow", pause=2 * PATIENCE), fake("other"), first_token=0.3, gap=0.3)

    answer = ENTRANCES[entrance](gate, "hello")

    assert answer.response_metadata["llmgate"]["deployment"] == "fast/fake-other"


# ------------------------------------------------------------ what the clients are told


def attempt(deadline: float | None = None, **limits: Any) -> Attempt:
    return Attempt(
        call_id="c",
        number=1,
        deployment=DEPLOYMENT,
        alias="a",
        reason="first",
        started=0.0,
        deadline=deadline,
        limits=Limits(**limits) if limits else UNLIMITED,
    )


DEPLOYMENT = Deployment(id="d", alias="a", provider="openai", model="m")


def told(model: Any, given: Attempt, *, stream: bool = False, whole: bool = True) -> Any:
    """(connect, read) as the client is told; None if it is left alone."""
    timeout = Leaf(DEPLOYMENT, model).patience.of(given, 0.0, stream=stream, whole=whole)
    return None if timeout is None else (timeout.connect, timeout.read)


@pytest.mark.parametrize("kind", LEAVES)
def test_the_clients_get_limits_phase_by_phase(kind: str, provider: SimulatedProvider) -> None:
    model = leaf(kind, provider)

    assert told(model, attempt()) is None
    assert told(model, attempt(deadline=9.0)) == (5.0, 9.0)
    assert told(model, attempt(deadline=3.0)) == (3.0, 3.0)
    assert told(model, attempt(connect=2.0, first_token=30.0)) == (2.0, 30.0)
    assert told(model, attempt(first_token=30.0, gap=10.0)) == (5.0, 30.0)
    assert told(model, attempt(deadline=-1.0)) == (0.001, 0.001)


def test_of_a_streams_two_limits_the_client_keeps_the_longer(provider: SimulatedProvider) -> None:
    model = leaf("openai", provider)

    assert told(model, attempt(first_token=30.0, gap=10.0), stream=True) == (5.0, 30.0)
    assert told(model, attempt(first_token=10.0, gap=30.0), stream=True) == (5.0, 30.0)
    assert told(model, attempt(first_token=10.0), stream=True) is None  # a gap may take longer


def test_in_an_event_loop_the_client_keeps_connecting_and_the_deadline(provider: SimulatedProvider) -> None:
    model = leaf("anthropic", provider)

    assert told(model, attempt(connect=1.0, first_token=3.0, gap=2.0), whole=False) == (1.0, 600.0)
    assert told(model, attempt(deadline=8.0, first_token=3.0), whole=False) == (5.0, 8.0)


def test_what_the_application_set_itself_holds_where_it_is_shorter(provider: SimulatedProvider) -> None:
    model = leaf("openai", provider, timeout=2.0)
    assert told(model, attempt(first_token=30.0)) is None
    assert told(model, attempt(first_token=1.0)) == (1.0, 1.0)

    phased = leaf("openai", provider, timeout=httpx.Timeout(None, connect=1.0, read=20.0))
    assert told(phased, attempt(first_token=30.0)) is None
    assert told(phased, attempt(first_token=9.0)) == (1.0, 9.0)

    endless = leaf("openai", provider, timeout=httpx.Timeout(None))
    assert told(endless, attempt(connect=2.0)) == (2.0, None)
    assert told(endless, attempt(connect=None)) is None


def test_a_model_that_takes_no_timeout_is_told_none() -> None:
    assert told(fake(), attempt(deadline=3.0, first_token=1.0)) is None
