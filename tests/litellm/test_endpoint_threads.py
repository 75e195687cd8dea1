"""Calls of other shapes than chat's that a router is asked in a thread are calls like any other."""

from __future__ import annotations

from typing import Any

import litellm
import pytest
from support.litellm_routers import ends, entry, registered, rows
from support.media_servers import media_server

from llmgate_plugins import Request, RequestDenied, StreamInterrupted, hookimpl
from llmgate_plugins.plugins import Budget, Limits
from llmgate_plugins.testing import Fault
from llmgate_plugins.types import NANO, Response

CLAUDE = "anthropic/claude-haiku-4-5"
WORDS = 40
WORDED = ("responses", "stream", "generate_content")
PIECES = {
    "ocr": ("mistral/mistral-ocr-latest", 8_000_000),
    "video_generation": ("openai/sora-2", 800_000_000),
}


def ask(router: Any, kind: str, said: str = "hello") -> str:
    """What a call of this kind is answered with."""
    if kind == "responses":
        answer = router.responses(model="fast", input=said, max_output_tokens=200)
        return str(answer.output_text)
    if kind == "stream":
        stream = router.responses(model="fast", input=said, max_output_tokens=200, stream=True)
        return "".join(event.delta for event in stream if event.type == "response.output_text.delta")
    if kind == "generate_content":
        contents = [{"role": "user", "parts": [{"text": said}]}]
        answer = router.generate_content(model="fast", contents=contents, config={"maxOutputTokens": 200})
        return "".join(part["text"] for part in answer["candidates"][0]["content"]["parts"])
    if kind == "ocr":
        document = {"type": "document_url", "document_url": "https://example.org/a.pdf"}
        return str(router.ocr(model="fast", document=document).pages)
    return str(router.video_generation(model="fast", prompt=said, seconds="8").id)


def telling(sim: Any, name: str, **more: Any) -> dict[str, Any]:
    provider = sim.provider(name)
    provider.reply("word " * WORDS)
    return entry("fast", name, provider, model=CLAUDE, **more)


@pytest.mark.parametrize("kind", WORDED)
def test_a_call_is_booked_with_what_it_brought(sim, kind):
    router, registration = registered([telling(sim, "one")])
    assert ask(router, kind).count("word") == WORDS
    (row,) = rows(registration)
    assert (row["status"], row["operation"]) == ("success", "responses" if kind == "stream" else kind)
    assert (row["stream"], row["estimated"]) == (kind == "stream", False)
    assert row["output_tokens"] >= WORDS - 5
    assert row["cost_nano_usd"] > WORDS * 1000


@pytest.mark.parametrize("kind", PIECES)
def test_pages_and_films_are_booked_by_the_piece(kind):
    model, cost = PIECES[kind]
    with media_server() as media:
        router, registration = registered([entry("fast", "one", media.url, model=model)])
        assert ask(router, kind)
    (row,) = rows(registration)
    assert (row["operation"], row["status"], row["cost_nano_usd"]) == (kind, "success", cost)


@pytest.mark.parametrize("kind", WORDED)
def test_a_sibling_answers_where_one_fails(sim, kind):
    dead = telling(sim, "dead", weight=10**9)
    sim.provider("dead").fail_always(Fault("server"))
    router, registration = registered([dead, telling(sim, "alive", weight=1)])
    assert "word" in ask(router, kind)
    assert ends(registration) == [("dead", "error"), ("alive", "success")]


@pytest.mark.parametrize("kind", WORDED)
def test_a_guard_may_refuse_the_question(sim, kind):
    class Guard:
        @hookimpl
        def admit_request(self, request: Request) -> None:
            if "hello" in request.messages[0].text:
                raise RequestDenied("nobody says hello", code="words")

    router, _ = registered([telling(sim, "one")], Guard())
    with pytest.raises(litellm.exceptions.GuardrailRaisedException, match="nobody says hello"):
        ask(router, kind)
    assert sim.provider("one").requests == []


@pytest.mark.parametrize("kind", [*WORDED, *PIECES])
def test_a_hard_budget_lets_nothing_pass_that_may_not_fit(sim, kind):
    one = (
        telling(sim, "one")
        if kind in WORDED
        else entry("fast", "one", "http://127.0.0.1:9", model=PIECES[kind][0])
    )
    router, registration = registered([one], Limits([Budget("global", NANO // 10_000, 60.0)]))
    with pytest.raises(RequestDenied) as raised:
        ask(router, kind)
    assert (raised.value.code, raised.value.status_code) == ("budget", 429)
    assert ends(registration) in ([], [("one", "skipped")])


@pytest.mark.parametrize("kind", ["responses", "generate_content"])
def test_a_plugins_own_answer_has_the_endpoints_shape(sim, kind):
    class Answering:
        @hookimpl
        def admit_request(self) -> Response:
            return Response.of("from a plugin")

    router, _ = registered([telling(sim, "one")], Answering())
    assert ask(router, kind) == "from a plugin"


def test_a_plugin_cannot_answer_a_stream(sim):
    class Answering:
        @hookimpl
        def admit_request(self) -> Response:
            return Response.of("from a plugin")

    router, _ = registered([telling(sim, "one")], Answering())
    with pytest.raises(litellm.ServiceUnavailableError, match="can only be done for chat"):
        ask(router, "stream")


def test_a_stream_that_is_left_is_booked_with_what_was_delivered(sim):
    sim.provider("one").pace(piece=0.02)
    router, registration = registered([telling(sim, "one")])
    stream = router.responses(model="fast", input="hello", max_output_tokens=200, stream=True)
    seen = ""
    for event in stream:
        seen += str(event)
        if seen.count("word") >= 10:
            break
    stream.close()
    (row,) = rows(registration)
    assert (row["status"], row["estimated"]) == ("abandoned", True)
    assert 5 <= row["output_tokens"] < WORDS


def test_a_stream_that_breaks_says_so(sim):
    one = telling(sim, "one")
    sim.provider("one").fail_always(Fault("cut", after=10))
    router, registration = registered([one])
    with pytest.raises(StreamInterrupted):
        ask(router, "stream")
    assert rows(registration)[0]["output_tokens"] > 0
