"""Time limits over real HTTP: each phase ends when it must, however the provider drips."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from support.faces import STREAMS, ask
from support.patience import PATIENCE
from support.plain_calls import KEY, asking, attempt, chunks, deployment, gateway, whole

from llmgate_plugins import (
    DeadlineExceeded,
    ErrorClass,
    Gateway,
    GiveUp,
    Limits,
    Scope,
    StreamInterrupted,
    hookimpl,
)
from llmgate_plugins.classification import classify
from llmgate_plugins.testing import Fault, ProviderSimulator, SimulatedProvider, VirtualClock
from llmgate_plugins.transports import OpenAITransport, openai_clients, seconds_allowed, time_allowed
from llmgate_plugins.transports.alarm import Alarm

SHORT = 0.25

both = pytest.mark.parametrize("face", ["sync", "async"])


@pytest.fixture(scope="module")
def simulator() -> Iterator[ProviderSimulator]:
    with ProviderSimulator(seed=3) as running:
        OpenAITransport().prepare(
            [deployment(running.default)]
        )  # imports the client: no test should wait for it
        yield running


@pytest.fixture
def provider(simulator: ProviderSimulator, request: pytest.FixtureRequest) -> SimulatedProvider:
    return simulator.provider(f"p{abs(hash(request.node.nodeid))}", keys=[KEY])


@pytest.fixture
def transport() -> Iterator[OpenAITransport]:
    made = OpenAITransport()
    yield made
    made.close()


class Limiting:
    """Gives every attempt these limits, and tries nothing twice."""

    def __init__(self, **limits: Any) -> None:
        self.limits = Limits(**limits)

    @hookimpl
    def limit_attempt(self) -> Limits:
        return self.limits

    @hookimpl
    def recover_attempt(self) -> GiveUp:
        return GiveUp("tried once")


def timed(
    face: str, provider: SimulatedProvider, fault: Fault, deadline: float = 2 * PATIENCE, **limits: Any
) -> Any:
    """(what the caller was told, seconds it took)."""
    provider.fail_always(fault)
    gate = gateway(deployment(provider), plugins=[Limiting(**limits)], deadline=deadline)
    begun = time.monotonic()
    told = ask(face, gate, prompt="one two three four five six")
    return told, time.monotonic() - begun


driven = pytest.mark.parametrize("face", ["sync", "async", "stream", "astream", "stepped"])
streams = pytest.mark.parametrize("face", STREAMS)
NO_ANSWER_YET = [Fault("stall"), Fault("pings", seconds=0.03), Fault("drip", seconds=0.06)]


@driven
@pytest.mark.parametrize("fault", NO_ANSWER_YET, ids=lambda fault: fault.kind)
def test_a_deployment_that_gives_no_content_in_time_is_at_fault(
    face: str, fault: Fault, provider: SimulatedProvider
) -> None:
    if face in STREAMS and fault.kind == "drip":
        fault = Fault("slow", seconds=2 * PATIENCE)  # a stream that drips has its first content early
    told, took = timed(face, provider, fault, first_token=SHORT)
    assert SHORT * 0.9 <= took < PATIENCE
    assert isinstance(told.error, Exception)
    failure = classify(told.error)
    assert (failure.error_class, failure.scope) == (ErrorClass.TIMEOUT, Scope.DEPLOYMENT)
    assert told.statuses == ["error"]


@driven
@pytest.mark.parametrize("fault", NO_ANSWER_YET, ids=lambda fault: fault.kind)
def test_when_the_calls_time_is_over_nobody_else_is_to_blame(
    face: str, fault: Fault, provider: SimulatedProvider
) -> None:
    told, took = timed(face, provider, fault, deadline=SHORT)
    assert SHORT * 0.9 <= took < PATIENCE
    cause = told.error.__cause__ if isinstance(told.error, StreamInterrupted) else told.error
    assert isinstance(cause, DeadlineExceeded)
    failure = classify(cause)
    assert (failure.error_class, failure.scope) == (ErrorClass.TIMEOUT, Scope.CALLER)


@streams
def test_a_stream_that_falls_silent_after_its_first_content_is_ended(
    face: str, provider: SimulatedProvider
) -> None:
    told, took = timed(face, provider, Fault("stall", after=2), gap=SHORT)
    assert SHORT * 0.9 <= took < PATIENCE
    assert isinstance(told.error, StreamInterrupted)
    assert isinstance(told.error.__cause__, TimeoutError)
    assert told.text == told.error.partial != ""


def test_keep_alives_show_that_the_provider_is_there_but_do_not_stop_the_calls_clock(
    provider: SimulatedProvider,
) -> None:
    told, took = timed("stream", provider, Fault("pings", after=2, seconds=0.05), deadline=1.2, gap=0.8)
    assert 1.1 <= took < PATIENCE
    assert isinstance(told.error.__cause__, DeadlineExceeded)


@streams
def test_a_stream_that_drips_within_its_gap_goes_on_until_the_calls_time_is_over(
    face: str, provider: SimulatedProvider
) -> None:
    told, took = timed(face, provider, Fault("drip", seconds=0.15), deadline=0.9, gap=0.7)
    assert 0.8 <= took < PATIENCE
    assert isinstance(told.error.__cause__, DeadlineExceeded)
    told, _ = timed(face, provider, Fault("drip", seconds=0.15), gap=0.9)
    assert (told.text, told.error) == ("You said: one two three four five six", None)


def test_a_slow_reader_is_not_the_providers_silence(
    provider: SimulatedProvider, transport: OpenAITransport
) -> None:
    provider.pace(piece=0.03)
    text = ""
    for chunk in transport.open(attempt(provider, limits=Limits(gap=0.15)), asking("a b c", stream=True)):
        text += chunk.text
        time.sleep(0.2)
    assert text == "You said: a b c"


@both
def test_after_its_finish_reason_a_stream_that_stays_open_is_whole(
    face: str, provider: SimulatedProvider, transport: OpenAITransport
) -> None:
    provider.script(Fault("unended"))
    begun = time.monotonic()
    pieces = chunks(face, transport, attempt(provider, limits=Limits(gap=SHORT)), asking(stream=True))
    assert "".join(piece.text for piece in pieces) == "You said: one two three"
    assert pieces[-1].usage is not None
    assert time.monotonic() - begun < PATIENCE


@contextmanager
def nobody_accepts() -> Iterator[str]:
    """An address where connections hang: the queue of those who wait is full."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"


