"""LiteLLM's own cache under policies: an answer goes nowhere where it could not have been made."""

from __future__ import annotations

import litellm
import pytest
from litellm.caching.caching import Cache
from support.litellm_routers import FACES, HELLO, ask, entry, registered, rows
from support.media_servers import media_server, sound
from support.patience import auntil
from support.plugins import NotThere, NotThereSays

from llmgate_plugins import Context, use_context
from llmgate_plugins.plugins import Budget, Limits, Policies


@pytest.fixture
def cached(monkeypatch):
    monkeypatch.setattr(litellm, "cache", Cache())


async def kept(answers: int) -> None:
    """LiteLLM keeps an answer after it has given it."""
    await auntil(lambda: len(litellm.cache.cache.cache_dict) >= answers)


@pytest.mark.usefixtures("cached")
@pytest.mark.parametrize(
    "bound", [Context(region="eu"), Context(policy="european")], ids=["by context", "by policy"]
)
@pytest.mark.parametrize("face", ["acompletion", "completion"])
async def test_an_answer_of_one_region_is_not_served_to_a_call_bound_to_another(sim, face, bound):
    us, eu = sim.provider("us"), sim.provider("eu")
    us.reply("made in the us")
    eu.reply("made in the eu")
    router, _ = registered(
        [
            entry("fast", "us", us, info_region="us", weight=1_000_000),
            entry("fast", "eu", eu, info_region="eu", weight=1),
        ],
        Policies({"european": {"region": ["eu"]}}),
        cache_responses=True,
    )
    told = []
    for context in (Context(), bound) * 2:
        with use_context(context):
            told.append(await ask(face, router, "fast"))
        await kept(len(set(told)))
    assert told == ["made in the us", "made in the eu"] * 2
    assert (len(us.requests), len(eu.requests)) == (1, 1), "and each is served again where it may be"


@pytest.mark.usefixtures("cached")
@pytest.mark.parametrize(
    "call",
    [
        lambda router: router.aembedding("fast", input=["a"]),
        lambda router: router.aresponses(model="claude", input="hello"),
        lambda router: router.aanthropic_messages(model="claude", messages=HELLO, max_tokens=9),
    ],
    ids=["embeddings", "responses", "messages"],
)
async def test_no_provider_hears_of_it_whatever_is_asked(sim, call):
    one = sim.provider("one")
    claude = entry("claude", "two", one, model="anthropic/claude-haiku-4-5", info_region="eu")
    router, _ = registered([entry("fast", "one", one, info_region="eu"), claude], cache_responses=True)
    with use_context(Context(region="eu")):
        assert await call(router)
    assert one.requests
    assert all("cache" not in request.body for request in one.requests)


@pytest.mark.usefixtures("cached")
async def test_a_namespace_of_the_callers_own_stays(sim):
    one = sim.provider("one")
    router, _ = registered([entry("fast", "one", one, info_region="eu")], cache_responses=True)
    for namespace, answers in (("a", 1), ("b", 2), ("a", 2)):
        with use_context(Context(region="eu")):
            await ask("acompletion", router, "fast", cache={"namespace": namespace})
        await kept(answers)
    assert len(one.requests) == 2


@pytest.mark.usefixtures("cached")
async def test_calls_that_are_bound_to_nothing_share_the_groups_answers_as_ever(sim):
    one, two = sim.provider("one"), sim.provider("two")
    router, _ = registered([entry("fast", "one", one), entry("fast", "two", two)], cache_responses=True)
    for _ in range(6):
        await ask("acompletion", router, "fast")
        await kept(1)
    assert len(one.requests) + len(two.requests) == 1


# ---------------------------------------------------------------- what it costs


@pytest.mark.usefixtures("cached")
@pytest.mark.parametrize("face", FACES)
async def test_what_was_kept_costs_nothing_and_nothing_stays_held(sim, face):
    one, limits = sim.provider("one"), Limits([Budget("global", 10**12, 86_400.0)])
    router, registration = registered([entry("fast", "one", one)], limits, cache_responses=True)
    for _ in range(2):
        await ask(face, router, "fast")
        await kept(1)
    assert len(one.requests) == 1
    first, again = rows(registration)
    assert first["cost_nano_usd"] > 0
    assert (again["cost_nano_usd"], again["input_tokens"], again["output_tokens"]) == (0, 0, 0)
    assert [(row.spent, row.held) for row in limits.report()] == [(first["cost_nano_usd"], 0)]


