"""Pictures, speech, transcripts, rankings and the like go through a router's gateway as chat does."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import litellm
import openai
import pytest
from litellm_llmgate import call_id_of
from litellm_llmgate.endpoints import MEDIA
from support.litellm_routers import ends, entry, registered, rows
from support.media_servers import SPOKEN, media_server, sound

from llmgate_plugins import Context, Gateway, Request, RequestDenied, hookimpl, use_context
from llmgate_plugins.decisions import GiveUp
from llmgate_plugins.plugins import Budget, Limits
from llmgate_plugins.types import NANO, Message, Response

CENT = NANO // 100
WAV = sound(2.0)
POLICY = "never say that"
MODELS = {
    "image_edit": "openai/gpt-image-1",
    "image_generation": "openai/gpt-image-1",
    "moderation": "openai/omni-moderation-latest",
    "ocr": "mistral/mistral-ocr-latest",
    "rerank": "cohere/rerank-v3.5",
    "speech": "openai/tts-1",
    "transcription": "openai/whisper-1",
    "video_generation": "openai/sora-2",
}
COSTS = {
    "image_edit": 10 * 5_000 + 40 * 10_000 + 1_000 * 40_000,
    "image_generation": 10 * 5_000 + 40 * 10_000 + 1_000 * 40_000,
    "moderation": 0,
    "ocr": 2 * 4_000_000,
    "rerank": 2_000_000,
    "speech": 10 * 15_000,
    "transcription": 2 * 100_000,
    "video_generation": 8 * 100_000_000,
}
"""By the tokens that are told, or else two pages, one search, ten characters (LiteLLM leaves
spaces out), two and eight seconds."""
PAID = [name for name, cost in COSTS.items() if cost]
SAYING = [name for name in MODELS if name != "ocr"]
FALLING_BACK = [name for name in MODELS if name != "moderation"]  # for which LiteLLM has no fallbacks
CLIENT_RETRIES = ("image_generation", "moderation")
"""For which LiteLLM may make a client of OpenAI's that asks twice more by itself, whatever it is told."""
every = pytest.mark.parametrize("operation", MODELS)


class Once:
    """Nothing is tried again."""

    @hookimpl(tryfirst=True)
    def recover_attempt(self) -> GiveUp:
        return GiveUp()


@pytest.fixture
def media():
    with media_server() as server:
        yield server


@pytest.fixture
def other():
    with media_server() as server:
        yield server


def at(server: Any, operation: str, group: str = "media", id: str = "one", **more: Any) -> dict[str, Any]:
    url = f"{server.url}/rerank" if operation == "rerank" else server.url
    return entry(group, id, url, model=MODELS[operation], **more)


def ask(router: Any, operation: str, said: str = "hello there", **more: Any) -> Any:
    """One call of this kind; what is awaited is its answer."""
    match operation:
        case "image_edit":
            picture = io.BytesIO(b"a picture")
            return router.aimage_edit(**{"model": "media", "prompt": said, "image": picture, **more})
        case "image_generation":
            return router.aimage_generation(model="media", prompt=said, **more)
        case "moderation":
            return router.amoderation(**{"model": "media", "input": said, **more})
        case "ocr":
            document = {"type": "document_url", "document_url": "https://example.org/a.pdf"}
            return router.aocr(**{"model": "media", "document": document, **more})
        case "rerank":
            return router.arerank(
                **{"model": "media", "query": said, "documents": ["a cat", "a dog"], **more}
            )
        case "speech":
            return router.aspeech(**{"model": "media", "input": said, "voice": "alloy", **more})
        case "transcription":
            return router.atranscription(**{"model": "media", "file": named(WAV), "prompt": said, **more})
        case _:
            return router.avideo_generation(**{"model": "media", "prompt": said, "seconds": "8", **more})


def named(content: bytes) -> io.BytesIO:
    file = io.BytesIO(content)
    file.name = "speech.wav"
    return file


@every
async def test_a_call_is_booked_at_what_it_cost_and_named(media, operation):
    router, registration = registered([at(media, operation)])
    answer = await ask(router, operation)
    (row,) = rows(registration)
    assert (row["operation"], row["status"], row["cost_nano_usd"]) == (operation, "success", COSTS[operation])
    assert (row["price_source"], row["estimated"]) == ("litellm", operation == "moderation")
    assert row["estimate_nano_usd"] >= row["cost_nano_usd"] / 2
    decision = registration.gateway.decision(call_id_of(answer))
    assert (decision.operation, decision.status, decision.cost) == (operation, "success", COSTS[operation])


def test_a_picture_is_drawn_in_a_thread_as_well(media):
    router, registration = registered([at(media, "image_generation")])
    assert router.image_generation(model="media", prompt="hello there").data[0].b64_json
    assert rows(registration)[0]["cost_nano_usd"] == COSTS["image_generation"]


