"""Calls wait for their turn: on every face, in order, inside the deadline, and just below the quota."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import Any

import pytest
from support.faces import every_face
from support.gateways import Scene, deployment, scene
from support.quotas import KINDS, MeteredProvider, Refilling
from support.virtual_loop import LoopSleeper, run_virtually

from llmgate_plugins import (
    Context,
    Deployment,
    Endpoint,
    Gateway,
    ProviderError,
    Request,
    Response,
    Secret,
    Usage,
)
from llmgate_plugins.config import load_config
from llmgate_plugins.errors import AllDeploymentsUnavailable
from llmgate_plugins.ledger import MemoryLedger
from llmgate_plugins.limits import Quota
from llmgate_plugins.plugins import Failover
from llmgate_plugins.plugins.smoothing import RateLimit, RateLimitInForce, RateLimits
from llmgate_plugins.plugins.smoothing.amounts import Lengths
from llmgate_plugins.state import MemoryState
from llmgate_plugins.testing import Fault, VirtualClock, ask
from llmgate_plugins.types import Message

MINUTE = 60.0
URGENT = Context(priority=3)
HIGH = Context(priority=2)


def limits(**limit: int) -> RateLimits:
    return RateLimits({"a": RateLimit(**limit)})


def in_force(plugin: RateLimits, kind: str, model: str = "scripted/model-a") -> RateLimitInForce:
    [row] = [row for row in plugin.report() if row.kind == kind and row.model == model]
    return row


def times_of(a_scene: Scene) -> list[float]:
    """Seconds that each call took."""
    return [round(record.latency, 1) for record in a_scene.gateway.decisions]


# ---------------------------------------------------------------- one after another, on every face


@every_face
def test_a_call_whose_turn_has_not_come_waits_for_it(face: str) -> None:
    plugin = limits(requests=2)
    here = scene({"a": ["ok"]}, plugin)
    answers = [ask(face, here.gateway) for _ in range(5)]
    assert [answer.text for answer in answers] == ["ok"] * 5
    assert times_of(here)[:2] == [0, 0]
    assert 60 <= sum(times_of(here)[2:4]) <= 62
    assert 120 <= sum(times_of(here)) <= 123
    assert here.books_balance()


@every_face
def test_a_turn_after_the_deadline_is_refused_at_once(face: str) -> None:
    here = scene({"a": ["ok"]}, limits(requests=1), deadline=30.0)
    ask(face, here.gateway)
    told = ask(face, here.gateway)
    assert isinstance(told.error, AllDeploymentsUnavailable)
    assert told.error.reasons == {"a": "rate_limit"}
    assert told.error.retry_at == pytest.approx(here.clock.time() + 61, abs=1)
    assert here.sleeper.slept == []


@every_face
def test_a_deployment_that_is_free_sooner_is_taken_instead(face: str) -> None:
    plugin = RateLimits({"a": RateLimit(requests=1), "b": RateLimit(requests=2)})
    here = scene({"a": ["from a"], "b": ["from b"]}, plugin)
    assert [ask(face, here.gateway).text for _ in range(3)] == ["from a", "from b", "from b"]
    assert here.sleeper.slept == []
    assert here.gateway.decisions[1].attempts[0][1].skipped == "busy"


@every_face
def test_where_all_are_busy_the_soonest_is_waited_for(face: str) -> None:
    plugin = RateLimits({name: RateLimit(requests=1) for name in "abc"})
    here = scene({"a": ["from a"], "b": ["from b"], "c": ["from c"]}, plugin)
    ask(face, here.gateway, "b")
    here.clock.advance(10)
    ask(face, here.gateway, "a")
    here.clock.advance(10)
    ask(face, here.gateway, "c")
    told = ask(face, here.gateway)
    assert told.text == "from b"
    assert told.tried == ["a", "b"]
    assert sum(here.sleeper.slept) == pytest.approx(41, abs=1)


@every_face
def test_it_learns_from_a_429_and_waits_as_long_as_the_provider_asks(face: str) -> None:
    plugin = limits(requests=100)
    refusal = ProviderError("slow down", status=429, code="rate_limit_exceeded", headers={"retry-after": "7"})
    here = scene({"a": [refusal, "ok"]}, plugin)
    told = ask(face, here.gateway)
    assert told.text == "ok"
    assert told.statuses == ["error", "success"]
    assert in_force(plugin, "requests").limit == 90
    assert told.record.latency == pytest.approx(7.4, abs=0.4)


@every_face
def test_tokens_are_reserved_as_estimated_and_booked_as_used(face: str) -> None:
    plugin = limits(tokens=1_000)
    here = scene({"a": ["ok"]}, plugin)
    request = Request(
        model="fast", messages=(Message(role="user", content="x" * 400),), params={"max_tokens": 600}
    )
    told = ask(face, here.gateway, request)
    assert told.text == "ok"
    assert in_force(plugin, "tokens").used == told.record.usage.total < 200
    assert ask(face, here.gateway, request).error is None
    assert here.sleeper.slept == []


@every_face
@pytest.mark.parametrize(("fixed", "asked"), [({"n": 4}, {}), ({}, {"n": 4}), ({}, {"extra_body": {"n": 4}})])
def test_what_is_reserved_is_for_all_answers_wherever_they_are_asked_for(
    face: str, fixed: dict[str, Any], asked: dict[str, Any]
) -> None:
    plugin = limits(tokens=5_000)
    silent = scene(
        {"a": [TimeoutError("silent")]}, plugin, deployments=[deployment("a", params=fixed)], defaults=False
    )
    ask(face, silent.gateway, Request(model="fast", params={"max_tokens": 700, **asked}))
    assert 2_800 <= in_force(plugin, "tokens").used < 2_820


def test_what_several_answers_teach_is_the_length_of_one() -> None:
    lengths, four = Lengths(), Request(model="fast", params={"n": 4})
    for _ in range(100):
        lengths.learn(10, Usage(input=10, output=400), answers=4)
    reserved, _ = lengths.expected(deployment("a"), four, 10)
    assert 400 <= reserved["output_tokens"] < 450


@every_face
def test_a_slot_is_freed_whatever_the_end(face: str) -> None:
    plugin = limits(concurrency=1)
    broken = ProviderError("broken", status=500)
    here = scene({"a": [broken, "ok", ValueError("odd"), "a b c d", "ok"]}, plugin)
    for take in (None, None, None, 1, None):
        ask(face, here.gateway, take=take)
    assert in_force(plugin, "concurrency").used == 0
    assert plugin._running == {}


@every_face
def test_a_silent_provider_may_have_used_what_was_reserved(face: str) -> None:
    plugin = limits(tokens=5_000)
    here = scene({"a": [TimeoutError("silent")]}, plugin, defaults=False)
    request = Request(
        model="fast", messages=(Message(role="user", content="hi"),), params={"max_tokens": 700}
    )
    ask(face, here.gateway, request)
    assert in_force(plugin, "tokens").used >= 700
    assert in_force(plugin, "concurrency").used == 0


# ---------------------------------------------------------------- what the limits are


def test_limits_stand_where_litellm_keeps_them(tmp_path: Any) -> None:
    file = tmp_path / "llmgate.yaml"
    file.write_text(
        """
