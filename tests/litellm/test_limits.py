"""How long an attempt of a registered router may take, phase by phase."""

from __future__ import annotations

import contextlib
import socket
import time

import httpx
import litellm
import pytest
from litellm_llmgate.timeouts import client_timeout
from support.litellm_routers import FACES, HELLO, ask, ends, entry, registered, rows, text_of
from support.patience import PATIENCE

from llmgate_plugins import Gateway, GiveUp, Limits, hookimpl
from llmgate_plugins.testing import Fault, ProviderSimulator
from llmgate_plugins.types import Attempt, Deployment


@pytest.fixture(scope="module", autouse=True)
def _litellm_is_warm():
    """Its first calls take seconds, which are nobody's limits here."""
    with ProviderSimulator() as simulator:
        router, _ = registered([entry("fast", "one", simulator.provider("one"))])
        router.completion("fast", HELLO)
        text_of(router.completion("fast", HELLO, stream=True))


class Limiting:
    """Limits attempts on the deployment that is tried first, which is the first by name."""

    def __init__(self, **limits: float) -> None:
        self.limits = Limits(**limits)

    @hookimpl
    def limit_attempt(self, deployment):
        return self.limits if deployment.id.startswith("a-") else None

    @hookimpl
    def rank_deployments(self, deployments):
        return sorted(deployments, key=lambda deployment: deployment.id)


@pytest.mark.parametrize("face", FACES)
async def test_a_silent_deployment_is_left_when_its_first_token_is_due(sim, face):
    slow, quick = sim.provider("a-slow"), sim.provider("quick")
    slow.fail_always(Fault("stall"))
    entries = [entry("fast", "a-slow", slow), entry("fast", "quick", quick)]
    router, registration = registered(entries, Limiting(first_token=0.3))
    started = time.monotonic()
    assert await ask(face, router, "fast")
    assert time.monotonic() - started < PATIENCE
    assert ends(registration) == [("a-slow", "error"), ("quick", "success")]
    assert rows(registration)[0]["error_class"] == "timeout"


@pytest.mark.parametrize("face", FACES)
async def test_what_the_caller_sees_of_silence_is_litellms_timeout(sim, face):
    slow = sim.provider("slow")
    slow.fail_always(Fault("stall"))
    router, registration = registered([entry("fast", "a-slow", slow)], Limiting(first_token=0.2), Once())
    with pytest.raises(litellm.Timeout):
        await ask(face, router, "fast")
    assert [status for _, status in ends(registration)] == ["error"]


class Once:
    """Gives up after the first failure."""

    @hookimpl
    def recover_attempt(self):
        return GiveUp()


@pytest.mark.parametrize("sync", [False, True])
async def test_a_stream_that_falls_silent_is_left_and_resumed(sim, sync):
    stalls, whole = sim.provider("a-stalls"), sim.provider("whole")
    for provider in (stalls, whole):
        provider.reply("Once upon a time there was a gateway.")
    stalls.fail_always(Fault("stall", after=3))
    entries = [entry("fast", "a-stalls", stalls), entry("fast", "whole", whole)]
    plugin = Limiting(gap=0.3, first_token=0.3)
    router, registration = registered(entries, gateway=Gateway(plugins=[plugin], on_break="resume"))
    started = time.monotonic()
    if sync:
        text = text_of(router.completion("fast", HELLO, stream=True))
    else:
        text = text_of([chunk async for chunk in await router.acompletion("fast", HELLO, stream=True)])
    assert text == "Once upon a time there was a gateway."
    assert time.monotonic() - started < PATIENCE
    assert ends(registration) == [("a-stalls", "error"), ("whole", "success")]
    assert rows(registration)[0]["error_class"] == "timeout"


