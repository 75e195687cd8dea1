"""Plugins that keep something in the state work where its answers are pending, on every face."""

from __future__ import annotations

from collections.abc import Callable

from support.faces import ask, every_face
from support.gateways import scene
from support.named_calls import named
from support.servers import RedisServer

from llmgate_plugins.plugins.idempotency import Idempotency
from llmgate_plugins.state.redis import RedisState

Opened = Callable[..., RedisState]
Connect = Callable[..., RedisState]


@every_face
def test_a_repeat_in_another_process_gets_the_first_answer(opened: Opened, face: str) -> None:
    first = scene({"a": ["one", "two"]}, Idempotency(), state=opened())
    second = scene({"a": ["three"]}, Idempotency(), state=opened())
    assert ask(face, named(first.gateway)).text == "one"
    told = ask(face, named(second.gateway))
    assert (told.text, told.error) == ("one", None)
    assert second.sent == []
    assert [row["call_id"] for row in second.ledger.calls()] == ["ID#2"]


@every_face
def test_another_request_under_the_id_is_denied_in_every_process(opened: Opened, face: str) -> None:
    first = scene({"a": ["one"]}, Idempotency(), state=opened())
    second = scene({"a": ["two"]}, Idempotency(), state=opened())
    ask(face, named(first.gateway))
    told = ask(face, named(second.gateway), "something else")
    assert told.error is not None
    assert getattr(told.error, "code", None) == "call_id_reused"


@every_face
def test_a_call_goes_on_while_the_state_is_silent(
    own_server: RedisServer, connect: Connect, face: str
) -> None:
    s = scene({"a": ["one", "two"]}, Idempotency(), state=connect(own_server.url))
    own_server.pause()
    assert ask(face, named(s.gateway, "X")).text == "one"
    assert ask(face, named(s.gateway, "X")).text == "one", "this process remembers"
    assert ask(face, named(s.gateway, "Y")).text == "two"
    own_server.resume()
    assert s.sent == ["a", "a"]