model_list:
  - model_name: fast
    litellm_params: {model: openai/m, api_key: sk-any, rpm: 10, tpm: 1000, max_parallel_requests: 4}
    model_info: {id: a, input_tpm: 800, output_tpm: "200"}
"""
    )
    gateway = Gateway.from_config(load_config(file), transport=scene({"a": ["ok"]}).provider)
    plugin = next(one for _, one in gateway.registry.plugins if isinstance(one, RateLimits))
    gateway.complete("fast", "hello")
    assert {row.kind: row.configured for row in plugin.report()} == {
        "requests": 10,
        "tokens": 1000,
        "input_tokens": 800,
        "output_tokens": 200,
        "concurrency": 4,
    }


def keyed(id: str, key: str, **fields: Any) -> Deployment:
    fields.setdefault("model", "m")
    return deployment(id, endpoint=Endpoint(api_key=Secret(key)), **fields)


def test_deployments_of_the_same_key_and_model_share_their_limits() -> None:
    plugin = RateLimits({"scripted/m": RateLimit(requests=2)})
    deployments = [keyed("a", "one"), keyed("b", "one", alias="other"), keyed("c", "two", alias="third")]
    here = scene({}, plugin, deployments=deployments)
    here.provider._default = "ok"
    for alias in ("fast", "other", "third"):
        here.gateway.complete(alias, "hello")
    assert here.sleeper.slept == []
    here.gateway.complete("other", "hello")
    assert sum(here.sleeper.slept) == pytest.approx(61, abs=1)
    assert {row.deployments for row in plugin.report() if row.kind == "requests"} == {("a", "b"), ("c",)}


def test_of_different_limits_for_one_key_the_lowest_holds() -> None:
    plugin = RateLimits({"a": RateLimit(requests=9), "b": RateLimit(requests=5, concurrency=2)})
    here = scene({}, plugin, deployments=[keyed("a", "one"), keyed("b", "one", alias="other")])
    here.provider._default = "ok"
    here.gateway.complete("fast", "hello")
    here.gateway.complete("other", "hello")
    assert in_force(plugin, "requests", "scripted/m").limit == 5
    assert in_force(plugin, "concurrency", "scripted/m").limit == 2


def test_a_deployment_without_limits_is_left_alone() -> None:
    plugin = RateLimits()
    here = scene({"a": ["ok"]}, plugin)
    here.gateway.complete("fast", "hello")
    assert plugin.report() == ()
    assert plugin._running == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keep": 1.0}, "keep must be below 1"),
        ({"keep": -0.1}, "keep must be a number"),
        ({"switch_after": "soon"}, "switch_after"),
        ({"longest_wait": 0}, "longest_wait"),
    ],
)
def test_what_it_cannot_be_made_with_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RateLimits(**arguments)


def test_a_limit_must_be_a_limit() -> None:
    with pytest.raises(TypeError, match="the limits of 'a'"):
        RateLimits({"a": 5})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="requests must be a whole number"):
        RateLimit(requests=0)


# ---------------------------------------------------------------- learned limits


def told(limit: int, remaining: int) -> Response:
    return Response.of(
        "ok",
        usage=Usage(input=3, output=1),
        quota=Quota(limits={"requests": limit}, remaining={"requests": remaining}, resets={"requests": 20.0}),
    )


class Telling:
    """Answers with a quota; the scripted provider makes its answers anew and drops it."""

    def __init__(self, *answers: Response) -> None:
        self.answers = list(answers)

    def __call__(self, attempt: Any, request: Any) -> Response:
        return self.answers.pop(0)


def test_a_limit_that_headers_tell_is_kept_to(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = RateLimits()
    here = scene({"a": ["ok"]}, plugin)
    monkeypatch.setattr(here.provider, "send", Telling(told(50, 2), told(50, 1), told(50, 0), told(50, 40)))
    here.gateway.complete("fast", "hello")
    row = in_force(plugin, "requests")
    assert (row.configured, row.told, row.limit, row.used) == (None, 50, 50, 48)
    here.gateway.complete("fast", "hello")
    here.gateway.complete("fast", "hello")
    assert here.sleeper.slept == []
    here.gateway.complete("fast", "hello")
    assert sum(here.sleeper.slept) == pytest.approx(20, abs=0.5)


def test_what_a_refusal_teaches_is_unlearned_while_the_provider_answers() -> None:
    plugin = limits(requests=600)
    refusal = ProviderError("slow down", status=429, code="rate_limit_exceeded", headers={"retry-after": "1"})
    here = scene({"a": [refusal]}, plugin)
    here.provider._default = "ok"
    ask("sync", here.gateway)
    assert in_force(plugin, "requests").limit == 540
    for _ in range(1_200):
        here.clock.advance(0.12)
        here.gateway.complete("fast", "hello")
    assert in_force(plugin, "requests").limit == 600


def test_refusals_of_calls_sent_together_count_once() -> None:
    clock = VirtualClock()
    plugin = RateLimits({"d": RateLimit(requests=100)})
    provider = MeteredProvider(clock, requests=KINDS["sliding"](10))

    async def main(gateway: Gateway) -> None:
        await asyncio.gather(*(gateway.acomplete("fast", f"c{i}") for i in range(30)), return_exceptions=True)

    run_virtually(clock, main(a_gateway(clock, provider, plugin)))
    assert len(provider.refused) == 20
    assert in_force(plugin, "requests", "scripted/model-d").limit == 90


def test_concurrency_is_learned_where_nothing_is_known() -> None:
    clock = VirtualClock()
    plugin = RateLimits()
    provider = MeteredProvider(clock, concurrency=5, latency=(1.0, 1.2), retry_after="1")
    gateway = a_gateway(clock, provider, plugin, Failover(max_attempts=20))

    async def main() -> None:
        for _ in range(40):
            answers = [gateway.acomplete("fast", f"c{i}") for i in range(20)]
            await asyncio.gather(*answers, return_exceptions=True)

    run_virtually(clock, main())
    limit = in_force(plugin, "concurrency", "scripted/model-d").limit
    assert limit is not None
    assert 3 <= limit <= 7
    late = [at for at in provider.refused if at > 1_150]
    assert len(late) < 0.2 * len([one for one in provider.served if one.at > 1_150])


def test_a_pause_without_a_retry_after_doubles_until_the_provider_answers() -> None:
    plugin = RateLimits()
    refusal = ProviderError("slow down", status=429, code="rate_limit_exceeded")
    here = scene({"a": [refusal, refusal, refusal, "ok"]}, plugin, defaults=False)
    pauses = []
    for _ in range(3):
        ask("sync", here.gateway)
        pauses.append(round(in_force(plugin, "concurrency").paused))
    assert pauses == [1, 2, 4]
    assert ask("sync", here.gateway).text == "ok"


@pytest.mark.parametrize("kind", ["authentication", "quota", "server", "rate_limit"])
def test_after_any_failure_a_call_goes_where_it_need_not_wait(kind: Any) -> None:
    plugin = RateLimits({"b": RateLimit(requests=1)})
    group = [deployment(id, provider=f"provider-{id}") for id in "abc"]
    here = scene({"a": ["a", Fault(kind)], "b": ["b"], "c": ["c"]}, plugin, deployments=group)
    here.gateway.complete("b", "its one request")
    assert ask("sync", here.gateway).text == "a"
    told = ask("sync", here.gateway)
    assert (told.text, told.tried) == ("c", ["a", "b", "c"])
    assert here.sleeper.slept == []


def test_an_overload_without_a_time_is_no_reason_to_pause() -> None:
    plugin = RateLimits()
    here = scene({"a": [ProviderError("busy", status=503), "ok"]}, plugin, defaults=False)
    ask("sync", here.gateway)
    assert in_force(plugin, "concurrency").paused == 0
    assert ask("sync", here.gateway).text == "ok"


def test_an_overload_without_a_time_is_no_pause_but_lowers_how_much_is_under_way() -> None:
    plugin = limits(concurrency=10)
    here = scene({"a": [ProviderError("overloaded", status=529, code="overloaded_error"), "ok"]}, plugin)
    told = ask("sync", here.gateway)
    assert told.text == "ok"
    row = in_force(plugin, "concurrency")
    assert (row.limit, row.used, row.paused) == (9, 0, 0)


# ---------------------------------------------------------------- many at once


def a_gateway(
    clock: VirtualClock,
    provider: MeteredProvider,
    *plugins: object,
    ids: tuple[str, ...] = ("d",),
    **options: Any,
) -> Gateway:
    options.setdefault("defaults", False)
    return Gateway(
        [deployment(id) for id in ids],
        plugins=plugins,
        transport=provider,
        clock=clock,
        sleeper=LoopSleeper(),
        random=random.Random(1),
        state=MemoryState(clock=clock),
        ledger=MemoryLedger(),
        **options,
    )


def test_turns_come_in_order_of_arrival() -> None:
    clock = VirtualClock()
    provider = MeteredProvider(clock, way=(0.0, 0.0))
    plugin = RateLimits({"d": RateLimit(requests=5)})
    gateway = a_gateway(clock, provider, plugin)

    async def main() -> None:
        calls = []
        for i in range(20):
            calls.append(asyncio.create_task(gateway.acomplete("fast", f"c{i}")))
            await asyncio.sleep(0.01)
        await asyncio.gather(*calls)

    run_virtually(clock, main())
    minutes = [{one.prompt for one in provider.served[i : i + 5]} for i in range(0, 20, 5)]
    assert minutes == [{f"c{i}" for i in range(first, first + 5)} for first in range(0, 20, 5)]


def test_slots_are_given_in_order_of_arrival_and_none_lies_idle_for_long() -> None:
    clock = VirtualClock()
    provider = MeteredProvider(clock, way=(0.0, 0.0), latency=(2.0, 2.0), concurrency=4)
    plugin = RateLimits({"d": RateLimit(concurrency=4)})
    gateway = a_gateway(clock, provider, plugin)

    async def main() -> None:
        await asyncio.gather(*(gateway.acomplete("fast", f"c{i}") for i in range(40)))

    run_virtually(clock, main())
    assert provider.refused == []
    assert provider.most_at_once == 4
    order = [int(one.prompt[1:]) for one in provider.served]
    assert max(abs(place - number) for place, number in enumerate(order)) <= 4
    assert clock.monotonic() - 1_000 <= 1.15 * 40 * 2.0 / 4


def test_a_call_that_is_cancelled_while_it_waits_gives_its_place_back() -> None:
    clock = VirtualClock()
    provider = MeteredProvider(clock, way=(0.0, 0.0))
    plugin = RateLimits({"d": RateLimit(requests=1)})
    gateway = a_gateway(clock, provider, plugin)
    ended: dict[str, float] = {}

    async def call(name: str) -> None:
        await gateway.acomplete("fast", name)
        ended[name] = clock.monotonic() - 1_000

    async def main() -> None:
        calls = [asyncio.create_task(call(f"c{i}")) for i in range(4)]
        await asyncio.sleep(5)
        calls[1].cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    run_virtually(clock, main())
    assert sorted(ended) == ["c0", "c2", "c3"]
    assert ended["c2"] < 66
    assert ended["c3"] < 127
    assert plugin._waiting == {}
    assert in_force(plugin, "requests", "scripted/model-d").waiting == 0


def test_a_wait_that_would_be_in_vain_does_not_keep_a_place() -> None:
    clock = VirtualClock()
    provider = MeteredProvider(clock)
    plugin = RateLimits({"d": RateLimit(requests=1)})
    gateway = a_gateway(clock, provider, plugin)

    async def main() -> list[Any]:
        hurried = [gateway.acomplete("fast", f"c{i}", deadline=20.0) for i in range(5)]
        patient = gateway.acomplete("fast", "c9", deadline=100.0)
        return await asyncio.gather(*hurried, patient, return_exceptions=True)

    answers = run_virtually(clock, main())
    assert [isinstance(answer, AllDeploymentsUnavailable) for answer in answers] == [
        False,
        *[True] * 4,
        False,
    ]


def test_the_kept_share_is_for_high_priority_alone() -> None:
    plugin = RateLimits({"a": RateLimit(requests=10)}, keep_for=None)
    here = scene({"a": ["ok"]}, plugin, deadline=5.0)
    here.provider._default = "ok"
    answered = dict.fromkeys((0, 2, 3), 0)
    for priority in answered:
        for _ in range(10):
            answered[priority] += ask("sync", here.gateway, context=Context(priority=priority)).error is None
    assert answered == {0: 8, 2: 1, 3: 1}


def test_nothing_is_kept_where_nobody_sets_priorities() -> None:
    plugin = limits(requests=10)
    here = scene({"a": ["ok"]}, plugin, deadline=5.0)
    here.provider._default = "ok"
    assert sum(ask("sync", here.gateway).error is None for _ in range(12)) == 10
    here.clock.advance(62)
    assert ask("sync", here.gateway, context=HIGH).error is None
    assert sum(ask("sync", here.gateway).error is None for _ in range(12)) == 7
    here.clock.advance(700)
    assert sum(ask("sync", here.gateway).error is None for _ in range(12)) == 10


def test_an_urgent_call_goes_before_those_that_wait() -> None:
    clock = VirtualClock()
    provider = MeteredProvider(clock, way=(0.0, 0.0))
    gateway = a_gateway(clock, provider, RateLimits({"d": RateLimit(requests=5)}, keep=0.0))

    async def main() -> None:
        calls = [asyncio.create_task(gateway.acomplete("fast", f"c{i}")) for i in range(12)]
        await asyncio.sleep(5)
        calls.append(asyncio.create_task(gateway.acomplete("fast", "urgent", context=URGENT)))
        await asyncio.gather(*calls)

    run_virtually(clock, main())
    assert "urgent" in [one.prompt for one in provider.served[5:10]]


def test_two_busy_deployments_together_give_what_both_allow() -> None:
    clock = VirtualClock()
    provider = MeteredProvider(clock)
    plugin = RateLimits({"a": RateLimit(requests=60), "b": RateLimit(requests=30)})
    gateway = a_gateway(clock, provider, plugin, ids=("a", "b"), deadline=None)

    async def main() -> None:
        await asyncio.gather(*(gateway.acomplete("fast", f"c{i}") for i in range(360)))

    run_virtually(clock, main())
    assert len(provider.served) == 360
    assert clock.monotonic() - 1_000 < 250


def test_threads_share_a_limit_without_passing_it() -> None:
    plugin = limits(requests=20)
    here = scene({"a": ["ok"]}, plugin, deadline=5.0)
    here.provider._default = "ok"
    errors: list[BaseException | None] = []

    def work() -> None:
        for _ in range(10):
            try:
                here.gateway.complete("fast", "hello")
                errors.append(None)
            except AllDeploymentsUnavailable as error:
                errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors.count(None) == 20
    assert in_force(plugin, "concurrency").used == 0


# ---------------------------------------------------------------- just below the quota

WORKERS = 150
MINUTES = 6


def saturate(provider: MeteredProvider, clock: VirtualClock, limit: RateLimit) -> RateLimits:
    """Ask for far more than the quota for some minutes; every task asks again as soon as it is answered."""
    plugin = RateLimits({"d": limit})
    gateway = a_gateway(clock, provider, plugin, deadline=None)
    sizes = random.Random(4)

    async def worker(number: int) -> None:
        while True:
            await gateway.acomplete("fast", f"w{number} " + "x" * sizes.randint(50, 2_000))

    async def main() -> None:
        workers = [asyncio.create_task(worker(number)) for number in range(WORKERS)]
        await asyncio.sleep(MINUTES * MINUTE)
        for one in workers:
            one.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    run_virtually(clock, main())
    return plugin


@pytest.mark.parametrize("kind", KINDS)
def test_at_an_exact_quota_of_requests_95_percent_pass_and_none_is_refused(kind: str) -> None:
    clock = VirtualClock()
    provider = MeteredProvider(clock, requests=KINDS[kind](100))
    saturate(provider, clock, RateLimit(requests=100))
    assert provider.refused == []
    assert len(provider.served) >= 0.95 * 100 * MINUTES


@pytest.mark.parametrize("kind", KINDS)
def test_at_an_exact_quota_of_tokens_95_percent_pass_and_none_is_refused(kind: str) -> None:
    clock = VirtualClock()
    provider = MeteredProvider(clock, requests=KINDS[kind](1_000), tokens=KINDS[kind](60_000))
    saturate(provider, clock, RateLimit(requests=1_000, tokens=60_000))
    assert provider.refused == []
    assert provider.tokens_served() >= 0.95 * 60_000 * MINUTES


@pytest.mark.parametrize("kind", KINDS)
def test_a_quota_that_only_headers_tell_is_used_as_well(kind: str) -> None:
    clock = VirtualClock()
    provider = MeteredProvider(clock, requests=KINDS[kind](200), headers=True)
    saturate(provider, clock, RateLimit())
    assert provider.refused == []
    assert len(provider.served) >= 0.95 * 200 * MINUTES


def test_a_provider_that_allows_little_at_once_is_learned_and_used() -> None:
    clock = VirtualClock()
    provider = MeteredProvider(clock, requests=Refilling(300, burst=0.1), retry_after="1")
    plugin = RateLimits({"d": RateLimit(requests=300)})
    gateway = a_gateway(clock, provider, plugin, Failover(max_attempts=50), deadline=None)

    async def main() -> None:
        await asyncio.gather(
            *(gateway.acomplete("fast", f"c{i}") for i in range(1_200)), return_exceptions=True
        )

    run_virtually(clock, main())
    late = [at for at in provider.refused if at > 1_130]
    served = [one for one in provider.served if one.at > 1_130]
    assert len(late) < 0.1 * len(served)
