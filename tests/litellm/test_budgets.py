"""Limits in a real router: denied once, neither retried nor fallen back on; held and settled."""

import asyncio
import time

import pytest
from litellm.exceptions import GuardrailRaisedException
from litellm_llmgate.asking import request_of
from litellm_llmgate.endpoints import ENDPOINTS
from litellm_llmgate.errors import for_litellm
from support.litellm_routers import FACES, ask, entry, registered, rows
from support.patience import auntil

from llmgate_plugins import Context, RequestDenied
from llmgate_plugins.context import use_context
from llmgate_plugins.plugins import Budget, ConcurrencyLimit, Instead, Limits, RequestLimit
from llmgate_plugins.types import Usage
from llmgate_plugins.usage import most_input
from llmgate_plugins.windows import Calendar

DAY = Calendar("day")


@pytest.mark.parametrize("face", FACES)
async def test_a_call_beyond_the_limit_is_denied_once_with_the_time_until_then(sim, face):
    one, other = sim.provider("one"), sim.provider("other")
    limits = Limits([Budget("team", 10**9, DAY), RequestLimit("team", 1, DAY), ConcurrencyLimit("team", 1)])
    router, registration = registered(
        [entry("fast", "one", one), entry("strong", "other", other)],
        limits,
        fallbacks=[{"fast": ["strong"]}],
        num_retries=3,
    )
    with use_context(Context(team="search")):
        assert await ask(face, router, "fast", max_tokens=50)
        with pytest.raises(GuardrailRaisedException) as caught:
            await ask(face, router, "fast", max_tokens=50)
    assert isinstance(caught.value, RequestDenied)
    assert (caught.value.code, caught.value.plugin, caught.value.status_code) == ("limit", "Limits", 429)
    assert "the limit of 1 request per day (UTC) of team 'search' is used up" in str(caught.value)
    assert 0 < int(caught.value.headers["retry-after"]) <= 86_400
    assert (len(one.requests), len(other.requests)) == (1, 0)
    (row,) = rows(registration)
    assert row["cost_nano_usd"] > 0
    assert row["reserve_nano_usd"] > row["cost_nano_usd"]
    assert {(one.kind, one.spent, one.held) for one in limits.report()} == {
        ("budget", row["cost_nano_usd"], 0),
        ("requests", 1, 0),
        ("concurrency", 0, 0),
    }


@pytest.mark.parametrize(
    ("code", "seconds", "status"),
    [("limit", None, 429), ("budget", 0.2, 429), ("other", 9, 429), ("budget_unavailable", None, 503)],
)
def test_a_denial_that_may_succeed_later_says_so_by_its_status(code, seconds, status):
    at = None if seconds is None else time.time() + seconds
    denied = for_litellm(RequestDenied("no", code=code, retry_at=at), "fast")
    assert denied.status_code == status
    if seconds is not None:
        assert int(denied.headers["retry-after"]) >= seconds  # not before there is room


async def test_a_slot_that_is_taken_is_no_reason_to_give_up_for_good(sim):
    one = sim.provider("one")
    one.pace(first=1.0)
    router, _ = registered([entry("fast", "one", one)], Limits([ConcurrencyLimit("team", 1)]))
    with use_context(Context(team="search")):
        first = asyncio.create_task(ask("acompletion", router, "fast"))
        await auntil(lambda: one.requests)
        with pytest.raises(GuardrailRaisedException, match="1 call at once") as caught:
            await ask("acompletion", router, "fast")
    assert caught.value.status_code == 429
    assert await first


@pytest.mark.parametrize("face", FACES)
async def test_a_deployment_that_is_used_up_is_left_for_its_sibling(sim, face):
    one, other = sim.provider("one"), sim.provider("other")
    router, _ = registered(
        [entry("fast", "one", one), entry("fast", "other", other)],
        Limits([RequestLimit("deployment", 1, DAY)]),
    )
    for _ in range(2):
        assert await ask(face, router, "fast")
    assert (len(one.requests), len(other.requests)) == (1, 1)


@pytest.mark.parametrize("face", FACES)
async def test_a_call_beyond_the_limit_may_go_to_another_group(sim, face):
    one, other = sim.provider("one"), sim.provider("other")
    limit = RequestLimit(["team", "alias=fast"], 1, DAY, on_exhausted=Instead(alias="mini"))
    router, _ = registered([entry("fast", "one", one), entry("mini", "other", other)], Limits([limit]))
    for _ in range(2):
        assert await ask(face, router, "fast")
    assert (len(one.requests), len(other.requests)) == (1, 1)


@pytest.mark.parametrize("face", FACES)
async def test_what_the_routers_list_adds_to_a_call_is_held(sim, face):
    limits = Limits([Budget("team", 10**12, DAY)])
    held = []
    for added in (
        {"max_tokens": 10},
        {"max_tokens": 16_000},
        {"max_tokens": 10, "n": 2},
        {"max_tokens": 10, "extra_body": {"n": 2}},
    ):
        provider = sim.provider(f"one{len(held)}")
        router, registration = registered([entry("fast", f"one{len(held)}", provider, **added)], limits)
        with use_context(Context(team="search")):
            assert await ask(face, router, "fast")
        held.append(rows(registration)[-1]["reserve_nano_usd"])
    assert held[1] - held[0] == 15_990 * 600  # nano-dollars that gpt-4o-mini takes for a token it writes
    assert held[2] - held[0] == held[3] - held[0] == 10 * 600


