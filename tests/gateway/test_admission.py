"""Policy before anything is sent: fold, answer at once, deny."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.faces import ask, every_face
from support.gateways import scene
from support.plugins import Admit, Review, Witness, raising

from llmgate_plugins import (
    HookFailed,
    Message,
    Request,
    RequestDenied,
    Response,
    ResponseRejected,
    use_context,
)


def redact(word: str):
    def change(request: Request) -> Request:
        messages = [Message(role=m.role, content=m.text.replace(word, "***")) for m in request.messages]
        return request.replace(messages=tuple(messages))

    return change


@every_face
def test_each_policy_sees_the_last_ones_request(face: str) -> None:
    seen: list[str] = []
    s = scene(
        {"a": ["ok"]},
        Admit(redact("red"), "first"),
        Admit(lambda r: seen.append(r.messages[0].text), "second"),
        Admit(redact("blue"), "third"),
    )
    assert ask(face, s.gateway, prompt="red and blue").text == "ok"
    assert seen == ["*** and blue"]
    assert s.provider.sent[0][1].messages[0].text == "*** and ***"


@every_face
def test_whether_an_answer_comes_in_pieces_is_the_callers_to_say(face: str) -> None:
    s = scene({"a": ["ok"]}, Admit(lambda r: r.replace(stream=not r.stream), "turns it over"))
    told = ask(face, s.gateway)
    assert (told.error, told.text) == (None, "ok")
    assert s.provider.sent[0][1].stream is told.record.stream


@every_face
def test_a_denied_request_sends_nothing_and_is_booked_as_denied(face: str) -> None:
    def deny(request: Request) -> None:
        raise RequestDenied("no cats", code="cats")

    after = Witness()
    s = scene({"a": ["ok"]}, Admit(deny, "guard"), after)
    told = ask(face, s.gateway)
    assert isinstance(told.error, RequestDenied)
    assert (told.error.plugin, told.error.code, str(told.error)) == ("guard", "cats", "no cats")
    assert s.sent == []
    assert after.heard == ["end_call denied"]
    assert (told.record.denied_by, told.record.reason) == ("guard", "cats")
    assert [row["status"] for row in s.ledger.calls()] == ["denied"]


@every_face
def test_a_plugin_may_answer_in_place_of_an_attempt(face: str) -> None:
    later = Witness()
    s = scene({"a": ["ok"]}, Admit(lambda r: Response.of("from the cache"), "cache"), later)
    told = ask(face, s.gateway)
    assert told.text == "from the cache"
    assert told.record.status == "answered"
    assert s.sent == []
    assert later.heard == ["review_response", "end_call answered"]


@every_face
def test_a_broken_policy_stops_the_call_and_is_named(face: str) -> None:
    s = scene({"a": ["ok"]}, raising("admit_request", ZeroDivisionError("oops"), "guard"))
    told = ask(face, s.gateway)
    assert isinstance(told.error, HookFailed)
    assert (told.error.plugin, told.error.hook) == ("guard", "admit_request")
    assert isinstance(told.error.__cause__, ZeroDivisionError)
    assert s.sent == []
    assert told.record.status == "error"


@every_face
def test_an_answer_of_the_wrong_type_is_a_broken_policy(face: str) -> None:
    s = scene({"a": ["ok"]}, Admit(lambda r: "yes", "guard"))
    told = ask(face, s.gateway)
    assert isinstance(told.error, HookFailed)
    assert "answered str; the answer is one of Request, Response, or None" in str(told.error)
    assert s.sent == []


@every_face
def test_a_rejected_answer_is_denied_but_was_paid_for(face: str) -> None:
    def reject(response: Response) -> None:
        raise ResponseRejected("not this", code="pii")

    s = scene({"a": ["my number is 5"]}, Review(reject, "guard"))
    told = ask(face, s.gateway)
    assert isinstance(told.error, ResponseRejected)
    assert told.record.status == "denied"
    assert told.record.cost > 0
    assert s.books_balance()


def test_a_reviewed_answer_is_what_the_caller_gets() -> None:
    for face in ("sync", "async", "stepped", "astepped"):
        s = scene(
            {"a": ["secret"]},
            Review(lambda r: Response.of(r.text.upper()), "one"),
            Review(lambda r: Response.of(r.text + "!"), "two"),
        )
        assert ask(face, s.gateway).text == "SECRET!"


@every_face
def test_a_request_cannot_get_more_time_than_the_gateway_gives(face: str) -> None:
    s = scene({"a": ["ok"]}, Admit(lambda r: r.replace(timeout=900.0)), deadline=30.0)
    ask(face, s.gateway)
    assert (
        s.gateway.decisions[-1].attempts[0][0].deadline
        == s.gateway.decisions[-1].attempts[0][0].started + 30.0
    )


@pytest.mark.parametrize("given", [{"tenant": "acme"}, "acme"])
def test_what_is_no_context_is_refused_before_anything_is_sent(given: Any) -> None:
    s = scene({"a": ["ok"]})
    request = Request(model="fast", messages=(Message(role="user", content="hi"),))
    for ask_so in (
        lambda: s.gateway.complete("fast", "hi", context=given),
        lambda: asyncio.run(s.gateway.acomplete("fast", "hi", context=given)),
        lambda: list(s.gateway.stream("fast", "hi", context=given)),
        lambda: s.gateway.astream("fast", "hi", context=given),
        lambda: list(s.gateway.steps(request, context=given)),
        lambda: s.gateway.admit(request, context=given),
        lambda: use_context(given).__enter__(),
    ):
        with pytest.raises(TypeError, match=r"such as Context\(team='search'\), which only the application"):
            ask_so()
    assert s.sent == []
