"""A gateway is put into a router, stays in it, and can be taken out; routers do not share one by accident."""

from __future__ import annotations

import asyncio

import litellm
import pytest
from langchain_core.messages import HumanMessage
from langchain_litellm import ChatLiteLLMRouter
from litellm_llmgate import Router, register
from support.litellm_routers import FACES, HELLO, KEY, Saw, ask, ends, entry, registered, rows

from llmgate_plugins import ConfigurationError, Context, Gateway, hookimpl, use_context
from llmgate_plugins.testing import Fault

NAMES = (
    "make_call",
    "async_function_with_retries",
    "function_with_fallbacks",
    "get_available_deployment",
    "async_get_available_deployment",
    "_core_async_get_available_deployment",
    "async_get_healthy_deployments",
    "_core_async_get_healthy_deployments",
)


def on_the_router_itself(router) -> set[str]:
    core = vars(router).get("_core", router)
    return {name for name in NAMES if name in vars(core) or name in vars(router)}


async def test_unregistering_leaves_the_router_as_it_was(sim):
    one = sim.provider("one")
    router = litellm.Router(model_list=[entry("fast", "one", one)], num_retries=2)
    before = on_the_router_itself(router)
    registration = register(router, Gateway())
    assert registration.active
    assert await ask("acompletion", router, "fast")
    registration.unregister()
    registration.unregister()
    assert not registration.active
    assert on_the_router_itself(router) == before
    for face in FACES:
        assert await ask(face, router, "fast")
    assert len(rows(registration)) == 1
    one.script(Fault("server"), None)
    assert await ask("acompletion", router, "fast")  # LiteLLM retries again
    again = register(router, Gateway())
    assert await ask("acompletion", router, "fast")
    assert len(rows(again)) == 1


def test_a_second_gateway_in_the_same_router_is_refused(sim):
    router, registration = registered([entry("fast", "one", sim.provider("one"))])
    with pytest.raises(ConfigurationError, match="has a gateway already"):
        register(router, Gateway())
    assert registration.active


def test_what_is_no_router_is_refused():
    with pytest.raises(ConfigurationError, match=r"no litellm\.Router"):
        register(object(), Gateway())


async def test_two_routers_in_one_process_keep_their_own_books(sim):
    first, of_first = registered([entry("fast", "one", sim.provider("one"))])
    second, of_second = registered([entry("fast", "two", sim.provider("two"))])
    plain = litellm.Router(model_list=[entry("fast", "three", sim.provider("three"))])
    await asyncio.gather(*(ask("acompletion", router, "fast") for router in (first, second, plain) * 3))
    assert ends(of_first) == [("one", "success")] * 3
    assert ends(of_second) == [("two", "success")] * 3
    assert len(sim.provider("three").requests) == 3


async def test_two_routers_may_share_one_gateway(sim):
    gateway = Gateway()
    first, registration = registered([entry("fast", "one", sim.provider("one"))], gateway=gateway)
    second, _ = registered([entry("fast", "two", sim.provider("two"))], gateway=gateway)
    await ask("acompletion", first, "fast")
    await ask("completion", second, "fast")
    assert ends(registration) == [("one", "success"), ("two", "success")]


@pytest.mark.filterwarnings("ignore:.*update_settings:DeprecationWarning")
async def test_a_new_strategy_decides_and_the_gateway_stays(sim):
    slow, quick = sim.provider("slow"), sim.provider("quick")
    slow.pace(first=0.6)
    router, registration = registered([entry("fast", "slow", slow), entry("fast", "quick", quick)])
    router.update_settings(routing_strategy="latency-based-routing")
    for _ in range(12):
        await ask("acompletion", router, "fast")
        await asyncio.sleep(0.05)
    assert len(rows(registration)) == 12
    assert len(quick.requests) >= 9