@pytest.mark.parametrize("face", FACES)
async def test_what_a_call_adds_to_the_body_is_held(sim, face):
    router, registration = registered(
        [entry("fast", "one", sim.provider("one"))], Limits([Budget("team", 10**12, DAY)])
    )
    with use_context(Context(team="search")):
        assert await ask(face, router, "fast", max_tokens=10)
        assert await ask(face, router, "fast", max_tokens=10, extra_body={"n": 3})
    short, three = (row["reserve_nano_usd"] for row in rows(registration))
    assert three - short == 20 * 600


async def test_every_answer_of_which_the_best_is_handed_out_is_held(sim):
    router, registration = registered(
        [entry("fast", "one", sim.provider("one"))], Limits([Budget("team", 10**12, DAY)])
    )
    with use_context(Context(team="search")):
        assert await router.atext_completion(model="fast", prompt="hello", max_tokens=10)
        with pytest.raises(Exception, match="best_of"):  # of a chat model, which knows no such word
            await router.atext_completion(model="fast", prompt="hello", max_tokens=10, best_of=4)
    one, four = (row["reserve_nano_usd"] for row in rows(registration))
    assert four - one == 30 * 600


def test_every_input_of_an_embedding_is_held(sim):
    entries = [entry("embed", "one", sim.provider("one"), model="openai/text-embedding-3-small")]
    router, registration = registered(entries, Limits([Budget("team", 10**12, DAY)]))
    with use_context(Context(team="search")):
        router.embedding("embed", ["word " * 2_000] * 20)
    (row,) = rows(registration)
    assert row["reserve_nano_usd"] >= row["cost_nano_usd"] > 0
    assert row["reserve_nano_usd"] >= 20 * 2_000 * 20
    assert row["estimate_nano_usd"] >= 20 * 2_000 * 20


@pytest.mark.parametrize("name", ["config", "generationConfig"])
@pytest.mark.parametrize("word", ["maxOutputTokens", "max_output_tokens"])
def test_a_length_in_googles_words_is_held(name, word):
    asked = request_of("generate_content", {"model": "fast", "contents": "hi", name: {word: 9_000}}, None)
    assert asked.params["max_output_tokens"] == 9_000


@pytest.mark.parametrize(
    "said",
    [
        {"systemInstruction": {"parts": [{"text": "word " * 200}]}},
        {"system_instruction": "word " * 200},
        {"config": {"systemInstruction": "word " * 200}},
    ],
)
def test_an_instruction_in_googles_words_is_read(said):
    bare = most_input(request_of("generate_content", {"model": "fast", "contents": "hi"}, None))
    asked = request_of("generate_content", {"model": "fast", "contents": "hi", **said}, None)
    assert most_input(asked) >= bare + 600


def test_sound_and_pictures_of_googles_have_their_own_price():
    told = {
        "promptTokenCount": 1_000,
        "candidatesTokenCount": 300,
        "cachedContentTokenCount": 400,
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": 200},
            {"modality": "AUDIO", "tokenCount": 800},
        ],
        "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 400}],
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 250}],
        "trafficType": "ON_DEMAND_FLEX",
    }
    assert ENDPOINTS["generate_content"].usage_in({"usageMetadata": told}) == Usage(
        input=200, cached_input=400, audio_input=400, output=50, image_output=250, tier="flex"
    )


SAID = "word " * 200


@pytest.mark.parametrize(
    "items",
    [
        [{"role": "user", "content": SAID}],
        [{"role": "user", "content": [{"type": "input_text", "text": SAID}]}],
        [{"type": "function_call", "call_id": "1", "name": "f", "arguments": SAID}],
        [{"type": "function_call_output", "call_id": "1", "output": SAID}],
        [{"type": "function_call_output", "call_id": "1", "output": [{"type": "input_text", "text": SAID}]}],
        [{"type": "reasoning", "id": "1", "summary": [{"type": "summary_text", "text": SAID}]}],
    ],
    ids=lambda items: items[0].get("type", "message"),
)
def test_what_the_responses_api_reads_counts_once_however_it_is_listed(items):
    text = request_of("responses", {"model": "fast", "input": SAID}, None)
    listed = request_of("responses", {"model": "fast", "input": items}, None)
    once = most_input(text)
    assert once <= most_input(listed) < once + 100


@pytest.mark.parametrize("prompt", [SAID, [SAID], [SAID[:500], SAID[500:]]], ids=["text", "list", "two"])
def test_prompts_count_once_however_they_are_listed(prompt):
    once = most_input(request_of("text", {"model": "fast", "prompt": SAID}, None))
    assert once <= most_input(request_of("text", {"model": "fast", "prompt": prompt}, None)) < once + 20


def test_a_prompt_of_token_ids_is_counted():
    assert most_input(request_of("text", {"model": "fast", "prompt": [1] * 500}, None)) >= 500
