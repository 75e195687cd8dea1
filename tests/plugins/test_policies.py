"""Named policies: picked by the trusted context, failing closed."""

from __future__ import annotations

from typing import Any

import pytest
from support.choosing import Choosing
from support.values import DEAR, a_call, a_deployment, a_request, some_services

from llmgate_plugins.context import Context
from llmgate_plugins.decisions import Drop
from llmgate_plugins.errors import RequestDenied
from llmgate_plugins.plugins import InOrder, Policies, Policy
from llmgate_plugins.plugins.failover import MOST_ATTEMPTS
from llmgate_plugins.plugins.policies import POLICY
from llmgate_plugins.types import Price, Request

EU = a_deployment("eu", provider="openai", model="m", region="eu", capabilities=frozenset({"tools"}))
US = a_deployment("us", provider="anthropic", region="us", price=DEAR)
PLAIN = a_deployment("plain", price=Price(input=1, output=1))
ALL = (EU, US, PLAIN)
NOBODY = Context()


def admitted(policies: Policies, context: Context = NOBODY, **fields: Any) -> Request | None:
    request = a_request(**fields)
    return policies.admit_request(request, context, a_call(request, context))


def dropped(context: Context = NOBODY, **policy: Any) -> dict[str, str]:
    drop = Policies({"default": policy}).narrow_deployments(ALL, context, a_call())
    return dict(drop.reasons) if drop else {}


def order(policies: Policies, context: Context = NOBODY) -> list[str] | None:
    ranking = policies.rank_deployments(a_request(), ALL, context, a_call(), some_services())
    return [one.id for one in ranking.order] if ranking else None


def test_what_is_not_declared_is_not_good_enough() -> None:
    assert dropped(region=["eu"]) == {"us": "region", "plain": "region"}
    assert dropped(capabilities=["tools"]) == {"us": "capability", "plain": "capability"}
    assert dropped(provider=["openai"]) == {"us": "provider", "plain": "provider"}


def test_only_and_ignore_name_ids_providers_or_models() -> None:
    assert dropped(only=["us", "openai/m"]) == {"plain": "not_in_policy"}
    assert dropped(ignore=["anthropic", "plain"]) == {"us": "ignored", "plain": "ignored"}
    assert dropped(prefer="ordered") == {}


def test_the_context_picks_the_policy() -> None:
    policies = Policies({"default": Policy(region=["us"]), "support": Policy(region=["eu"])})
    support = Context(policy="support")
    assert policies.narrow_deployments(ALL, support, a_call()) == Drop({"us": "region", "plain": "region"})
    assert policies.narrow_deployments(ALL, NOBODY, a_call()) == Drop({"eu": "region", "plain": "region"})
    assert policies.narrow_deployments((US,), NOBODY, a_call()) is None


def test_an_unknown_policy_is_denied_wherever_it_is_met() -> None:
    policies = Policies({"default": Policy()})
    lost = Context(policy="defualt")
    for ask in (
        lambda: admitted(policies, lost),
        lambda: policies.narrow_deployments(ALL, lost, a_call()),
        lambda: order(policies, lost),
    ):
        with pytest.raises(RequestDenied, match="defualt"):
            ask()


def test_without_a_default_policy_calls_go_unruled() -> None:
    policies = Policies({"support": Policy(region=["eu"])})
    assert admitted(policies) is None
    assert policies.narrow_deployments(ALL, NOBODY, a_call()) is None
    assert order(policies) is None


def test_tags_pick_no_policy() -> None:
    policies = Policies({"open": Policy(), "default": Policy(data_class=["public"])})
    with pytest.raises(RequestDenied):
        admitted(policies, tags={"policy": "open"})


def test_data_of_another_class_or_of_none_is_denied() -> None:
    policies = Policies({"default": Policy(data_class=["public"])})
    assert admitted(policies, Context(data_class="public")) is None
    for context in (Context(data_class="pii"), NOBODY):
        with pytest.raises(RequestDenied) as denied:
            admitted(policies, context)
        assert denied.value.code == "data_class"


def test_fallbacks_and_deadline_come_from_the_policy() -> None:
    policies = Policies({"default": Policy(fallback_to=["strong"], deadline=30.0)})
    request = admitted(policies)
    assert request is not None
    assert (request.fallbacks, request.timeout) == (("strong",), 30.0)


def test_the_applications_fallbacks_stay_and_a_shorter_time_stays() -> None:
    policies = Policies({"default": Policy(fallback_to=["strong"], deadline=30.0)})
    assert admitted(policies, fallbacks=(), timeout=5.0) is None
    longer = admitted(policies, fallbacks=(), timeout=50.0)
    assert longer is not None
    assert (longer.fallbacks, longer.timeout) == ((), 30.0)


def test_the_most_attempts_are_left_for_failover() -> None:
    policies = Policies({"default": Policy(max_attempts=2)})
    call = a_call()
    policies.admit_request(call.request, NOBODY, call)
    assert call.stash[MOST_ATTEMPTS] == 2


def test_each_preference_ranks_in_its_own_way() -> None:
    def preferring(prefer: Any) -> list[str] | None:
        return order(Policies({"default": Policy(prefer=prefer)}))

    assert preferring("ordered") == ["eu", "us", "plain"]
    assert preferring("cheapest") == ["plain", "us", "eu"]
    assert sorted(preferring("weighted") or []) == ["eu", "plain", "us"]
    assert preferring(None) is None


def test_the_fastest_is_learned_from_what_every_call_saw() -> None:
    policies = Policies({"default": Policy(), "quick": Policy(prefer="fastest", p95=1.0)})
    seen = Choosing(InOrder())
    for deployment, latency in ((EU, 3.0), (US, 0.5), (PLAIN, 0.8)):
        seen.saw(deployment, latency)
    ranking = policies.rank_deployments(a_request(), ALL, Context(policy="quick"), a_call(), seen.services)
    assert ranking is not None
    assert [one.id for one in ranking.order] == ["us", "plain", "eu"]


@pytest.mark.parametrize(
    ("policy", "named"),
    [
        ({"prefer": {"cheapest": 0.5, "fastest": 0.3}}, "prefer must sum to 1, not to 0.8"),
        ({"region": "eu"}, "region"),
        ({"deadline": 0}, "deadline"),
        ({"p95": -1}, "p95"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"regoin": ["eu"]}, "regoin"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_by_name(policy: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=f"'mine'.*{named}"):
        Policies({"mine": policy})


def test_a_call_that_goes_on_under_another_policy_is_still_bound_by_its_own() -> None:
    policies = Policies(
        {"default": {"region": ["eu"]}, "thrifty": {"prefer": "cheapest", "ignore": ["plain"]}}
    )
    call = a_call()
    call.stash[POLICY] = "thrifty"
    drop = policies.narrow_deployments(ALL, NOBODY, call)
    assert drop is not None
    assert drop.reasons == {"us": "region", "plain": "region"}
    ranking = policies.rank_deployments(a_request(), ALL, NOBODY, call, some_services())
    assert ranking is not None
    assert ranking.reason.startswith("cheapest first")
    assert call.record.policy == "thrifty"
    call.stash[POLICY] = "lost"
    with pytest.raises(RequestDenied):
        policies.narrow_deployments(ALL, NOBODY, call)
