"""Rules: the first that matches wins, and what a caller can choose may only narrow."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.values import a_call, a_deployment, a_request
from support.yardstick import in_empty_calls

from llmgate_plugins.context import Context
from llmgate_plugins.plugins import Policies
from llmgate_plugins.policies import Rule, Rules
from llmgate_plugins.policies.conditions import Condition, condition_of
from llmgate_plugins.policies.facts import DECLARED

NOBODY = Context()
EU = a_deployment("eu", region="eu", terms=frozenset({"no_retention"}))
US = a_deployment("us", region="us")
ALL = (EU, US)


def chosen(rules: list[dict[str, Any]], context: Context = NOBODY, **request: Any) -> str | None:
    match = Rules([Rule(**one) for one in rules], {"quick": "fast"}).match(a_request(**request), context)
    return match.further or match.base


def after_admission(policies: Policies, context: Context = NOBODY, **fields: Any) -> Any:
    request = a_request(**fields)
    call = a_call(request, context)
    admitted = policies.admit_request(request, context, call)
    if admitted is not None:
        call.request = admitted
    return call


def left(policies: Policies, context: Context = NOBODY, **fields: Any) -> list[str]:
    call = after_admission(policies, context, **fields)
    drop = policies.narrow_deployments(ALL, context, call)
    return [one.id for one in ALL if drop is None or one.id not in drop.reasons]


def test_the_first_rule_that_matches_wins() -> None:
    rules = [
        {"when": {"team": "search", "environment": "prod"}, "use": "a"},
        {"when": {"team": ["search", "ads"]}, "use": "b"},
        {"when": {}, "use": "c"},
    ]
    assert chosen(rules, Context(team="search", environment="prod")) == "a"
    assert chosen(rules, Context(team="search", environment="dev")) == "b"
    assert chosen(rules, Context(team="ads")) == "b"
    assert chosen(rules) == "c"
    assert chosen(rules[:2]) is None


@pytest.mark.parametrize("fact", [name for name in DECLARED if name != "priority"])
def test_every_fact_of_the_context_can_be_asked_for(fact: str) -> None:
    rules = [{"when": {fact: "x"}, "use": "a"}]
    assert chosen(rules, Context(**{fact: "x"})) == "a"
    assert chosen(rules, Context(**{fact: "y"})) is None
    assert chosen(rules) is None


def test_what_the_application_asks_for_can_be_asked_for_too() -> None:
    rules = [
        {"when": {"alias": "fast", "stream": True}, "use": "streams"},
        {"when": {"operation": "embedding"}, "use": "vectors"},
        {"when": {"priority": 3}, "use": "urgent"},
        {"when": {"extra:plan": "gold"}, "use": "gold"},
    ]
    assert chosen(rules, model="quick", stream=True) == "streams"
    assert chosen(rules, model="fast", stream=False) is None
    assert chosen(rules, operation="embedding") == "vectors"
    assert chosen(rules, Context(priority=3)) == "urgent"
    assert chosen(rules, Context(extra={"plan": "gold"})) == "gold"


def test_patterns_and_exceptions() -> None:
    assert chosen([{"when": {"user": "test-*"}, "use": "a"}], Context(user="test-7")) == "a"
    assert chosen([{"when": {"user": "test-?"}, "use": "a"}], Context(user="test-77")) is None
    assert chosen([{"when": {"user": "u[1]*"}, "use": "a"}], Context(user="u[1]x")) == "a"
    others = [{"when": {"team": {"not": ["search", "ads-*"]}}, "use": "a"}]
    assert chosen(others, Context(team="ml")) == "a"
    assert chosen(others, Context(team="ads-eu")) is None
    assert chosen(others) == "a"  # nobody's is not the search team's either
    assert chosen([{"when": {"team": {"not": "*"}}, "use": "a"}], Context(team="ml")) is None


@pytest.mark.parametrize("written", [{"not": {"not": "a"}}, {"or": "a"}, [], None, [None], "", {"not": []}])
def test_what_is_no_condition_is_refused(written: Any) -> None:
    with pytest.raises(ValueError, match="must be"):
        Rules([Rule(use="x", when={"team": written}, name="mine")])


def test_a_rule_with_an_unknown_fact_or_policy_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="rule 1: there is no fact 'taem'"):
        Rules([Rule(use="x", when={"taem": "a"})])
    with pytest.raises(ValueError, match="mine: there is no policy called 'lost'"):
        Policies({"default": {}}, [Rule(use="lost", name="mine")])


WORDS = st.sampled_from(["a", "ab", "abc", "b", "ba"])
FORMS = st.sampled_from(["a", "b", "ab", "a*", "*b", "*", "?", "a?", "*a*"])
CONDITIONS = st.builds(
    lambda words, negated: condition_of({"not": words} if negated else words),
    st.lists(FORMS, min_size=1, max_size=3),
    st.booleans(),
)


@given(CONDITIONS, CONDITIONS, st.none() | WORDS)
def test_a_condition_that_covers_another_allows_whatever_that_allows(
    wide: Condition, narrow: Condition, value: str | None
) -> None:
    if wide.covers(narrow) and narrow.allows(value):
        assert wide.allows(value)


def as_written(one: Condition) -> Any:
    words = [*one.values, *one.patterns]
    return {"not": words} if one.negated else words


FACTS = st.dictionaries(st.sampled_from(["team", "user", "tag:job"]), CONDITIONS, max_size=2)


@given(st.lists(FACTS.map(lambda facts: {name: as_written(one) for name, one in facts.items()}), max_size=8))
def test_a_former_rule_that_covers_another_is_found_as_by_comparing_all(written: list[Any]) -> None:
    rules = Rules([Rule(use="x", when=when) for when in written])
    for place, rule in enumerate(rules.rules):
        compared = [before for before in range(place) if rules.rules[before].covers(rule)]
        assert rules.former(place) == (compared[0] if compared else None)


@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from(["team", "user", "tag:job"]), CONDITIONS, max_size=2), WORDS
        ),
        max_size=12,
    ),
    st.none() | WORDS,
    st.none() | WORDS,
    st.none() | WORDS,
)
def test_the_index_finds_what_reading_the_rules_one_by_one_finds(
    written: list[tuple[dict[str, Condition], str]], team: str | None, user: str | None, job: str | None
) -> None:
    rules = [
        Rule(use=f"{use}{place}", when={fact: as_written(one) for fact, one in conditions.items()})
        for place, (conditions, use) in enumerate(written)
    ]
    facts = {"team": team, "user": user, "tag:job": job}
    matching = [
        (rule.use, "tag:job" in rule.when)
        for rule, (conditions, _) in zip(rules, written, strict=True)
        if all(one.allows(facts[fact]) for fact, one in conditions.items())
    ]
    tags = {} if job is None else {"job": job}
    match = Rules(rules).match(a_request(tags=tags), Context(team=team, user=user))
    assert match.base == next((use for use, by_tag in matching if not by_tag), None)
    assert match.further == (matching[0][0] if matching and matching[0][1] else None)


# ---------------------------------------------------------------- who may choose


POLICIES: dict[str, dict[str, Any]] = {
    "default": {"prefer": "ordered", "region": ["eu"]},
    "open": {"fallback_to": ["strong"], "on_break": "restart"},
    "us": {"region": ["us"]},
}


def test_what_the_context_names_wins_over_rules_and_a_rule_over_the_default() -> None:
    policies = Policies(POLICIES, [{"when": {"team": "ml"}, "use": "us", "name": "ml is in the us"}])
    assert left(policies) == ["eu"]
    assert left(policies, Context(team="ml")) == ["us"]
    assert left(policies, Context(team="ml", policy="open")) == ["eu", "us"]
    record = after_admission(policies, Context(team="ml")).record
    assert (record.policy, record.rule) == ("us", "ml is in the us")
    assert after_admission(policies).record.rule is None


def test_a_rule_about_tags_narrows_and_widens_nothing() -> None:
    policies = Policies(
        POLICIES, [{"when": {"tag:job": "*"}, "use": "open"}, {"when": {"tag:us": "1"}, "use": "us"}]
    )
    call = after_admission(policies, tags={"job": "x"})
    assert [one.name for one in call.policies] == ["default", "open"]
    assert call.policy is not None
    assert (call.policy.name, call.record.policy, call.record.rule) == ("open", "open", "rule 1")
    assert call.record.notes["policies"] == ["default", "open"]
    assert left(policies, tags={"job": "x"}) == ["eu"]
    assert (call.request.fallbacks, call.request.on_break) == (None, None)
    assert left(policies, tags={"us": "1"}) == []


def test_what_a_tag_leads_to_stands_on_what_the_next_rule_without_tags_says() -> None:
    policies = Policies(
        POLICIES,
        [{"when": {"tag:job": "*"}, "use": "open"}, {"when": {"team": "ml"}, "use": "us"}],
    )
    assert left(policies, Context(team="ml"), tags={"job": "x"}) == ["us"]
    assert left(policies, Context(team="ads"), tags={"job": "x"}) == ["eu"]


def test_of_policies_that_hold_together_the_shortest_time_and_the_fewest_attempts_hold() -> None:
    policies = Policies(
        {"default": {"deadline": 30.0, "fallback_to": ["strong"]}, "slow": {"deadline": 90.0, "p95": 1.0}},
        [{"when": {"tag:slow": "*"}, "use": "slow"}],
    )
    request = after_admission(policies, tags={"slow": "1"}).request
    assert (request.timeout, request.fallbacks) == (30.0, ("strong",))


def test_without_rules_and_default_a_call_goes_unruled() -> None:
    policies = Policies({"us": {"region": ["us"]}}, [{"when": {"team": "ml"}, "use": "us"}])
    call = after_admission(policies)
    assert (call.policy, call.policies, call.record.policy) == (None, (), None)
    assert left(policies) == ["eu", "us"]


# ---------------------------------------------------------------- cost


def test_a_thousand_rules_cost_a_call_hardly_more_than_one() -> None:
    few = [Rule(when={"team": "t0", "environment": "prod"}, use="p")]
    many = [
        Rule(when={"team": f"t{place % 400}", "feature": f"f{place}", "environment": "prod"}, use="p")
        for place in range(900)
    ] + [Rule(when={"user": f"u{place}-*", "environment": {"not": "prod"}}, use="p") for place in range(100)]
    request, context = a_request(), Context(team="t7", feature="f807", environment="prod", user="u3-x")

    def cost(rules: Rules) -> float:
        assert rules.match(request, context)
        return in_empty_calls(lambda: rules.match(request, context), number=1_000)

    assert Rules(many).match(request, context).base == "p"
    assert cost(Rules(many)) < 400 + cost(Rules(few)), "looking at each of them takes thousands"