@pytest.mark.filterwarnings("ignore:.*set_custom_routing_strategy:DeprecationWarning")
@pytest.mark.parametrize("when", ["before", "after", "behind_our_back"])
async def test_the_applications_own_strategy_decides_where_no_plugin_does(sim, when):
    entries = [entry("fast", "one", sim.provider("one")), entry("fast", "two", sim.provider("two"))]

    class AlwaysTwo:
        async def async_get_available_deployment(self, model, **asked):
            return next(one for one in entries_of(router) if one["model_info"]["id"] == "two")

        def get_available_deployment(self, model, **asked):
            return next(one for one in entries_of(router) if one["model_info"]["id"] == "two")

    router = litellm.Router(model_list=entries)
    install = installing(router)
    if when == "before":
        install(AlwaysTwo())
    registration = register(router, Gateway())
    if when == "after":
        installing(router)(AlwaysTwo())
    if when == "behind_our_back":
        install(AlwaysTwo())
    for face in FACES * 2:
        assert await ask(face, router, "fast")
    assert ends(registration) == [("two", "success")] * 8


def installing(router):
    return getattr(router, "register_plugin", None) or router.set_custom_routing_strategy


def entries_of(router):
    return router.registry().all() if hasattr(router, "registry") else router.model_list


async def test_a_deployment_that_is_added_or_changed_is_seen(sim):
    one, two = sim.provider("one"), sim.provider("two")
    saw = Saw()
    router, registration = registered([entry("fast", "one", one)], saw)
    await ask("acompletion", router, "fast")
    assert registration.deployment("one").region is None
    router.add_deployment(litellm.types.router.Deployment(**entry("fast", "two", two, info_region="eu")))
    await ask("acompletion", router, "fast")
    assert saw.candidates == [["one"], ["one", "two"]]
    assert registration.deployment("two").region == "eu"
    assert registration.deployment("two") is registration.deployment("two")


def test_a_deployment_says_what_the_entry_says(sim):
    _, registration = registered(
        [
            entry(
                "fast",
                "one",
                sim.provider("one"),
                weight=3,
                info_region="eu",
                info_floor=2,
                input_cost_per_token=1e-6,
                output_cost_per_token=2e-6,
            ),
            entry("fast", "two", sim.provider("two")),
        ]
    )
    one, two = registration.deployment("one"), registration.deployment("two")
    assert (one.alias, one.provider, one.model, one.region, one.weight) == (
        *("fast", "openai", "gpt-4o-mini", "eu"),
        3.0,
    )
    assert (one.price.input, one.price.output, one.price.source) == (10**9, 2 * 10**9, "config")
    assert one.info["floor"] == 2
    assert "tools" in two.capabilities
    assert two.context_window == 128_000
    assert two.price.source in ("litellm", "genai-prices")
    assert KEY not in repr(one) + str(dict(one.info)) + repr(one.endpoint)


@pytest.mark.parametrize("face", FACES)
async def test_the_context_around_a_call_is_trusted_and_its_metadata_is_not(sim, face):
    saw = Saw()
    router, _ = registered([entry("fast", "one", sim.provider("one"))], saw)
    with use_context(Context(team="search", region=None)):
        await ask(
            face,
            router,
            "fast",
            metadata={
                "team": "admins",
                "user_api_key_team_id": "admins",
                "feature": "chat",
                "api_key": "sk-tag",
                "tags": ["free", "tier:gold"],
            },
        )
    (context,) = saw.contexts
    (request,) = saw.requests
    assert context == Context(team="search")
    assert dict(request.tags) == {"team": "admins", "feature": "chat", "free": "", "tier": "gold"}


@pytest.mark.parametrize("face", FACES)
async def test_a_policy_may_refer_to_regions_that_the_router_declares(sim, face):
    entries = [
        entry("fast", "far", sim.provider("far"), info_region="us"),
        entry("fast", "near", sim.provider("near"), info_region="eu"),
    ]
    router = litellm.Router(model_list=entries)
    registration = register(router, {"policies": {"at-home": {"require": {"region": "eu"}}}})
    with use_context(Context(policy="at-home")):
        for _ in range(4):
            await ask(face, router, "fast")
    assert ends(registration) == [("near", "success")] * 4
    assert sim.provider("far").requests == []


