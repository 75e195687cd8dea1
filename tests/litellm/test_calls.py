"""A registered router carries its calls through the gateway, on every face."""

from __future__ import annotations

import time

import litellm
import pytest
from litellm.exceptions import GuardrailRaisedException
from support.litellm_routers import FACES, HELLO, ask, ends, entry, registered, rows
from support.patience import PATIENCE

from llmgate_plugins import (
    AllDeploymentsUnavailable,
    Drop,
    Gateway,
    HookFailed,
    Ranking,
    RequestDenied,
    hookimpl,
)
from llmgate_plugins.plugins import Failover, LedgerAccounting, Policies
from llmgate_plugins.testing import Fault

SERVER_ERROR = Fault("server")


@pytest.mark.parametrize("face", FACES)
async def test_a_call_is_served_and_booked_with_its_price(sim, face):
    provider = sim.provider("one")
    provider.reply("Hello there.")
    router, registration = registered([entry("fast", "one", provider)])
    assert await ask(face, router, "fast") == "Hello there."
    (row,) = rows(registration)
    assert (row["deployment"], row["status"], row["alias"]) == ("one", "success", "fast")
    assert row["cost_nano_usd"] > 0
    assert len(provider.requests) == 1


@pytest.mark.parametrize("face", FACES)
async def test_a_dead_deployment_is_left_for_its_sibling_at_once(sim, face):
    dead, alive = sim.provider("dead"), sim.provider("alive")
    dead.fail_always(Fault("server", retry_after=60))
    router, registration = registered(
        [entry("fast", "dead", dead), entry("fast", "alive", alive)], PreferDead()
    )
    started = time.monotonic()
    assert await ask(face, router, "fast")
    assert time.monotonic() - started < PATIENCE
    assert ends(registration) == [("dead", "error"), ("alive", "success")]
    assert (len(dead.requests), len(alive.requests)) == (1, 1)


class PreferDead:
    @hookimpl
    def rank_deployments(self, deployments):
        return sorted(deployments, key=lambda deployment: deployment.id != "dead")


@pytest.mark.parametrize("face", FACES)
async def test_a_heavy_deployment_that_is_dead_costs_no_call(sim, face):
    heavy, light = sim.provider("heavy"), sim.provider("light")
    heavy.fail_always(SERVER_ERROR)
    router, registration = registered(
        [entry("fast", "heavy", heavy, weight=9), entry("fast", "light", light, weight=1)],
        gateway=Gateway(plugins=[Failover(), LedgerAccounting()], defaults=False),
        disable_cooldowns=True,
    )
    answers = [await ask(face, router, "fast") for _ in range(30)]
    assert all(answers)
    assert len(light.requests) == 30
    assert len(heavy.requests) > 15  # LiteLLM's weights still decide who is asked first
    assert len(rows(registration)) == len(heavy.requests) + len(light.requests)


@pytest.mark.parametrize("face", FACES)
async def test_without_an_opinion_litellms_latency_strategy_decides(sim, face):
    slow, quick = sim.provider("slow"), sim.provider("quick")
    slow.pace(first=0.6)
    router, _ = registered(
        [entry("fast", "slow", slow), entry("fast", "quick", quick)], routing_strategy="latency-based-routing"
    )
    for _ in range(14):
        await ask(face, router, "fast")
        await settle()
    assert len(quick.requests) >= 10
    assert len(slow.requests) >= 1


async def settle():
    """LiteLLM notes latencies in the background."""
    import asyncio

    await asyncio.sleep(0.05)


@pytest.mark.parametrize("face", FACES)
async def test_a_plugins_ranking_wins_over_the_strategy(sim, face):
    one, two = sim.provider("one"), sim.provider("two")

    class Second:
        @hookimpl
        def rank_deployments(self, deployments):
            return Ranking(tuple(reversed(deployments)), reason="the last shall be first")

    router, registration = registered(
        [entry("fast", "one", one, weight=100), entry("fast", "two", two, weight=1)], Second()
    )
    for _ in range(5):
        await ask(face, router, "fast")
    assert {name for name, _ in ends(registration)} == {"two"}


@pytest.mark.parametrize("face", FACES)
async def test_a_narrowed_deployment_is_never_picked_by_the_strategy(sim, face):
    one, two = sim.provider("one"), sim.provider("two")

    class OnlyLight:
        @hookimpl
        def narrow_deployments(self, deployments):
            return Drop({"heavy": "not_today"})

    router, registration = registered(
        [entry("fast", "heavy", one, weight=100), entry("fast", "light", two, weight=1)], OnlyLight()
    )
    for _ in range(10):
        await ask(face, router, "fast")
    assert ends(registration) == [("light", "success")] * 10
    assert not one.requests


