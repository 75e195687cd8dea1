"""Whatever a caller's tags, a budget or an arm lead to: nobody serves who could not serve without."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support.values import a_call, a_deployment, a_request

from llmgate_plugins.context import Context
from llmgate_plugins.errors import RequestDenied
from llmgate_plugins.plugins import Policies
from llmgate_plugins.plugins.policies import POLICY

REGIONS, PROVIDERS, TERMS = ("eu", "us"), ("openai", "mistral"), ("no_retention", "no_training")
CLASSES = ("pii", "public")

DEPLOYMENTS = st.lists(
    st.fixed_dictionaries(
        {
            "region": st.sampled_from([*REGIONS, None]),
            "provider": st.sampled_from(PROVIDERS),
            "terms": st.frozensets(st.sampled_from(TERMS)),
            "data_classes": st.none() | st.frozensets(st.sampled_from(CLASSES)),
        }
    ),
    min_size=1,
    max_size=5,
).map(lambda given: tuple(a_deployment(f"d{place}", **one) for place, one in enumerate(given)))

CONSTRAINTS = st.fixed_dictionaries(
    {},
    optional={
        "region": st.lists(st.sampled_from(REGIONS), max_size=2),
        "ignore": st.lists(st.sampled_from(PROVIDERS), max_size=1),
        "terms": st.lists(st.sampled_from(TERMS), max_size=1),
        "cleared": st.booleans(),
        "data_class": st.lists(st.sampled_from(CLASSES), max_size=2),
        "prefer": st.just("ordered"),
    },
)


@st.composite
def all_policies(draw: st.DrawFn) -> dict[str, dict[str, Any]]:
    """Some policies, of which the later ones may hand calls on to former ones."""
    policies: dict[str, dict[str, Any]] = {}
    for name in ("a", "b", "default"):
        policy = draw(CONSTRAINTS)
        if policies and draw(st.booleans()):
            targets: list[dict[str, Any]] = [
                {"policy": draw(st.sampled_from(sorted(policies)))},
                {"only": ["openai"]},
            ]
            if draw(st.booleans()):
                targets = [{**targets[0], "weight": 0.25}, {**targets[1], "weight": 0.75}]
            policy["targets"] = targets
        policies[name] = policy
    return policies


NAMES = st.sampled_from(["a", "b", "default"])
CONDITIONS = st.sampled_from(
    [{}, {"tag:x": "1"}, {"tag:x": {"not": "1"}}, {"team": "t"}, {"team": "t", "tag:y": "*"}, "tags.x == '1'"]
)
RULES = st.lists(st.fixed_dictionaries({"when": CONDITIONS, "use": NAMES}), max_size=4)
CONTEXTS = st.builds(Context, team=st.sampled_from(["t", None]), data_class=st.sampled_from([*CLASSES, None]))
TAGS = st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["1", "2"]))


def left(
    policies: Policies, deployments: Any, context: Context, tags: dict[str, str], instead: str | None = None
) -> set[str]:
    call = a_call(a_request(tags=tags), context)
    try:
        policies.admit_request(call.request, context, call)
        if instead is not None:
            call.stash[POLICY] = instead
        drop = policies.narrow_deployments(deployments, context, call)
    except RequestDenied:
        return set()
    return {one.id for one in deployments} - set(drop.reasons if drop else ())


@given(all_policies(), RULES, DEPLOYMENTS, CONTEXTS, TAGS)
def test_no_tag_widens(
    policies: dict[str, Any], rules: list[Any], deployments: Any, context: Context, tags: dict[str, str]
) -> None:
    trusted = [
        rule
        for rule in rules
        if isinstance(rule["when"], dict) and not any(":" in fact for fact in rule["when"])
    ]
    without = left(Policies(policies, trusted), deployments, context, {})
    assert left(Policies(policies, rules), deployments, context, tags) <= without


@given(all_policies(), RULES, DEPLOYMENTS, CONTEXTS, TAGS, NAMES)
def test_no_policy_that_a_call_goes_on_under_widens(
    policies: dict[str, Any],
    rules: list[Any],
    deployments: Any,
    context: Context,
    tags: dict[str, str],
    instead: str,
) -> None:
    made = Policies(policies, rules)
    assert left(made, deployments, context, tags, instead) <= left(made, deployments, context, tags)


def test_a_rule_that_fails_does_not_lead_the_policy_elsewhere() -> None:
    policies = {
        "default": {"targets": [{"policy": "eu"}, {"policy": "us"}]},
        "eu": {"region": ["eu"]},
        "us": {"region": ["us"]},
    }
    both = (a_deployment("eu", region="eu"), a_deployment("us", region="us"))
    rules = [{"when": "tags.x == '1'", "use": "us"}]
    assert left(Policies(policies), both, Context(), {}) == {"eu"}
    assert left(Policies(policies, rules), both, Context(), {}) == set()