@contextlib.contextmanager
def deaf_port():
    """A port that lets nobody connect: its queue is full."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        queued = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(server.getsockname())
            queued.append(one)
        try:
            yield server.getsockname()[1]
        finally:
            for one in queued:
                one.close()


@pytest.mark.parametrize("face", FACES)
async def test_a_connection_that_does_not_come_about_is_given_up(sim, face):
    with deaf_port() as port:
        entries = [
            entry("fast", "a-deaf", f"http://127.0.0.1:{port}/v1"),
            entry("fast", "quick", sim.provider("quick")),
        ]
        router, registration = registered(entries, Limiting(connect=0.3))
        started = time.monotonic()
        assert await ask(face, router, "fast")
        assert time.monotonic() - started < PATIENCE
    assert ends(registration) == [("a-deaf", "error"), ("quick", "success")]


@pytest.mark.parametrize("face", FACES)
async def test_the_calls_time_is_over_with_an_error_of_both_kinds(sim, face):
    slow = sim.provider("slow")
    slow.fail_always(Fault("stall"))
    router, registration = registered([entry("fast", "slow", slow)], gateway=Gateway(deadline=0.4))
    started = time.monotonic()
    with pytest.raises(litellm.Timeout):
        await ask(face, router, "fast")
    assert time.monotonic() - started < PATIENCE
    assert len(slow.requests) == 1
    assert [status for _, status in ends(registration)] == ["error"]


async def test_two_hedged_attempts_are_kept_apart(sim):
    slow, quick = sim.provider("a-slow"), sim.provider("quick")
    slow.pace(first=2 * PATIENCE)
    slow.reply("Late.")
    quick.reply("In time.")
    entries = [entry("fast", "a-slow", slow), entry("fast", "quick", quick)]
    router, registration = registered(entries, Limiting(hedge_after=0.2))
    answer = await router.acompletion("fast", HELLO)
    assert answer.choices[0].message.content == "In time."
    assert answer._hidden_params["llmgate"]["deployment"] == "quick"
    assert answer._hidden_params["model_id"] == "quick"
    stream = await router.acompletion("fast", HELLO, stream=True)
    assert stream._hidden_params["model_id"] == "quick"
    assert text_of([chunk async for chunk in stream]) == "In time."
    assert ends(registration) == [("a-slow", "cancelled"), ("quick", "success")] * 2


def test_a_sync_call_is_hedged_as_well(sim):
    slow, quick = sim.provider("a-slow"), sim.provider("quick")
    slow.pace(first=2 * PATIENCE)
    slow.reply("Late.")
    quick.reply("In time.")
    entries = [entry("fast", "a-slow", slow), entry("fast", "quick", quick)]
    router, _ = registered(entries, Limiting(hedge_after=0.2))
    answer = router.completion("fast", HELLO)
    assert answer.choices[0].message.content == "In time."
    assert answer._hidden_params["llmgate"]["deployment"] == "quick"


def attempt(deadline: float | None = None, provider: str = "openai", **limits: float | None) -> Attempt:
    return Attempt(
        call_id="c",
        number=1,
        deployment=Deployment(id="d", alias="a", provider=provider, model="m"),
        alias="a",
        reason="first",
        started=0.0,
        deadline=deadline,
        limits=Limits(**limits),
    )


@pytest.mark.parametrize(
    ("given", "configured", "stream", "expected"),
    [
        (attempt(), None, False, 600.0),
        (attempt(deadline=37.19), None, False, 37.0),
        (attempt(deadline=600.0), 20.0, False, 20.0),
        (attempt(deadline=600.0, first_token=7.0), 20.0, False, 7.0),
        (attempt(first_token=7.0, gap=9.0), None, True, 9.0),
        (attempt(first_token=7.0, gap=9.0), None, False, 7.0),
        (attempt(gap=9.0), None, True, 600.0),
    ],
)
def test_in_a_thread_the_client_waits_for_one_read_as_long_as_any_phase_may_take(
    given, configured, stream, expected
):
    limit = client_timeout(given, configured, now=0.0, stream=stream, in_thread=True)
    assert isinstance(limit, httpx.Timeout)
    assert (limit.read, limit.connect) == (expected, 5.0)


def test_in_a_loop_the_client_minds_connecting_alone_so_that_its_kind_stays_one():
    seen = {
        id(client_timeout(attempt(deadline=float(left)), None, now=0.0, stream=True, in_thread=False))
        for left in range(1, 600)
    }
    assert len(seen) == 1


def test_a_provider_whose_client_takes_a_number_gets_one():
    other = attempt(deadline=10.0, provider="anthropic")
    assert client_timeout(other, None, now=0.0, stream=False, in_thread=True) == 10.0
    assert client_timeout(other, None, now=0.0, stream=False, in_thread=False) is None
    assert client_timeout(other, 3.0, now=0.0, stream=False, in_thread=True) is None
