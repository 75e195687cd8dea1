"""What another policy would have done is recorded, and changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
from support.faces import every_face
from support.gateways import PRICE, Scene, deployment

from llmgate_plugins import Context, Gateway, Price
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.plugins import Policies
from llmgate_plugins.plugins.shadow import ShadowPolicies, ShadowPolicy
from llmgate_plugins.testing import Fault, ScriptedProvider, ask

DEAR = Price(input=9_000_000, output=9_000_000)
FLEET = (
    deployment("dear", price=DEAR, region="eu"),
    deployment("cheap", price=PRICE, region="us"),
)
POLICIES = {
    "default": {"prefer": "ordered"},
    "saving": {"prefer": "cheapest"},
    "european": {"region": ["eu"]},
    "closed": {"data_class": ["public"]},
}


def a_scene(policy: str = "saving", *plugins: object, **options: Any) -> Scene:
    asked = ShadowPolicies([ShadowPolicy(policy=policy, **options)])
    return Scene({"dear": ["hello"], "cheap": ["hello"]}, [*plugins, asked, Policies(POLICIES)], FLEET)


@every_face
def test_the_other_choice_stands_beside_the_real_one(face: str) -> None:
    scene = a_scene()
    record = ask(face, scene.gateway).record
    assert record.served_by == "dear"
    assert record.policy == "default"
    note = record.notes["shadow_policy"]
    (found,) = note["selections"]
    assert (note["policy"], found["first"], found["real_first"]) == ("saving", "cheap", "dear")
    assert found["expected_nano_usd"] < found["real_expected_nano_usd"]


def test_whom_it_would_have_dropped_is_told_by_reason() -> None:
    record = ask("sync", a_scene("european").gateway).record
    (found,) = record.notes["shadow_policy"]["selections"]
    assert (found["first"], found["dropped"]) == ("dear", {"region": 1})
    assert record.selections[0].dropped == {}


def test_a_policy_that_would_have_denied_the_call_denies_nothing() -> None:
    told = ask("sync", a_scene("closed").gateway, context=Context(data_class="pii"))
    assert told.text == "hello"
    assert "RequestDenied" in told.record.notes["shadow_policy"]["error"]
    assert told.record.problems == []


def test_nobody_is_told_of_it_but_those_who_choose_and_they_know_that_it_is_no_call() -> None:
    seen: list[tuple[str, bool]] = []

    class Looks:
        @hookimpl
        def narrow_deployments(self, call: Any) -> None:
            seen.append(("narrow", call.hypothetical))

        @hookimpl
        def begin_attempt(self, call: Any) -> None:
            seen.append(("begin", call.hypothetical))

    scene = a_scene("saving", Looks())
    ask("sync", scene.gateway)
    assert seen == [("narrow", True), ("narrow", False), ("begin", False)]
    assert len(scene.gateway.decisions) == 1
    assert len(scene.ledger.calls()) == 1


def test_the_real_choice_is_the_same_with_it_and_without() -> None:
    """The same draws, the same exploration, the same learning, whatever the second policy prefers."""

    def served(*plugins: object) -> list[str | None]:
        policies = {"default": {"prefer": "weighted"}, "quick": {"prefer": "fastest"}}
        scene = Scene(
            {"dear": ["hello"], "cheap": ["hello", Fault("server")]}, [*plugins, Policies(policies)], FLEET
        )
        for _ in range(60):
            ask("sync", scene.gateway)
            scene.clock.advance(0.5)
        return [record.served_by for record in scene.gateway.decisions]

    assert served(ShadowPolicies([ShadowPolicy(policy="quick")])) == served()

    def quickest(*plugins: object) -> list[str | None]:
        policies = {"default": {"prefer": "fastest"}, "other": {"prefer": "fastest"}}
        scene = Scene({"dear": ["hello"], "cheap": ["hello"]}, [*plugins, Policies(policies)], FLEET)
        for _ in range(30):
            ask("sync", scene.gateway)
            scene.clock.advance(20)
        return [record.served_by for record in scene.gateway.decisions]

    assert quickest(ShadowPolicies([ShadowPolicy(policy="default")])) == quickest()


def test_it_is_asked_for_a_sample_and_where_its_conditions_hold() -> None:
    scene = a_scene("saving", sample=0.25, when={"team": "search"})
    for place in range(80):
        scene.gateway.complete("fast", "x", context=Context(team="search"), call_id=f"s{place}")
        scene.gateway.complete("fast", "x", call_id=f"n{place}")
    noted = [record.call_id for record in scene.gateway.decisions if "shadow_policy" in record.notes]
    assert 8 < len(noted) < 36
    assert all(name.startswith("s") for name in noted)
    with pytest.raises(ValueError, match="share between 0 and 1"):
        ShadowPolicy(policy="saving", sample=2)


def test_a_file_says_which_policy_is_asked() -> None:
    entry = {"model_name": "fast", "litellm_params": {"model": "openai/gpt-4o-mini", "api_key": "sk-x"}}
    gateway = Gateway.from_config(
        {
            "model_list": [entry],
            "policies": {"default": {"prefer": "ordered"}, "new": {"prefer": "cheapest"}},
            "shadow_policy": {"policy": "new", "sample": "10%"},
        },
        transport=ScriptedProvider(),
    )
    asked = next(one for _, one in gateway.plugins if isinstance(one, ShadowPolicies))
    assert [(one.policy, one.sample) for one in asked.policies] == [("new", 0.1)]