@pytest.mark.parametrize("face", FACES)
async def test_litellms_fallbacks_between_groups_go_on_working(sim, face):
    dead, other = sim.provider("dead"), sim.provider("other")
    dead.fail_always(SERVER_ERROR)
    router, registration = registered(
        [entry("fast", "dead", dead), entry("strong", "other", other)],
        fallbacks=[{"fast": ["strong"]}],
        num_retries=2,
    )
    started = time.monotonic()
    assert await ask(face, router, "fast")
    assert time.monotonic() - started < PATIENCE
    assert ends(registration)[-1] == ("other", "success")
    assert {name for name, _ in ends(registration)[:-1]} == {"dead"}


@pytest.mark.parametrize("face", FACES)
async def test_litellm_does_not_retry_what_the_gateway_gave_up(sim, face):
    bad = sim.provider("bad")
    bad.fail_always(Fault("authentication"))
    router, registration = registered([entry("fast", "bad", bad)], num_retries=3)
    with pytest.raises(litellm.AuthenticationError) as caught:
        await ask(face, router, "fast", num_retries=5)
    assert len(bad.requests) == len(rows(registration)) == 1
    assert any("llmgate attempt 1: bad" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("face", FACES)
async def test_a_denial_reaches_nobody_and_is_neither_retried_nor_fallen_back_on(sim, face):
    one, other = sim.provider("one"), sim.provider("other")

    class No:
        asked = 0

        @hookimpl
        def admit_request(self, request):
            self.asked += 1
            raise RequestDenied("not on a Sunday", code="sunday")

    no = No()
    router, registration = registered(
        [entry("fast", "one", one), entry("strong", "other", other)],
        no,
        fallbacks=[{"fast": ["strong"]}],
        num_retries=3,
    )
    with pytest.raises(GuardrailRaisedException) as caught:
        await ask(face, router, "fast")
    assert isinstance(caught.value, RequestDenied)
    assert (caught.value.reason, caught.value.code, caught.value.plugin) == (
        "not on a Sunday",
        "sunday",
        "No",
    )
    assert caught.value.status_code == 403
    assert str(caught.value) == "not on a Sunday"
    assert (no.asked, len(one.requests), len(other.requests)) == (1, 0, 0)
    assert rows(registration) == []


@pytest.mark.parametrize("face", FACES)
async def test_a_plugins_bug_is_not_retried_as_if_a_provider_had_failed(sim, face):
    one, other = sim.provider("one"), sim.provider("other")

    class Buggy:
        asked = 0

        @hookimpl
        def narrow_deployments(self, deployments):
            self.asked += 1
            raise ZeroDivisionError("oh")

    buggy = Buggy()
    router, _ = registered(
        [entry("fast", "one", one), entry("strong", "other", other)],
        buggy,
        fallbacks=[{"fast": ["strong"]}],
        num_retries=3,
    )
    with pytest.raises(HookFailed, match=r"Buggy.*narrow_deployments.*oh") as caught:
        await ask(face, router, "fast")
    assert isinstance(caught.value, GuardrailRaisedException)
    assert (buggy.asked, len(one.requests), len(other.requests)) == (1, 0, 0)


@pytest.mark.parametrize("face", FACES)
async def test_nothing_left_to_try_says_why_and_may_fall_back(sim, face):
    one, other = sim.provider("one"), sim.provider("other")

    class Never:
        @hookimpl
        def narrow_deployments(self, deployments):
            return Drop({"one": "closed"})

    entries = [entry("fast", "one", one), entry("strong", "other", other)]
    router, _ = registered(entries, Never())
    with pytest.raises(litellm.ServiceUnavailableError, match="one: closed"):
        await ask(face, router, "fast")
    router, _ = registered(entries, Never(), fallbacks=[{"fast": ["strong"]}])
    assert await ask(face, router, "fast")
    assert (len(one.requests), len(other.requests)) == (0, 1)


@pytest.mark.parametrize("face", FACES)
async def test_a_group_that_policies_rule_out_is_forbidden_and_not_just_away(sim, face):
    us, eu = sim.provider("us"), sim.provider("eu")
    entries = [entry("fast", "us", us, info_region="us"), entry("strong", "eu", eu, info_region="eu")]
    policies = Policies({"default": {"region": ["eu"]}})
    router, registration = registered(entries, policies)
    with pytest.raises(litellm.PermissionDeniedError, match="us: region") as caught:
        await ask(face, router, "fast")
    assert isinstance(caught.value, AllDeploymentsUnavailable)
    assert registration.gateway.decision(caught.value.call_id).policy == "default"
    router, _ = registered(entries, policies, fallbacks=[{"fast": ["strong"]}])
    assert await ask(face, router, "fast")
    assert (len(us.requests), len(eu.requests)) == (0, 1)


@pytest.mark.parametrize(
    "call",
    [
        lambda router: router.aresponses(model="fast", input="hello"),
        lambda router: router.aanthropic_messages(model="fast", messages=HELLO, max_tokens=9),
    ],
    ids=["responses", "messages"],
)
async def test_calls_of_other_shapes_are_served_and_booked(sim, call):
    one = entry("fast", "one", sim.provider("one"), model="anthropic/claude-haiku-4-5")
    router, registration = registered([one])
    assert await call(router)
    assert ends(registration) == [("one", "success")]


@pytest.mark.parametrize("face", FACES)
async def test_a_call_by_deployment_id_goes_to_that_deployment(sim, face):
    one, two = sim.provider("one"), sim.provider("two")
    router, registration = registered([entry("fast", "one", one), entry("fast", "two", two)])
    for _ in range(3):
        assert await ask(face, router, "two")
    assert ends(registration) == [("two", "success")] * 3


@pytest.mark.parametrize("face", FACES)
async def test_a_group_alias_leads_to_its_group(sim, face):
    one = sim.provider("one")
    router, registration = registered([entry("fast", "one", one)], model_group_alias={"gpt": "fast"})
    assert await ask(face, router, "gpt")
    assert ends(registration) == [("one", "success")]


@pytest.mark.parametrize("face", FACES)
async def test_an_unknown_group_is_litellms_own_error(sim, face):
    router, _ = registered([entry("fast", "one", sim.provider("one"))], num_retries=0)
    with pytest.raises(litellm.BadRequestError, match="nobody"):
        await ask(face, router, "nobody")


@pytest.mark.parametrize("face", FACES)
async def test_a_deployments_timeout_ends_the_attempt_and_the_sibling_serves(sim, face):
    slow, alive = sim.provider("slow"), sim.provider("alive")
    slow.fail_always(Fault("stall"))
    router, registration = registered(
        [entry("fast", "dead", slow, timeout=0.3, stream_timeout=0.3), entry("fast", "alive", alive)],
        PreferDead(),
    )
    started = time.monotonic()
    assert await ask(face, router, "fast")
    assert time.monotonic() - started < PATIENCE
    assert ends(registration) == [("dead", "error"), ("alive", "success")]
    assert rows(registration)[0]["error_class"] == "timeout"


@pytest.mark.parametrize("face", FACES)
async def test_the_calls_deadline_bounds_every_attempt(sim, face):
    slow = sim.provider("slow")
    slow.fail_always(Fault("stall"))
    router, registration = registered([entry("fast", "slow", slow)], gateway=Gateway(deadline=0.5))
    started = time.monotonic()
    with pytest.raises((litellm.Timeout, litellm.APIConnectionError)):
        await ask(face, router, "fast")
    assert time.monotonic() - started < PATIENCE
    assert [status for _, status in ends(registration)] == ["error"]


@pytest.mark.parametrize("sync", [False, True])
async def test_embeddings_fail_over_and_are_booked(sim, sync):
    dead, alive = sim.provider("dead"), sim.provider("alive")
    dead.fail_always(SERVER_ERROR)
    model = "openai/text-embedding-3-small"
    router, registration = registered(
        [entry("embed", "dead", dead, model=model), entry("embed", "alive", alive, model=model)], PreferDead()
    )
    asked = {"model": "embed", "input": ["one", "two"]}
    answer = router.embedding(**asked) if sync else await router.aembedding(**asked)
    assert len(answer.data) == 2
    assert ends(registration) == [("dead", "error"), ("alive", "success")]
    row = rows(registration)[-1]
    assert row["cost_nano_usd"] > 0
    assert registration.gateway.decisions[-1].operation == "embedding"


async def test_why_it_went_that_way_stands_there_too(sim):
    entries = [
        entry("fast", "us", sim.provider("why-us"), info_region="us"),
        entry("fast", "eu", sim.provider("why-eu"), info_region="eu"),
    ]
    router, _ = registered(entries, Policies({"default": {"region": ["eu"], "version": "7"}}))
    told = (await router.acompletion("fast", HELLO))._hidden_params["llmgate"]
    assert (told["deployment"], told["policy"], told["policy_version"]) == ("eu", "default", "7")
    assert told["dropped"] == {"region": 1}


async def test_what_became_of_a_call_stands_in_the_hidden_parameters(sim):
    router, registration = registered([entry("fast", "one", sim.provider("one"))])
    answer = await router.acompletion("fast", HELLO)
    told = answer._hidden_params["llmgate"]
    record = registration.gateway.decision(told["call_id"])
    assert record.served_by == told["deployment"] == "one"
    assert told["attempts"] == 1
    assert told["cost_usd"] == pytest.approx(record.cost / 1e9)
    assert answer._hidden_params["model_id"] == "one"