@every
async def test_a_sibling_answers_where_one_fails_and_is_sent_all_of_it(media, other, operation):
    media.failures += [500] * 5
    entries = [at(media, operation, weight=10**9), at(other, operation, id="two", weight=1)]
    router, registration = registered(entries, num_retries=3)
    await ask(router, operation)
    assert ends(registration) == [("one", "error"), ("two", "success")]
    bodies = [one.body for one in (*media.sent, *other.sent)]
    assert {len(body) for body in bodies} == {len(bodies[0])}
    if operation == "transcription":
        assert all(WAV in body for body in bodies)
    if operation == "image_edit":
        assert all(b"a picture" in body for body in bodies)


@pytest.mark.parametrize("operation", FALLING_BACK)
async def test_the_group_that_litellm_falls_back_to_is_sent_all_of_it(media, other, operation):
    media.failures += [500] * 9
    entries = [at(media, operation), at(other, operation, "spare", "two")]
    router, registration = registered(entries, fallbacks=[{"media": ["spare"]}])
    await ask(router, operation)
    assert ends(registration)[-1] == ("two", "success")
    assert {len(one.body) for one in media.sent} == {len(other.sent[0].body)}


@pytest.mark.parametrize("operation", SAYING)
async def test_a_guard_sees_what_is_said(media, operation):
    class Guard:
        @hookimpl
        def admit_request(self, request: Request) -> None:
            if any(POLICY in message.text for message in request.messages):
                raise RequestDenied("that is not said here", code="words")

    router, registration = registered([at(media, operation)], Guard())
    with pytest.raises(litellm.exceptions.GuardrailRaisedException, match="not said here") as raised:
        await ask(router, operation, POLICY)
    assert isinstance(raised.value, RequestDenied)
    assert media.sent == []
    await ask(router, operation)
    assert ends(registration) == [("one", "success")]


@pytest.mark.parametrize("operation", SAYING)
async def test_a_guard_may_change_what_is_said(media, operation):
    class Mask:
        @hookimpl
        def admit_request(self, request: Request) -> Request:
            said = [replace(one, content=one.text.replace("1234", "****")) for one in request.messages]
            return request.replace(messages=tuple(said))

    router, _ = registered([at(media, operation)], Mask())
    await ask(router, operation, "my key is 1234")
    (sent,) = media.sent
    assert b"my key is ****" in sent.body
    assert b"1234" not in sent.body.replace(WAV, b"")


async def test_documents_are_seen_and_changed_one_by_one(media):
    seen: list[str] = []

    class Mask:
        @hookimpl
        def admit_request(self, request: Request) -> Request:
            seen.extend(message.text for message in request.messages)
            said = [Message(role="user", content=one.text.upper()) for one in request.messages]
            return request.replace(messages=tuple(said))

    router, _ = registered([at(media, "rerank")], Mask())
    await ask(router, "rerank", "which barks?")
    assert seen == ["which barks?", "a cat", "a dog"]
    assert (media.sent[0].json["query"], media.sent[0].json["documents"]) == (
        "WHICH BARKS?",
        ["A CAT", "A DOG"],
    )


async def test_a_transcript_is_reviewed_and_may_be_changed(media):
    class Mask:
        @hookimpl
        def review_response(self, response: Response) -> Response:
            return response.replace(source=replace(response.message, content="(" + response.text + ")"))

    router, _ = registered([at(media, "transcription")], Mask())
    assert (await ask(router, "transcription")).text == "(hello there)"


@pytest.mark.parametrize("operation", PAID)
async def test_a_hard_budget_lets_nothing_pass_that_may_not_fit(media, operation):
    budget = Budget("team", COSTS[operation] - 1, 86_400.0)
    router, registration = registered([at(media, operation)], Limits([budget]))
    with use_context(Context(team="art")), pytest.raises(RequestDenied) as raised:
        await ask(router, operation)
    assert (raised.value.code, raised.value.status_code) == ("budget", 429)
    assert media.sent == []
    assert registration.gateway.decisions[-1].status == "denied"


@pytest.mark.parametrize("operation", PAID)
async def test_a_hard_budget_is_settled_at_what_it_cost(media, operation):
    budget = Budget("team", 100 * NANO, 86_400.0)
    router, registration = registered([at(media, operation)], Limits([budget]))
    with use_context(Context(team="art")):
        await ask(router, operation)
    state = registration.gateway.services.state
    assert state.spent(budget.key("art"), window=budget.window) == (COSTS[operation], 0)
    assert rows(registration)[0]["reserve_nano_usd"] >= COSTS[operation]