async def test_a_sync_call_inside_a_running_loop_keeps_its_context(sim):
    saw = Saw()
    router, _ = registered([entry("fast", "one", sim.provider("one"))], saw)
    with use_context(Context(user="ada")):
        assert router.completion("fast", HELLO).choices
    assert saw.contexts == [Context(user="ada")]


@pytest.mark.parametrize("face", FACES)
async def test_what_a_policy_changes_is_what_is_sent(sim, face):
    one = sim.provider("one")

    class Redacts:
        @hookimpl
        def admit_request(self, request):
            from dataclasses import replace

            messages = tuple(replace(m, content=m.text.replace("Ada", "X")) for m in request.messages)
            return request.replace(messages=messages, params={**request.params, "temperature": 0.0})

    router, _ = registered([entry("fast", "one", one)], Redacts())
    messages = [
        {"role": "system", "content": "Be brief.", "name": "boss"},
        {"role": "user", "content": "I am Ada"},
    ]
    await ask(face, router, "fast", messages, temperature=1.0, top_p=0.5)
    body = one.requests[0].body
    assert body["messages"] == [
        {"role": "system", "content": "Be brief.", "name": "boss"},
        {"role": "user", "content": "I am X"},
    ]
    assert (body["temperature"], body["top_p"]) == (0.0, 0.5)
    assert messages[1]["content"] == "I am Ada"


@pytest.mark.parametrize("face", ["acompletion", "completion"])
async def test_what_a_policy_makes_of_the_answer_is_what_the_caller_gets(sim, face):
    one = sim.provider("one")
    one.reply("The password is swordfish.")

    class Masks:
        @hookimpl
        def review_response(self, response):
            from dataclasses import replace

            return response.replace(source=replace(response.message, content="The password is ****."))

    router, _ = registered([entry("fast", "one", one)], Masks())
    assert await ask(face, router, "fast") == "The password is ****."


@pytest.mark.parametrize("face", FACES)
async def test_another_model_wanted_by_a_policy_serves(sim, face):
    class Up:
        @hookimpl
        def admit_request(self, request):
            return request.replace(model="strong")

    router, registration = registered(
        [entry("fast", "one", sim.provider("one")), entry("strong", "big", sim.provider("big"))], Up()
    )
    assert await ask(face, router, "fast")
    assert ends(registration) == [("big", "success")]


@pytest.mark.parametrize("face", FACES)
async def test_no_key_is_seen_by_plugins_or_stands_in_errors_and_books(sim, face):
    one = sim.provider("one")
    saw = Saw()
    router, registration = registered([entry("fast", "one", one)], saw, num_retries=0)
    await ask(
        face, router, "fast", api_key="sk-per-call-0123456789", extra_headers={"x-secret": "hush-hush-hush"}
    )
    one.fail_always(Fault("authentication"))
    with pytest.raises(litellm.AuthenticationError) as caught:
        await ask(face, router, "fast")
    seen = repr((saw.requests, [dict(request.params) for request in saw.requests], rows(registration)))
    seen += repr([record.to_dict() for record in registration.gateway.decisions])
    seen += str(caught.value) + "".join(caught.value.__notes__)
    for secret in (KEY, "sk-per-call-0123456789", "hush-hush-hush"):
        assert secret not in seen


def test_a_configuration_without_deployments_is_enough(sim, tmp_path):
    one = sim.provider("one")
    file = tmp_path / "llmgate.yaml"
    file.write_text(f"ledger: sqlite:///{tmp_path}/books.db\npolicies:\n  default: {{max_attempts: 1}}\n")
    router = litellm.Router(model_list=[entry("fast", "one", one)])
    registration = register(router, file)
    assert router.completion("fast", HELLO).choices
    assert ends(registration) == [("one", "success")]
    registration.gateway.close()


def test_a_mistake_in_the_configuration_is_told_with_its_line(tmp_path):
    file = tmp_path / "llmgate.yaml"
    file.write_text("ledger: memory\nbugets: []\n")
    router = litellm.Router(model_list=[entry("fast", "one", "http://127.0.0.1:9/v1")])
    with pytest.raises(ConfigurationError, match=r"llmgate.yaml:2: bugets"):
        register(router, file)
    assert on_the_router_itself(router) == set()