@pytest.mark.usefixtures("cached")
async def test_what_was_kept_of_anthropics_own_endpoint_costs_nothing(sim):
    one = sim.provider("one")
    entries = [entry("claude", "one", one, model="anthropic/claude-haiku-4-5")]
    router, registration = registered(entries, cache_responses=True)
    for _ in range(2):
        await router.aanthropic_messages(model="claude", messages=HELLO, max_tokens=9)
        await kept(1)
    assert len(one.requests) == 1
    assert [row["cost_nano_usd"] > 0 for row in rows(registration)] == [True, False]


@pytest.mark.usefixtures("cached")
@pytest.mark.parametrize(
    "call",
    [
        lambda router: router.aresponses(model="claude", input="hello", stream=True),
        lambda router: router.aanthropic_messages(model="claude", messages=HELLO, max_tokens=9, stream=True),
        lambda router: router.atext_completion(model="claude", prompt="hello", max_tokens=9, stream=True),
    ],
    ids=["responses", "messages", "text"],
)
async def test_streams_of_other_endpoints_that_were_kept_cost_nothing(sim, call):
    one = sim.provider("one")
    entries = [entry("claude", "one", one, model="anthropic/claude-haiku-4-5")]
    router, registration = registered(entries, cache_responses=True)
    for _ in range(2):
        assert [piece async for piece in await call(router)]
        await kept(1)
    assert len(one.requests) == 1
    told = [(row["status"], row["cost_nano_usd"] > 0) for row in rows(registration)]
    assert told == [("success", True), ("success", False)]


@pytest.mark.usefixtures("cached")
async def test_of_inputs_of_which_some_were_kept_the_others_are_paid_for(sim):
    one = sim.provider("one")
    entries = [entry("embed", "one", one, model="openai/text-embedding-3-small")]
    router, registration = registered(entries, cache_responses=True)
    old, new = "old " * 100, "new " * 500
    for texts in ([old], [old, new], [old, new]):
        await router.aembedding("embed", input=texts)
        await kept(len(texts))
    assert len(one.requests) == 2
    first, partly, again = rows(registration)
    (_, asked) = one.requests
    assert asked.body["input"] == [new]
    assert partly["cost_nano_usd"] > first["cost_nano_usd"] > 0, "nobody tells how much of it was new"
    assert (partly["estimated"], again["cost_nano_usd"]) == (True, 0)


# ---------------------------------------------------------------- constraints of other plugins

KINDS = pytest.mark.parametrize("kind", [NotThere, NotThereSays])


def two_places(sim, *plugins, **settings):
    """A router of two entries, of which the first is picked unless something speaks against it."""
    us, eu = sim.provider("us"), sim.provider("eu")
    us.reply("made in the us")
    eu.reply("made in the eu")
    entries = [entry("fast", "us", us, weight=1_000_000), entry("fast", "eu", eu, weight=1)]
    return registered(entries, *plugins, **settings)[0], [us, eu]


@pytest.mark.usefixtures("cached")
@KINDS
@pytest.mark.parametrize("face", ["acompletion", "completion"])
async def test_answers_are_kept_apart_for_whom_a_plugin_keeps_from_a_deployment(sim, face, kind):
    plugin = kind("us")
    router, places = two_places(sim, plugin, cache_responses=True)
    told = []
    for plugin.on in (False, True) * 2:
        told.append(await ask(face, router, "fast"))
        await kept(len(set(told)))
    assert told == ["made in the us", "made in the eu"] * 2
    assert [len(one.requests) for one in places] == [1, 1]


@KINDS
@pytest.mark.parametrize("face", FACES)
async def test_a_repeat_is_made_again_where_a_plugin_keeps_it_from_whoever_answered(sim, face, kind):
    plugin = kind("us")
    router, places = two_places(sim, plugin)
    told = []
    for plugin.on in (False, True, True):
        told.append(await ask(face, router, "fast", metadata={"llmgate_call_id": "order-17"}))
    assert told == ["made in the us", "made in the eu", "made in the eu"]
    assert [len(one.requests) for one in places] == [1, 1]


@pytest.mark.usefixtures("cached")
@pytest.mark.parametrize(
    ("model", "path", "call"),
    [
        (
            "cohere/rerank-v3.5",
            "/rerank",
            lambda router: router.arerank(model="media", query="which?", documents=["a", "b"]),
        ),
        (
            "openai/whisper-1",
            "",
            lambda router: router.atranscription(model="media", file=("speech.wav", sound())),
        ),
    ],
    ids=["rerank", "transcription"],
)
async def test_a_ranking_or_a_transcript_that_is_kept_costs_nothing(model, path, call):
    with media_server() as server:
        entries = [entry("media", "one", f"{server.url}{path}", model=model)]
        router, registration = registered(entries, cache_responses=True)
        await call(router)
        await kept(1)
        await call(router)
        assert len(server.sent) == 1
    first, again = (row["cost_nano_usd"] for row in rows(registration))
    assert (first > 0, again) == (True, 0)