async def test_a_picture_of_any_size_is_held_as_the_dearest_and_of_a_named_one_as_that(media):
    router, registration = registered([at(media, "image_generation")], Limits([Budget("team", NANO, 60.0)]))
    with use_context(Context(team="art")):
        await ask(router, "image_generation", n=2)
        await ask(router, "image_generation", quality="low", size="1024x1024")
    any_size, small = (row["reserve_nano_usd"] for row in rows(registration))
    assert 2 * 6_240 * 40_000 <= any_size < 2 * 6_240 * 40_000 + CENT
    assert 272 * 40_000 <= small < 272 * 40_000 + CENT


@pytest.mark.parametrize("operation", ["image_generation", "speech", "transcription"])
async def test_one_that_timed_out_is_booked_as_expected(media, operation):
    media.seconds = 5.0
    router, registration = registered([at(media, operation, timeout=0.3)], Once())
    with pytest.raises(litellm.Timeout):
        await ask(router, operation)
    last = rows(registration)[-1]
    assert (last["status"], last["estimated"]) == ("error", True)
    assert last["cost_nano_usd"] == last["estimate_nano_usd"] > 0


async def test_a_price_that_the_deployment_names_wins(media):
    own = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "output_cost_per_image_token": 3e-6}
    router, registration = registered([at(media, "image_generation", id="own", **own)])
    await ask(router, "image_generation")
    (row,) = rows(registration)
    assert (row["cost_nano_usd"], row["price_source"]) == (50 * 1_000 + 1_000 * 3_000, "config")


async def test_prices_by_the_piece_are_litellms_and_may_be_named(media):
    entries = [
        entry("media", "named", media.url, model="openai/dall-e-3", output_cost_per_image=0.04),
        entry("nobodys", "unknown", media.url, model="openai/dall-e-3"),
    ]
    router, registration = registered(entries)
    await ask(router, "image_generation")
    await router.aimage_generation(model="nobodys", prompt="hello there")
    named, unknown = rows(registration)
    assert (named["cost_nano_usd"], named["estimate_nano_usd"], named["price_source"]) == (
        *(4 * CENT, 4 * CENT),
        "litellm",
    )
    assert (unknown["cost_nano_usd"], unknown["price_source"]) == (0, None)


async def test_speech_without_a_price_of_characters_is_estimated_with_the_sound(media):
    router, registration = registered([entry("media", "one", media.url, model="openai/gpt-4o-mini-tts")])
    await ask(router, "speech", "x" * 900)  # about a minute, for a cent and a half
    (row,) = rows(registration)
    assert row["estimated"]
    assert CENT < row["cost_nano_usd"] < 2 * CENT


async def test_transcripts_by_tokens_are_booked_by_tokens(media):
    router, registration = registered([entry("media", "one", media.url, model="openai/gpt-4o-transcribe")])
    await ask(router, "transcription")
    (row,) = rows(registration)
    assert (row["input_tokens"], row["audio_input_tokens"], row["output_tokens"]) == (10, 90, 20)
    assert row["cost_nano_usd"] == 100 * 2_500 + 20 * 10_000


async def test_what_is_heard_at_a_price_of_tokens_alone_is_held_by_tokens(media):
    own = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
    one = entry("media", "by-token", media.url, model="openai/our-own", timeout=0.5, **own)
    router, registration = registered([one], Limits([Budget("team", NANO, 60.0)]))
    media.seconds = 5.0
    with use_context(Context(team="art")), pytest.raises(litellm.Timeout):
        await ask(router, "transcription")
    row = rows(registration)[0]
    assert row["reserve_nano_usd"] >= row["cost_nano_usd"] >= 64 * 1_000 + 16 * 2_000


@pytest.mark.parametrize(
    ("operation", "wrong"),
    [
        ("image_generation", {"n": "many", "size": "wide"}),
        ("image_edit", {"quality": ["high"], "size": 3}),
        ("rerank", {"documents": None}),
        ("rerank", {"documents": 7, "query": ["which?"]}),
        ("moderation", {"input": 7}),
        ("moderation", {"input": [7, None]}),
        ("image_edit", {"image": 7, "mask": {}}),
        ("rerank", {"documents": [{"text": None}, 7]}),
        ("speech", {"speed": "fast", "voice": None}),
        ("transcription", {"file": None}),
        ("transcription", {"file": ("speech.wav",)}),
        ("video_generation", {"seconds": "a few", "size": 7}),
        ("ocr", {"pages": "all"}),
        ("ocr", {"document": None}),
    ],
)
async def test_what_is_asked_for_wrongly_is_answered_by_litellm_or_the_provider(media, operation, wrong):
    router, registration = registered([at(media, operation)], Limits([Budget("team", NANO * 100, 60.0)]))
    error: Exception | None = None
    with use_context(Context(team="art")):
        try:
            await ask(router, operation, **wrong)
        except Exception as raised:
            error = raised
    assert not isinstance(error, RequestDenied)
    assert type(error).__module__.startswith(("litellm", "openai", "builtins")), error
    assert [row["status"] for row in rows(registration) if row["status"] == "intent"] == []
    assert len(rows(registration)) == len(registration.gateway.decisions[-1].attempts)


