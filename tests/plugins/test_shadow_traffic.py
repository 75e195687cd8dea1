"""Copies of calls: after the answer, under the same constraints, and on nobody's account."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from support.faces import every_face, every_stream
from support.gateways import Scene, deployment
from support.patience import PATIENCE

from llmgate_plugins import Context, Gateway, Request, Response
from llmgate_plugins.follow_ups import FollowUp, FollowUps
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.plugins import Budget, Limits, Policies, RequestLimit
from llmgate_plugins.plugins.shadow import Shadow, ShadowTraffic
from llmgate_plugins.plugins.shadow.copies import similarity
from llmgate_plugins.testing import Fault, ScriptedProvider, ask

TWO = (deployment("a", "fast"), deployment("b", "candidate", region="eu"))


def a_scene(script: dict[str, Any] | None = None, *plugins: object, **shadow: Any) -> Scene:
    traffic = ShadowTraffic([Shadow(**{"name": "candidate", "to": "candidate", **shadow})])
    return Scene(script or {"a": ["hello"], "b": ["hello"]}, [*plugins, traffic], TWO)


def copies(scene: Scene) -> list[Any]:
    assert scene.gateway.follow_ups.wait(30)
    return [record for record in scene.gateway.decisions if record.shadow_of is not None]


def report(scene: Scene) -> dict[str, int]:
    copies(scene)
    traffic = next(one for _, one in scene.gateway.plugins if isinstance(one, ShadowTraffic))
    return traffic.report()["candidate"]


@every_face
def test_a_copy_is_sent_elsewhere_and_booked_apart(face: str) -> None:
    scene = a_scene()
    told = ask(face, scene.gateway, context=Context(team="search"))
    (copy,) = copies(scene)
    (call,) = [record for record in scene.gateway.decisions if record is not copy]
    assert told.text == "hello"
    assert copy.shadow_of == call.call_id != copy.call_id
    assert (copy.model, copy.served_by, copy.context.team) == ("candidate", "b", "search")
    rows = {row["deployment"]: row["shadow_of"] for row in scene.ledger.attempts()}
    assert rows == {"a": None, "b": call.call_id}
    assert copy.notes["shadow"]["original"]["deployment"] == "a"
    assert report(scene) == {"asked": 1, "sent": 1}


@every_stream
def test_a_stream_is_copied_when_it_has_ended_and_not_before(face: str) -> None:
    scene = a_scene()
    told = ask(face, scene.gateway, take=1)
    assert told.record.status == "abandoned"
    assert copies(scene) == []
    ask(face, scene.gateway)
    assert len(copies(scene)) == 1


@every_face
def test_a_copy_that_fails_concerns_nobody(face: str) -> None:
    scene = a_scene({"a": ["hello"], "b": [Fault("server")]})
    for _ in range(8):
        assert ask(face, scene.gateway).text == "hello"
        (copy,) = copies(scene)[-1:]
        assert [outcome.status for _, outcome in copy.attempts] == ["error"], "one attempt, no retry"
    health = next(plugin for name, plugin in scene.gateway.plugins if type(plugin).__name__ == "Health")
    assert health.report(scene.clock.monotonic()) == []  # type: ignore[attr-defined]


def test_the_caller_has_the_answer_before_the_copy_is_sent() -> None:
    reached, go_on = threading.Event(), threading.Event()

    class Waits:
        @hookimpl
        def begin_attempt(self, call: Any) -> None:
            if call.is_shadow:
                reached.set()
                assert go_on.wait(30)

    scene = a_scene(None, Waits())
    assert scene.gateway.complete("fast", "hello").text == "hello"
    assert reached.wait(30)
    assert scene.sent == ["a"]
    go_on.set()
    copies(scene)
    assert scene.sent == ["a", "b"]


def test_a_target_that_is_not_eligible_is_not_sent_to() -> None:
    scene = a_scene()
    scene.gateway.complete("fast", "hello", context=Context())
    copies(scene)
    us = Scene(
        {"a": ["hello"], "b": ["hello"]},
        [ShadowTraffic([Shadow(name="candidate", to="candidate")])],
        (deployment("a", "fast", region="us"), deployment("b", "candidate", region="eu")),
    )
    us.gateway.complete("fast", "hello", context=Context(region="us"))
    assert report(us) == {"asked": 1, "not_eligible": 1}
    assert us.sent == ["a"]


def test_a_copy_goes_on_under_its_policy_and_never_past_its_own() -> None:
    policies = {"default": {"ignore": ["b"]}, "wide": {"only": ["a", "b"]}, "narrow": {"only": ["b"]}}
    scene = a_scene(None, Policies(policies), policy="wide")
    scene.gateway.complete("fast", "hello")
    assert report(scene) == {"asked": 1, "not_eligible": 1}
    free = a_scene(None, Policies({"narrow": {"only": ["b"]}}), policy="narrow")
    free.gateway.complete("fast", "hello")
    (copy,) = copies(free)
    assert (copy.served_by, copy.policy) == ("b", "narrow")


def test_copies_stop_when_their_own_budget_is_used_up_and_leave_others_alone() -> None:
    team = Budget("team", 1_000_000, 3600.0)
    own = RequestLimit("global", 3, 3600.0, shadow_calls="only")
    scene = a_scene(None, Limits([team, own]))
    for _ in range(6):
        scene.gateway.complete("fast", "hello", context=Context(team="search"), max_tokens=1000)
        copies(scene)
    counted = report(scene)
    assert counted == {"asked": 6, "sent": 3, "over_budget": 3}
    real = [row["cost_nano_usd"] for row in scene.ledger.attempts() if row["shadow_of"] is None]
    assert [row.spent for row in scene.gateway.limits] == [3, sum(real)]
    assert len(real) == 6


def test_a_sample_is_drawn_by_the_call_and_conditions_are_those_of_rules() -> None:
    scene = a_scene(sample=0.3, when={"team": "search"})
    for place in range(100):
        scene.gateway.complete("fast", "x", context=Context(team="search"), call_id=f"s{place}")
        scene.gateway.complete("fast", "x", context=Context(team="ads"), call_id=f"a{place}")
        scene.gateway.follow_ups.wait(30)
    drawn = {record.shadow_of for record in copies(scene)}
    assert 15 < len(drawn) < 45
    assert all(name.startswith("s") for name in drawn)


def test_answers_are_compared_by_their_words_where_that_is_wanted() -> None:
    scene = a_scene({"a": ["the cat sat down"], "b": ["the cat sat up"]}, similarity=True)
    scene.gateway.complete("fast", "hello")
    (copy,) = copies(scene)
    assert copy.notes["shadow"]["similarity"] == pytest.approx(
        similarity("the cat sat down", "the cat sat up")
    )
    assert "cat" not in str(copy.to_dict())
    plain = a_scene()
    plain.gateway.complete("fast", "hello")
    assert "similarity" not in copies(plain)[0].notes["shadow"]


def test_similarity_is_the_share_of_common_pairs_of_words() -> None:
    assert similarity("a b c", "a b c") == 1.0 == similarity("", "")
    assert similarity("a b c", "x y z") == 0.0 == similarity("a", "")
    assert similarity("a b", "A  B") == 1.0
    assert similarity("a b c d", "a b c x") == pytest.approx(3 / 5)


def held_up(follow_ups: FollowUps) -> tuple[Scene, threading.Event, threading.Event]:
    """A scene whose copies wait until an event is set; another one is when the first of them waits."""
    hold, waits = threading.Event(), threading.Event()

    class Waits:
        @hookimpl
        def begin_attempt(self, call: Any) -> None:
            if call.is_shadow:
                waits.set()
                hold.wait(2 * PATIENCE)

    traffic = ShadowTraffic([Shadow(name="candidate", to="candidate")])
    return (
        Scene({"a": ["hello"], "b": ["hello"]}, [Waits(), traffic], TWO, follow_ups=follow_ups),
        hold,
        waits,
    )


def test_what_does_not_fit_into_the_queue_is_dropped_and_counted() -> None:
    scene, hold, _ = held_up(FollowUps(workers=1, queue=2))
    began = time.monotonic()
    for _ in range(10):
        scene.gateway.complete("fast", "hello")
    assert time.monotonic() - began < PATIENCE
    assert scene.gateway.follow_ups.report()["missed_full"] >= 7
    hold.set()
    counted = report(scene)
    assert counted["full"] + counted["sent"] == 10


def test_closing_a_gateway_drops_what_waits_and_waits_briefly_for_the_rest() -> None:
    scene, hold, waits = held_up(FollowUps(workers=1, patience=0.05))
    for _ in range(3):
        scene.gateway.complete("fast", "hello")
    assert waits.wait(PATIENCE)
    scene.gateway.close()
    scene.gateway.complete("fast", "hello")
    assert scene.gateway.follow_ups.report()["missed_closing"] == 3
    hold.set()


@every_face
def test_a_plugin_of_anybodys_may_ask_for_a_further_call(face: str) -> None:
    why: list[str] = []

    class Judge:
        @hookimpl
        def end_call(self, call: Any) -> None:
            call.follow_up(FollowUp(model="candidate", missed=why.append))

    scene = Scene({"a": ["hello"], "b": ["fine"]}, [Judge()], TWO)
    ask(face, scene.gateway)
    (copy,) = copies(scene)
    assert (copy.served_by, why) == ("b", [])
    assert len(scene.sent) == 2, "what follows is followed by nothing"


def test_a_host_that_sends_by_itself_needs_a_transport_for_copies() -> None:
    traffic = ShadowTraffic([Shadow(name="candidate", to="candidate")])
    gateway = Gateway(TWO, plugins=[traffic])
    steps = gateway.steps(Request(model="fast"))
    next(steps)
    steps.send(Response.of("hello"))
    steps.close()
    assert traffic.report()["candidate"] == {"asked": 1, "no_transport": 1}


def test_a_shadow_without_a_target_and_two_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="to: or policy:"):
        Shadow(name="nowhere")
    with pytest.raises(ValueError, match="share between 0 and 1"):
        Shadow(name="much", to="b", sample=5)
    with pytest.raises(ValueError, match="same name"):
        ShadowTraffic([Shadow(name="x", to="b"), Shadow(name="x", to="a")])
    with pytest.raises(ValueError, match="at least 1"):
        FollowUps(workers=0)


def test_a_file_says_what_is_copied() -> None:
    gateway = Gateway.from_config(
        {
            "model_list": [
                {"model_name": "fast", "litellm_params": {"model": "openai/gpt-4o-mini", "api_key": "sk-x"}},
                {"model_name": "new", "litellm_params": {"model": "openai/gpt-4o", "api_key": "sk-y"}},
            ],
            "shadow": {"to": "new", "sample": "5%", "when": {"team": ["search"]}, "deadline": "30s"},
        },
        transport=ScriptedProvider(),
    )
    traffic = next(one for _, one in gateway.plugins if isinstance(one, ShadowTraffic))
    (shadow,) = traffic.shadows
    assert (shadow.name, shadow.to, shadow.sample, shadow.deadline) == ("new", "new", 0.05, 30.0)
