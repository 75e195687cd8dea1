"""The plugins that narrow and rank: order, weights, price, speed, region, capabilities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.values import (
    a_call,
    a_deployment,
    a_request,
    some_services,
)

from llmgate_plugins.context import Context
from llmgate_plugins.decisions import Drop
from llmgate_plugins.plugins import Capabilities, ContextConstraints, InOrder, Weighted
from llmgate_plugins.plugins.preferences import Preferring
from llmgate_plugins.types import Deployment

UNUSED = some_services()
A, B, C = a_deployment("a"), a_deployment("b"), a_deployment("c")


def ids(ranking: Any) -> list[str]:
    return [one.id for one in ranking.order]


def rank(
    plugin: Preferring, deployments: Sequence[Deployment], call: str = "call", services: Any = None
) -> Any:
    asked, services = a_call(call_id=call), services or some_services()
    return plugin.rank_deployments(asked.request, deployments, asked.context, asked, services)


def test_in_order_keeps_the_configured_order() -> None:
    assert ids(rank(InOrder(), (B, A, C))) == ["b", "a", "c"]


def test_each_is_first_as_often_as_its_weight_says() -> None:
    plugin = Weighted({"a": 6, "b": 3, "c": 1})
    firsts = Counter(ids(rank(plugin, (A, B, C), str(n), UNUSED))[0] for n in range(10_000))
    for id, share in (("a", 0.6), ("b", 0.3), ("c", 0.1)):
        assert firsts[id] / 10_000 == pytest.approx(share, abs=0.02)


def test_the_second_place_is_drawn_by_weight_from_the_rest() -> None:
    plugin = Weighted({"a": 98, "b": 3, "c": 1})
    orders = [ids(rank(plugin, (A, B, C), str(n), UNUSED)) for n in range(10_000)]
    seconds = Counter(order[1] for order in orders if order[0] == "a")
    assert seconds["b"] / seconds.total() == pytest.approx(0.75, abs=0.02)


def test_weights_come_from_the_deployments_unless_given() -> None:
    heavy, light = a_deployment("heavy", weight=9.0), a_deployment("light", weight=1.0)
    for plugin, share in ((Weighted(), 0.9), (Weighted({"heavy": 1}), 0.5)):
        firsts = Counter(ids(rank(plugin, (heavy, light), str(n), UNUSED))[0] for n in range(5_000))
        assert firsts["heavy"] / 5_000 == pytest.approx(share, abs=0.03)


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 100.0]), min_size=0, max_size=80), st.integers(0, 2**32))
def test_it_is_a_permutation_with_weightless_ones_last(weights: list[float], seed: int) -> None:
    deployments = tuple(a_deployment(str(n), weight=weight) for n, weight in enumerate(weights))
    ranking = rank(Weighted(), deployments, str(seed))
    rest = deployments if ranking.rest is None else ranking.rest
    order = [*ranking.order, *(one for one in rest if one not in set(ranking.order))]
    assert sorted(one.id for one in order) == sorted(one.id for one in deployments)
    assert len(set(order)) == len(deployments)
    zeros = [one.weight == 0 for one in order]
    assert zeros == sorted(zeros)


def test_many_deployments_are_drawn_by_weight_too() -> None:
    many = tuple(a_deployment(str(n), weight=900.0 if n == 57 else 1.0) for n in range(100))
    plugin = Weighted()
    firsts = Counter(ids(rank(plugin, many, str(n), UNUSED))[0] for n in range(4_000))
    assert firsts["57"] / 4_000 == pytest.approx(0.9, abs=0.02)


def test_the_same_calls_draw_the_same_orders_wherever_they_are_asked() -> None:
    def orders(name: str, seed: int) -> list[list[str]]:
        services, plugin = some_services(seed), Weighted()
        return [ids(rank(plugin, (A, B, C), f"{name}{n}", services)) for n in range(20)]

    assert orders("x", 7) == orders("x", 8) != orders("y", 7)


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf"), "1", True])
def test_a_weight_that_makes_no_sense_is_refused_by_name(weight: Any) -> None:
    with pytest.raises(ValueError, match="'a'"):
        Weighted({"a": weight})


def test_a_call_bound_to_a_region_is_served_there_or_not_at_all() -> None:
    eu, us, nowhere = (
        a_deployment("eu", region="eu"),
        a_deployment("us", region="us"),
        a_deployment("nowhere"),
    )
    narrow = ContextConstraints().narrow_deployments
    assert narrow((eu, us, nowhere), Context(region="eu")) == Drop({"us": "region", "nowhere": "region"})
    assert narrow((eu, us, nowhere), Context()) is None
    assert narrow((eu,), Context(region="eu")) is None


def test_what_a_deployment_is_known_not_to_do_rules_it_out() -> None:
    tools = a_deployment("tools", capabilities=frozenset({"tools"}))
    vision = a_deployment("vision", capabilities=frozenset({"vision"}))
    unknown = a_deployment("unknown")
    narrow = Capabilities().narrow_deployments
    with_tools = a_request(params={"tools": [{}]})
    assert narrow(with_tools, (tools, vision, unknown)) == Drop({"vision": "no_tools"})
    with_schema = a_request(params={"tools": [{}], "response_format": {"type": "json_schema"}})
    assert narrow(with_schema, (tools, vision)) == Drop({"tools": "no_json_schema", "vision": "no_tools"})
    assert narrow(a_request(params={"tools": []}), (vision,)) is None
    assert narrow(a_request(), (vision,)) is None