async def test_speech_is_handed_on_as_litellm_has_it(media):
    router, _ = registered([at(media, "speech")])
    answer = await ask(router, "speech")
    assert type(answer).__name__ == "HttpxBinaryResponseContent"
    assert answer.content == SPOKEN
    assert b"".join([piece async for piece in await answer.aiter_bytes(1024)]) == SPOKEN


async def test_a_page_in_the_place_of_speech_is_a_failure(media, other):
    media.page = True
    entries = [at(media, "speech", weight=10**9), at(other, "speech", id="two", weight=1)]
    router, registration = registered(entries)
    assert (await ask(router, "speech")).content == SPOKEN
    assert ends(registration) == [("one", "error"), ("two", "success")]
    assert rows(registration)[0]["code"] == "bad_response"


@every
async def test_a_providers_own_error_reaches_the_caller_as_litellms(media, operation):
    media.failures += [429] * 20
    router, _ = registered([at(media, operation)], Once())
    with pytest.raises(openai.RateLimitError) as raised:
        await ask(router, operation)
    assert len(media.sent) in ((1, 3) if operation in CLIENT_RETRIES else (1,))
    assert isinstance(raised.value, litellm.RateLimitError) or operation == "moderation"  # LiteLLM's is bare
    assert any("attempt 1: one: rate_limit" in note for note in raised.value.__notes__)


@every
async def test_a_plugin_cannot_answer_in_words_what_has_none(media, operation):
    class Answering:
        @hookimpl
        def admit_request(self) -> Response:
            return Response.of("from a plugin")

    router, _ = registered([at(media, operation)], Answering())
    if operation == "transcription":
        assert (await ask(router, operation)).text == "from a plugin"
        return
    with pytest.raises(litellm.ServiceUnavailableError, match=f"a call of '{operation}' by itself"):
        await ask(router, operation)


@every
async def test_no_address_of_a_caller_gets_a_deployments_key(media, other, operation):
    router, _ = registered([at(media, operation)])
    with pytest.raises(RequestDenied, match="the key belongs to the deployment"):
        await ask(router, operation, api_base=other.url)
    assert other.sent == []


@every
async def test_a_policy_may_leave_no_deployment(media, operation):
    gateway = Gateway.from_config(
        {
            "model_list": [at(media, operation, "elsewhere", "eu", info_region="eu")],
            "policies": {"default": {"require": {"region": "eu"}}},
        },
        check_secrets=False,
    )
    router, _ = registered([at(media, operation, info_region="us")], gateway=gateway)
    with pytest.raises(litellm.PermissionDeniedError):
        await ask(router, operation)
    assert media.sent == []


@pytest.mark.parametrize("name", ["avideo_remix", "avideo_edit", "avideo_extension"])
async def test_a_film_that_is_made_of_another_is_booked_as_one(media, name):
    router, registration = registered(
        [at(media, "video_generation")], Limits([Budget("team", NANO * 3, 60.0)])
    )
    with use_context(Context(team="art")):
        await getattr(router, name)(model="media", video_id="video_1", prompt="hello there", seconds="8")
    (row,) = rows(registration)
    assert (row["operation"], row["status"]) == ("video_generation", "success")
    assert row["cost_nano_usd"] == COSTS["video_generation"] <= row["reserve_nano_usd"]


@pytest.mark.parametrize("wrong", ["many", [], {}, -7, 1.5, True])
def test_a_usage_report_that_is_no_numbers_breaks_no_answer(wrong):
    parts = dict.fromkeys(("text_tokens", "image_tokens", "audio_tokens", "cached_tokens"), wrong)
    for details in (parts, {"text_tokens": wrong}, wrong):
        usage = {"input_tokens": wrong, "output_tokens": wrong, "output_tokens_details": details}
        usage |= {"input_tokens_details": details, "input_token_details": details}
        for media in MEDIA.values():
            told = media.usage_in({"usage": usage, "meta": {"billed_units": {"total_tokens": wrong}}})
            assert told is None or told.total < 10


async def test_a_moderation_of_no_group_is_left_to_litellm(media, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-nobody")
    monkeypatch.setenv("OPENAI_BASE_URL", media.url)
    router, registration = registered([at(media, "moderation")])
    await router.amoderation(input="hello")
    assert rows(registration) == []