def test_of_a_litellm_config_strategy_and_fallbacks_stay_litellms(sim):
    entries = [entry("fast", "one", sim.provider("one")), entry("strong", "two", sim.provider("two"))]
    config = {
        "model_list": entries,
        "router_settings": {"routing_strategy": "latency-based-routing", "fallbacks": [{"fast": ["strong"]}]},
    }
    router = litellm.Router(model_list=entries)
    gateway = register(router, config).gateway
    assert gateway.routes.chain("fast") == ("fast",)
    assert not {"Fastest", "Weighted", "InOrder", "Cheapest"} & {name for name, _ in gateway.plugins}


async def test_the_drop_in_router_has_a_gateway_from_the_start(sim):
    dead, alive = sim.provider("dead"), sim.provider("alive")
    dead.fail_always(Fault("server"))
    router = Router(
        model_list=[entry("fast", "dead", dead, weight=1000), entry("fast", "alive", alive, weight=1)],
        num_retries=2,
        gateway=Gateway(),
    )
    assert isinstance(router, litellm.Router)
    for face in FACES:
        assert await ask(face, router, "fast")
    assert len(alive.requests) == 4
    assert len(rows(router.llmgate)) == len(dead.requests) + 4


def test_the_drop_in_router_takes_a_configuration_or_nothing(sim):
    entries = [entry("fast", "one", sim.provider("one"))]
    for given in ({}, {"gateway": {"policies": {"default": {"max_attempts": 1}}}}):
        router = Router(model_list=entries, **given)
        assert router.completion("fast", HELLO).choices
        assert ends(router.llmgate) == [("one", "success")]
    with pytest.raises(ConfigurationError):
        Router(model_list=entries, gateway={"polices": {}})


# langchain-litellm reads the router's old attributes.
@pytest.mark.filterwarnings(r"ignore:Router\.\w+ is deprecated:DeprecationWarning")
async def test_langchains_router_model_runs_on_a_registered_router(sim):
    dead, alive = sim.provider("dead"), sim.provider("alive")
    dead.fail_always(Fault("server"))
    alive.reply("Hello there.")
    router, registration = registered(
        [entry("fast", "dead", dead, weight=1000), entry("fast", "alive", alive, weight=1)],
        disable_cooldowns=True,
    )
    model = ChatLiteLLMRouter(router=router, model_name="fast")
    question = [HumanMessage("Say hello.")]
    assert model.invoke(question).content == "Hello there."
    assert (await model.ainvoke(question)).content == "Hello there."
    assert "".join(chunk.content for chunk in model.stream(question)) == "Hello there."
    assert "".join([chunk.content async for chunk in model.astream(question)]) == "Hello there."
    assert [status for name, status in ends(registration) if name == "alive"] == ["success"] * 4
    assert all(status == "error" for name, status in ends(registration) if name == "dead")


@pytest.mark.parametrize("face", ["acompletion", "astream"])  # for sync calls it always does
async def test_litellm_makes_no_client_per_call(sim, face):
    router, _ = registered([entry("fast", "one", sim.provider("one"))])
    kept = litellm.in_memory_llm_clients_cache.cache_dict
    await ask(face, router, "fast")
    clients = set(kept)
    for _ in range(5):
        await ask(face, router, "fast")
    assert set(kept) == clients


async def test_many_calls_at_once_keep_apart(sim):
    dead, alive = sim.provider("dead"), sim.provider("alive")
    dead.fail_rate(0.5, Fault("server"))
    router, registration = registered(
        [entry("fast", "dead", dead), entry("fast", "alive", alive)], disable_cooldowns=True
    )
    faces = ("acompletion", "astream") * 20
    answers = await asyncio.gather(*(ask(face, router, "fast") for face in faces))
    assert all(answers)
    booked = rows(registration)
    assert len(booked) == len(dead.requests) + len(alive.requests)
    assert len({row["call_id"] for row in booked}) == 40
