"""Plugins that keep something in the state work where its answers are pending, on every face."""

from __future__ import annotations

from collections.abc import Callable

from support.faces import ask, every_face
from support.gateways import Scene, deployment, scene
from support.named_calls import named
from support.servers import RedisServer

from llmgate_plugins import Context, Message, Price, Request
from llmgate_plugins.experiments import Arm, Experiment, Stage
from llmgate_plugins.plugins import Experiments, Policies
from llmgate_plugins.plugins.idempotency import Idempotency
from llmgate_plugins.state.redis import RedisState
from llmgate_plugins.testing import Fault

CACHES = Price(input=3_000_000_000, cached_input=300_000_000, output=15_000_000_000)
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


@every_face
def test_a_bad_canary_is_taken_back_everywhere(opened: Opened, face: str) -> None:
    def process() -> Scene:
        made = [deployment("old", "fast"), deployment("new", "next")]
        arms = [Arm(name="control"), Arm(name="next", model="next")]
        canary = Experiment(name="c", arms=arms, stages=[Stage(share=0.5, seconds=3_600)])
        script = {"old": ["fine"], "new": [Fault("invalid_request")]}
        return scene(script, Experiments([canary]), deployments=made, state=opened())

    one, other = process(), process()
    for at in range(80):
        ask(face, one.gateway, context=Context(user=f"u{at}"))
        one.clock.advance(1.0)
    other.clock.advance(10.0)
    assert {tuple(ask(face, other.gateway, context=Context(user=f"u{at}")).tried) for at in range(9)} == {
        ("old",)
    }


@every_face
def test_what_is_warm_and_what_is_liked_is_shared(opened: Opened, face: str) -> None:
    def process(prefer: str) -> Scene:
        policies = Policies({"default": {"prefer": prefer, "sticky": {"by": "session"}}})
        made = [deployment(id, price=CACHES) for id in "abc"]
        return scene({id: ["hello"] for id in "abc"}, policies, deployments=made, state=opened())

    said = Request(model="fast", messages=(Message(role="user", content="word " * 2_000),))
    one, other = process("weighted"), process("weighted")
    first = ask(face, one.gateway, said, context=Context(session="s")).tried
    assert all(ask(face, other.gateway, said, context=Context(session="s")).tried == first for _ in range(6))

    one, other = process("best_rated"), process("best_rated")
    for at in range(40):
        served = ask(face, one.gateway).record
        one.gateway.feedback(served.call_id, served.served_by == "b", id=f"{face} {at}")
    assert [ask(face, other.gateway).tried for _ in range(12)].count(["b"]) > 8