@both
@pytest.mark.parametrize("stream", [False, True])
def test_a_connection_that_does_not_come_about_is_given_up(
    face: str, stream: bool, transport: OpenAITransport
) -> None:
    read = chunks if stream else whole
    with nobody_accepts() as url:
        begun = time.monotonic()
        with pytest.raises(Exception) as caught:
            read(face, transport, attempt(url, limits=Limits(connect=SHORT)), asking(stream=stream))
        assert SHORT * 0.9 <= time.monotonic() - begun < PATIENCE
    assert classify(caught.value).error_class is ErrorClass.TIMEOUT


@both
@pytest.mark.parametrize("stream", [False, True])
def test_nothing_is_sent_when_the_time_is_over(
    face: str, stream: bool, provider: SimulatedProvider, transport: OpenAITransport
) -> None:
    read = chunks if stream else whole
    with pytest.raises(DeadlineExceeded, match="before the request was sent"):
        read(face, transport, attempt(provider, seconds=-0.1), asking(stream=stream))
    assert provider.requests == []


def test_making_a_client_takes_nothing_from_the_deployments_time(
    provider: SimulatedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = openai_clients._client

    def slow(*given: Any) -> Any:
        time.sleep(0.8)
        return usual(*given)

    monkeypatch.setattr(openai_clients, "_client", slow)
    transport = OpenAITransport()
    assert transport.send(attempt(provider, limits=Limits(first_token=0.8)), asking()).text
    transport.close()


def test_time_that_passed_before_sending_counts_by_the_gateways_clock(provider: SimulatedProvider) -> None:
    clock = VirtualClock()
    transport = OpenAITransport(clock=clock)
    at = replace(attempt(provider), started=clock.monotonic(), deadline=clock.monotonic() + 5.0)
    assert transport.send(at, asking()).text
    clock.advance(6.0)
    with pytest.raises(DeadlineExceeded):
        transport.send(at, asking())
    transport.close()


@both
def test_a_connection_that_was_shut_down_is_not_used_again(
    face: str, provider: SimulatedProvider, transport: OpenAITransport
) -> None:
    for _ in range(3):
        provider.script(Fault("pings", seconds=0.02))
        with pytest.raises(TimeoutError):
            whole_within(face, transport, provider, 0.1)
        assert transport.send(attempt(provider), asking()).text == "You said: one two three"


def whole_within(face: str, transport: OpenAITransport, provider: SimulatedProvider, seconds: float) -> Any:
    limits = Limits(first_token=seconds)
    if face == "sync":
        return transport.send(attempt(provider, limits=limits), asking())
    gate = Gateway([deployment(provider)], transport=transport, plugins=[Limiting(first_token=seconds)])
    return asyncio.run(gate.acomplete("fast", "hi"))


# ---------------------------------------------------------------- what is allowed


def test_what_is_allowed_comes_from_the_call_the_deployment_and_the_request() -> None:
    limits = Limits(connect=2.0, first_token=8.0, gap=20.0)
    at = attempt("http://127.0.0.1/v1", seconds=30.0, limits=limits)
    allowed = time_allowed(at, asking())
    assert (allowed.connect, allowed.first, allowed.gap, allowed.read) == (2.0, 8.0, 20.0, None)
    assert allowed.total == pytest.approx(30.0)
    later = time_allowed(at, asking(), now=at.started + 5.0)
    assert later.first == pytest.approx(3.0)
    assert later.total == pytest.approx(25.0)
    slow = attempt("http://127.0.0.1/v1", endpoint={"options": {"timeout": 9.0, "stream_timeout": 4.0}})
    assert time_allowed(slow, asking()).read == 9.0
    assert time_allowed(slow, asking(stream=True)).read == 4.0
    assert time_allowed(slow, asking(timeout="3")).read == 3.0


def test_a_client_that_knows_one_number_gets_the_one_that_breaks_nothing() -> None:
    limits = Limits(first_token=8.0, gap=20.0)
    at = attempt("http://127.0.0.1/v1", seconds=None, limits=limits)
    assert seconds_allowed(at, asking()) == 8.0
    assert seconds_allowed(at, asking(stream=True)) == 20.0
    patient = attempt("http://127.0.0.1/v1", seconds=None, limits=Limits(first_token=8.0))
    assert seconds_allowed(patient, asking(stream=True)) is None
    assert seconds_allowed(attempt("http://127.0.0.1/v1", seconds=None), asking()) is None


# ---------------------------------------------------------------- the alarm


class Egg:
    """Something that is due at a time, which may move."""

    def __init__(self, at: float) -> None:
        self.at = at
        self.rang = threading.Event()
        self.looks = 0

    def due(self, now: float) -> float:
        self.looks += 1
        return self.at

    def go_off(self, now: float) -> None:
        self.rang.set()


def test_the_alarm_goes_off_in_order_and_not_for_what_is_over() -> None:
    alarm = Alarm()
    now = time.monotonic()
    late, soon, over = Egg(now + 0.6), Egg(now + 0.05), Egg(now + 0.5)
    for egg in (late, soon, over):
        alarm.set(egg)
    alarm.clear(over)
    assert soon.rang.wait(PATIENCE)
    assert late.rang.wait(PATIENCE)
    assert not over.rang.is_set()


def test_a_time_that_moved_later_is_kept_and_one_that_moved_earlier_is_set_anew() -> None:
    alarm = Alarm()
    egg = Egg(time.monotonic() + 0.03)
    alarm.set(egg)
    egg.at += 0.6
    assert not egg.rang.wait(0.08)
    assert egg.rang.wait(PATIENCE)
    other = Egg(time.monotonic() + 60.0)
    alarm.set(other)
    other.at = time.monotonic()
    alarm.set(other)
    assert other.rang.wait(PATIENCE)


def test_what_is_over_takes_no_memory() -> None:
    alarm = Alarm()
    for _ in range(1_000):
        egg = Egg(time.monotonic() + 600.0)
        alarm.set(egg)
        alarm.clear(egg)
    assert len(alarm._times) <= 65


def test_what_is_never_due_needs_no_thread() -> None:
    alarm = Alarm()
    alarm.set(Egg(float("inf")))
    assert alarm._thread is None
