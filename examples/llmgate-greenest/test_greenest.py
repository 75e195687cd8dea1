# ruff: noqa: S101 - pytest asserts
"""What the preference, the constraint and an experiment with both promise."""

from __future__ import annotations

from typing import Any

import pytest
from llmgate_greenest import Greenest

from llmgate_plugins import AllDeploymentsUnavailable, Context, Deployment, Gateway
from llmgate_plugins.testing import FACES, PluginContract, ScriptedProvider, ask


class TestGreenest(PluginContract):
    """What every plugin must hold to, failures, cancellations and threads included."""

    def make_plugin(self) -> Greenest:
        return Greenest({"se": 0.1})


def entry(id: str, **info: Any) -> dict[str, Any]:
    params = {"model": "openai/gpt-4o-mini", "api_key": "none"}
    return {"model_name": "fast", "litellm_params": params, "model_info": {"id": id, **info}}


MODELS = [
    entry("coal", gco2_per_1k=9),
    entry("silent"),
    entry("wind", gco2_per_1k=0.2),
    entry("water", region="se"),
]


def gateway_with(**sections: Any) -> Gateway:
    return Gateway.from_config(
        {"model_list": MODELS, **sections}, plugins=[Greenest({"se": 0.1})], transport=ScriptedProvider()
    )


def order(gateway: Gateway) -> list[str]:
    return list(gateway.decisions[-1].selections[0].order)


@pytest.mark.parametrize("face", FACES)
def test_the_greenest_comes_first_and_who_says_nothing_last(face: str) -> None:
    gateway = gateway_with(policies={"default": {"prefer": "greenest"}})
    assert ask(face, gateway).text == "ok"
    assert order(gateway) == ["water", "wind", "coal", "silent"]


def test_it_is_one_preference_among_others() -> None:
    gateway = gateway_with(policies={"default": {"prefer": {"greenest": 0.9, "cheapest": 0.1}}})
    ask("sync", gateway)
    assert order(gateway)[0] == "water"


@pytest.mark.parametrize("face", FACES)
def test_what_emits_more_than_the_policy_allows_serves_no_call(face: str) -> None:
    bound = {"require": {"own": {"max_gco2": 1}}, "prefer": "ordered"}
    gateway = gateway_with(policies={"default": bound})
    assert ask(face, gateway).text == "ok"
    assert order(gateway) == ["wind", "water"]
    dropped = gateway.decisions[-1].selections[0].dropped
    assert dropped == {"coal": ("gco2", "Greenest"), "silent": ("gco2", "Greenest")}


def test_of_several_policies_every_bound_holds() -> None:
    policies = {
        "default": {"require": {"own": {"max_gco2": 1}}},
        "greener": {"require": {"own": {"max_gco2": 0.05}}},
    }
    gateway = gateway_with(policies=policies, rules=[{"when": {"tag:green": "1"}, "use": "greener"}])
    told = ask("sync", gateway, tags={"green": "1"})
    assert isinstance(told.error, AllDeploymentsUnavailable)


def test_a_share_of_the_calls_tries_it_out() -> None:
    experiment = {
        "arms": [{"name": "control", "weight": 0.5}, {"name": "green", "weight": 0.5, "policy": "green"}]
    }
    gateway = gateway_with(
        policies={"default": {"prefer": "ordered"}, "green": {"prefer": "greenest"}},
        experiments={"greener": {"by": "user", **experiment}},
    )
    served: dict[str, set[str | None]] = {}
    for number in range(40):
        ask("sync", gateway, context=Context(user=f"u{number}"))
        record = gateway.decisions[-1]
        served.setdefault(record.experiments["greener"], set()).add(record.served_by)
    assert served == {"control": {"coal"}, "green": {"water"}}


def test_a_deployment_may_be_made_by_hand() -> None:
    wind = Deployment(id="wind", alias="fast", provider="p", model="m", info={"gco2_per_1k": 0.2})
    assert Greenest().grams(wind) == 0.2
