"""Policies that hand calls on: by weight, by a stable key, in order, and never out of what they require."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from support.faces import ask, every_face
from support.gateways import deployment, scene
from support.values import a_call, a_deployment, a_request

from llmgate_plugins.context import Call, Context
from llmgate_plugins.errors import RequestDenied
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.plugins import Budget, Limits, Policies
from llmgate_plugins.plugins.limits import Instead
from llmgate_plugins.plugins.policies import POLICY
from llmgate_plugins.policies import Policy, Target, settled
from llmgate_plugins.types import Price
from llmgate_plugins.windows import Calendar

NOBODY = Context()
EU = a_deployment("eu", region="eu", provider="openai")
US = a_deployment("us", region="us", provider="anthropic")
BOTH = (EU, US)

SPLIT: dict[str, dict[str, Any]] = {
    "default": {"targets": [{"policy": "eu", "weight": 0.75}, {"policy": "us", "weight": 0.25}]},
    "eu": {"region": ["eu"]},
    "us": {"region": ["us"]},
}


def led(
    policies: Policies, number: int = 0, context: Context = NOBODY, given: Any = BOTH
) -> tuple[str, list[str]]:
    call = a_call(a_request(), context)
    call.id = f"call-{number}"
    policies.admit_request(call.request, context, call)
    drop = policies.narrow_deployments(given, context, call)
    left = [one.id for one in given if drop is None or one.id not in drop.reasons]
    return call.record.policy or "", left


def test_calls_are_drawn_by_weight_and_the_same_call_draws_the_same() -> None:
    policies = Policies(SPLIT)
    drawn = Counter(led(policies, number)[0] for number in range(4_000))
    assert 0.72 < drawn["eu"] / 4_000 < 0.78
    assert [led(policies, number) for number in range(50)] == [
        led(Policies(SPLIT), number) for number in range(50)
    ]
    assert {led(policies, number) for number in range(0)} == set()
    assert all(left == [policy] for policy, left in (led(policies, number) for number in range(50)))


def test_by_a_stable_key_everybody_stays_where_they_are() -> None:
    policies = Policies({**SPLIT, "default": {**SPLIT["default"], "by": "user"}})
    users = [Context(user=f"u{number}") for number in range(400)]
    first = [led(policies, 1, user)[0] for user in users]
    assert [led(policies, 2, user)[0] for user in users] == first
    assert 0.65 < first.count("eu") / 400 < 0.85
    assert len({led(policies, number)[0] for number in range(40)}) == 2  # nobody: drawn by the call


def test_only_those_move_that_must_when_weights_change() -> None:
    before = Policies({**SPLIT, "default": {**SPLIT["default"], "by": "user"}})
    targets = [{"policy": "eu", "weight": 0.5}, {"policy": "us", "weight": 0.5}]
    after = Policies({**SPLIT, "default": {"targets": targets, "by": "user"}})
    users = [Context(user=f"u{number}") for number in range(400)]
    moves = Counter((led(before, 0, user)[0], led(after, 0, user)[0]) for user in users)
    assert moves["us", "eu"] == 0
    assert moves["eu", "us"] > 50


def test_a_target_that_has_nobody_left_is_passed_over() -> None:
    assert all(led(Policies(SPLIT), number, given=(US,)) == ("us", ["us"]) for number in range(20))
    nobody = {"default": {"targets": [{"policy": "eu", "weight": 1.0}]}, "eu": {"region": ["eu"]}}
    assert led(Policies(nobody), given=(US,)) == ("eu", [])


def test_a_target_of_weight_0_gets_nothing() -> None:
    targets = [{"policy": "eu", "weight": 0.0}, {"policy": "us", "weight": 1.0}]
    policies = Policies({**SPLIT, "default": {"targets": targets}})
    assert {led(policies, number)[0] for number in range(50)} == {"us"}


def test_in_order_the_first_that_has_an_eligible_deployment_is_taken() -> None:
    policies = Policies({**SPLIT, "default": {"targets": [{"policy": "eu"}, {"only": ["anthropic"]}]}})
    assert led(policies) == ("eu", ["eu"])
    assert led(policies, given=(US,)) == ("default", ["us"])  # part of it: in its own name


def test_what_a_policy_requires_holds_for_all_it_leads_to() -> None:
    policies = Policies(
        {
            "default": {"region": ["eu"], "prefer": "ordered", "targets": [{"policy": "inner", "weight": 1}]},
            "inner": {"targets": [{"policy": "open"}]},
            "open": {},
        }
    )
    assert led(policies) == ("open", ["eu"])
    call = a_call()
    policies.admit_request(call.request, NOBODY, call)
    assert call.record.notes["policies"] == ["default", "inner", "open"]
    assert [one.name for one in call.policies] == ["default", "inner", "open"]


def test_a_target_that_may_not_have_such_data_is_passed_over_and_without_another_the_call_is_denied() -> None:
    policies = Policies(
        {
            "default": {"targets": [{"policy": "public"}, {"policy": "private"}]},
            "public": {"data_class": ["public"]},
            "private": {"data_class": ["pii"]},
        }
    )
    assert led(policies, context=Context(data_class="public"))[0] == "public"
    assert led(policies, context=Context(data_class="pii"))[0] == "private"
    with pytest.raises(RequestDenied) as denied:
        led(policies, context=Context(data_class="secret"))
    assert denied.value.code == "data_class"


def test_a_call_that_goes_on_under_another_policy_is_led_from_there_and_bound_as_before() -> None:
    policies = Policies({**SPLIT, "default": {"region": ["eu"]}, "split": SPLIT["default"]})
    call = a_call()
    policies.admit_request(call.request, NOBODY, call)
    call.stash[POLICY] = "split"
    drop = policies.narrow_deployments(BOTH, NOBODY, call)
    assert drop is not None
    assert drop.reasons == {"us": "region"}
    assert call.record.notes["policies"] == ["default", "split", "eu"]
    call.stash[POLICY] = "private"
    with pytest.raises(RequestDenied):
        policies.narrow_deployments(BOTH, NOBODY, call)


def test_data_that_the_other_policy_may_not_have_is_denied_there_too() -> None:
    policies = Policies({"default": {}, "public": {"data_class": ["public"]}})
    call = a_call()
    policies.admit_request(call.request, NOBODY, call)
    call.stash[POLICY] = "public"
    with pytest.raises(RequestDenied) as denied:
        policies.narrow_deployments(BOTH, NOBODY, call)
    assert denied.value.code == "data_class"


class Words:
    """Reads what policies ask for in words of its own, wherever it stands among the plugins."""

    def __init__(self) -> None:
        self.seen: list[list[Any]] = []

    @hookimpl
    def narrow_deployments(self, call: Call) -> None:
        self.seen.append([policy.own.get("word") for policy in call.policies])


@every_face
def test_a_plugin_before_the_policies_sees_those_that_hold_now(face: str) -> None:
    policies = Policies(
        {
            "default": {"own": {"word": 1}, "targets": [{"policy": "eu"}, {"policy": "any"}]},
            "eu": {"region": ["eu"], "own": {"word": 2}},
            "any": {"own": {"word": 3}},
        }
    )
    words = Words()
    stage = scene({"a": ["hello"]}, words, policies, deployments=[deployment("a", region="us")])
    assert ask(face, stage.gateway).text == "hello"
    assert words.seen == [[1, 3]]


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("policies", "why"),
    [
        ({"a": {"targets": [{"policy": "b"}]}, "b": {"targets": [{"policy": "a"}]}}, "circle: a -> b -> a"),
        ({"a": {"targets": [{"policy": "a"}]}}, "circle: a -> a"),
        ({"a": {"targets": [{"policy": "lost"}]}}, "'a': no policy 'lost'"),
        ({"a": {"targets": [{"policy": "b", "weight": 0.5}]}, "b": {}}, "weights of targets must sum to 1"),
        (
            {"a": {"targets": [{"policy": "b", "weight": 1}, {"policy": "b"}]}, "b": {}},
            "all targets have a weight",
        ),
        ({"a": {"targets": [{}]}}, "either a policy or"),
        ({"a": {"by": "shoe_size"}}, "by must be one of"),
    ],
)
def test_targets_that_make_no_sense_are_refused(policies: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Policies(policies)


def test_thirds_may_be_written_as_they_can_be() -> None:
    third = 1 / 3
    Policy(
        targets=[
            Target(only=["a"], weight=third),
            Target(only=["b"], weight=third),
            Target(only=["c"], weight=third),
        ]
    )
    Policy(prefer={"cheapest": 0.333333, "fastest": 0.333333, "most_reliable": 0.333334})


# ---------------------------------------------------------------- versions


def version(name: str, policies: dict[str, dict[str, Any]]) -> str | None:
    return settled({key: Policy(**one) for key, one in policies.items()})[name].version


def test_a_version_changes_with_all_that_a_policy_refers_to_and_with_nothing_else() -> None:
    inner = {**SPLIT, "outer": {"targets": [{"policy": "default"}]}}
    before = version("outer", inner)
    assert before == version("outer", {**inner, "another": {"prefer": "ordered"}})
    assert before != version("outer", {**inner, "eu": {"region": ["eu", "ch"]}})
    assert version("default", inner) != version(
        "default", {**inner, "us": {"region": ["us"], "version": "2"}}
    )
    assert version("eu", inner) == version("eu", {**inner, "us": {"region": ["ca"]}})
    named = {**inner, "outer": {**inner["outer"], "version": "7"}}
    assert version("outer", named) == "7"


def test_a_policy_that_says_the_same_has_the_same_version_whatever_it_is_called() -> None:
    assert Policy(region=["eu"], name="a").version == Policy(region=["eu"], name="b").version
    assert (
        Policy(max_price={"input": 1, "output": 2}).version
        == Policy(max_price={"output": 2, "input": 1}).version
    )
    assert Policy(region=["eu"]).version != Policy(region=["us"]).version


@every_face
def test_the_version_of_the_policy_that_was_applied_stands_in_every_row(face: str) -> None:
    policies = Policies(
        {
            "default": {"targets": [{"policy": "slow", "weight": 1}]},
            "slow": {"prefer": "ordered", "version": "3"},
        }
    )
    script = {"a": ["hello"], "b": ["hello"]}
    stage = scene(script, policies, deployments=[deployment("a"), deployment("b")])
    ask(face, stage.gateway, "fast", "hi")
    rows = [*stage.ledger.attempts(), *stage.ledger.calls()]
    assert {(row["policy"], row["policy_version"]) for row in rows} == {("slow", "3")}


@every_face
def test_a_budget_that_leads_to_another_policy_books_that_one(face: str) -> None:
    policies = Policies(
        {
            "default": {"version": "1", "prefer": "ordered"},
            "thrifty": {"version": "2", "targets": [{"only": ["b"], "weight": 1}]},
        }
    )
    budget = Budget("global", 1, Calendar("day"), on_exhausted=Instead(policy="thrifty"))
    stage = scene(
        {"a": ["dear"], "b": ["cheap"]},
        policies,
        Limits([budget]),
        deployments=[deployment("a"), deployment("b", price=Price())],
    )
    told = ask(face, stage.gateway, "fast", "hi")
    assert told.text == "cheap"
    assert stage.sent == ["b"]
    assert [row["policy_version"] for row in stage.ledger.calls()] == ["2"]
