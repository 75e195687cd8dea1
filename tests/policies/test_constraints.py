"""Hard constraints fail closed: what is not declared, or not known, is never good enough."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.pages import DOCS
from support.values import a_call, a_deployment, a_request

from llmgate_plugins.context import Context
from llmgate_plugins.decisions import Drop
from llmgate_plugins.errors import RequestDenied
from llmgate_plugins.plugins import ContextConstraints, Policies
from llmgate_plugins.policies import DENIALS, REASONS
from llmgate_plugins.types import NANO, Deployment, Price, PriceTier

NOBODY = Context()


def price(input: float, output: float, **more: Any) -> Price:
    return Price(input=int(input * NANO), output=int(output * NANO), **more)


def dropped(
    deployments: tuple[Deployment, ...], context: Context = NOBODY, *, request: Any = None, **policy: Any
) -> dict[str, str]:
    call = a_call(request or a_request(), context)
    drop = Policies({"default": policy}).narrow_deployments(deployments, context, call)
    return dict(drop.reasons) if drop else {}


KEEPS_NOTHING = frozenset({"no_retention"})
CLEARED = a_deployment("cleared", data_classes=frozenset({"pii", "public"}), terms=KEEPS_NOTHING)
PUBLIC = a_deployment("public", data_classes=frozenset({"public"}))
SILENT = a_deployment("silent")
THREE = (CLEARED, PUBLIC, SILENT)


def test_a_deployment_serves_only_data_it_is_cleared_for_where_it_says_so() -> None:
    drop = ContextConstraints().narrow_deployments(THREE, Context(data_class="pii"))
    assert drop == Drop({"public": "data_class"})
    assert ContextConstraints().narrow_deployments(THREE, Context(data_class="public")) is None
    assert ContextConstraints().narrow_deployments(THREE, NOBODY) is None


def test_where_clearance_is_asked_for_silence_is_not_enough() -> None:
    assert dropped(THREE, Context(data_class="pii"), cleared=True) == {
        "public": "data_class",
        "silent": "data_class",
    }


def test_data_of_no_declared_class_is_denied_where_clearance_is_asked_for() -> None:
    with pytest.raises(RequestDenied) as denied:
        dropped(THREE, NOBODY, cleared=True)
    assert denied.value.code == "data_class"


def test_terms_must_be_declared() -> None:
    assert dropped(THREE, terms=["no_retention"]) == {"public": "terms", "silent": "terms"}
    assert dropped(THREE, terms=["no_retention", "no_training"]).keys() == {"cleared", "public", "silent"}


CHEAP = a_deployment("cheap", price=price(1, 2), context_window=8_000, max_output=1_000)
DEAR = a_deployment("dear", price=price(3, 15), context_window=200_000)
LONG = a_deployment(
    "long", price=price(1, 2, tiers=(PriceTier(above=1_000, price=price(6, 12)),)), context_window=1_000_000
)
FLEX = a_deployment("flex", price=price(1, 2, tiers=(PriceTier(variant="priority", price=price(8, 16)),)))
UNKNOWN = a_deployment("unknown")
PRICED = (CHEAP, DEAR, LONG, FLEX, UNKNOWN)


def test_a_price_above_the_bound_or_not_known_is_not_eligible() -> None:
    assert dropped(PRICED, max_price={"input": 1, "output": 15}) == {
        "dear": "price",
        "unknown": "price_unknown",
    }
    assert dropped(PRICED, max_price={"output": 2})["dear"] == "price"
    assert dropped(PRICED, max_price={"input": 3, "output": 15}) == {"unknown": "price_unknown"}


def test_prices_of_long_inputs_and_of_tiers_are_held_against_the_same_bound() -> None:
    long = a_request("word " * 2_000)
    assert dropped(PRICED, request=long, max_price={"input": 3})["long"] == "price"
    hurried = a_request(params={"service_tier": "priority"})
    assert dropped(PRICED, request=hurried, max_price={"input": 3}) == {
        "flex": "price",
        "unknown": "price_unknown",
    }


def test_a_call_may_be_expected_to_cost_so_much_and_no_more() -> None:
    bounded = a_request(params={"max_tokens": 2_000})
    # 2,000 tokens at 15 USD a million are 0.03 USD; the cheap one writes 1,000 at most
    assert dropped((CHEAP, DEAR, UNKNOWN), request=bounded, max_price={"call": 0.01}) == {
        "dear": "price",
        "unknown": "price_unknown",
    }
    assert dropped((CHEAP, DEAR), request=bounded, max_price={"call": 0.04}) == {}
    assert dropped((CHEAP, DEAR), request=a_request(), max_price={"call": 0.01}) == {}


@pytest.mark.parametrize("where", ["call", "extra_body", "configuration", "extra_body of configuration"])
@pytest.mark.parametrize(
    ("said", "most"),
    [
        ({"service_tier": "priority"}, {"input": 3}),
        ({"service_tier": "priority"}, {"call": 0.003}),
        ({"max_tokens": 2_000}, {"call": 0.003}),
        ({"n": 9}, {"call": 0.003}),
    ],
)
def test_the_bound_is_on_what_is_really_sent_wherever_that_stands(
    where: str, said: dict[str, Any], most: dict[str, float]
) -> None:
    params = {"extra_body": said} if "extra_body" in where else said
    configured = "configuration" in where
    asked = a_request("", params={} if configured else params)
    one = replace(FLEX, params=params if configured else {})
    assert dropped((one,), request=asked, max_price=most) == {"flex": "price"}
    assert dropped((FLEX,), request=a_request(""), max_price=most) == {}


def test_inputs_of_an_embedding_have_a_window_each() -> None:
    many = a_request().replace(operation="embedding", messages=(), params={"input": ["word " * 1_000] * 500})
    assert dropped((CHEAP, DEAR), request=many, context_fit=True) == {}
    assert dropped((CHEAP, UNKNOWN), request=many, context_fit=True) == {"unknown": "context_window"}


def test_the_window_must_hold_the_answer_that_an_extra_body_allows() -> None:
    answer = a_request(params={"extra_body": {"max_tokens": 250_000}})
    assert dropped((DEAR, LONG), request=answer, context_fit=True) == {"dear": "context_window"}
    asked = replace(CHEAP, params={"extra_body": {"max_tokens": 7_999}})
    assert dropped((asked,), request=a_request("word " * 100), context_fit=True)


def test_the_window_must_be_known_to_hold_request_and_answer() -> None:
    assert dropped(PRICED, context_fit=True) == {"flex": "context_window", "unknown": "context_window"}
    long = a_request("word " * 10_000)
    assert "cheap" in dropped(PRICED, request=long, context_fit=True)
    answer = a_request(params={"max_tokens": 250_000})
    assert dropped((CHEAP, DEAR, LONG), request=answer, context_fit=True) == {
        "cheap": "context_window",
        "dear": "context_window",
    }


def test_what_several_policies_ask_for_adds_up() -> None:
    policies = Policies(
        {"default": {"terms": ["no_retention"]}, "eu": {"region": ["eu"]}},
        [{"when": {"tag:eu": "1"}, "use": "eu"}],
    )
    kept = a_deployment("kept", region="eu", terms=KEEPS_NOTHING)
    far = a_deployment("far", region="us", terms=KEEPS_NOTHING)
    near = a_deployment("near", region="eu")
    call = a_call(a_request(tags={"eu": "1"}))
    drop = policies.narrow_deployments((kept, far, near), NOBODY, call)
    assert drop is not None
    assert drop.reasons == {"far": "region", "near": "terms"}


def test_the_same_answer_is_the_same_object_so_that_thousands_are_not_gone_through_anew() -> None:
    policies = Policies(
        {"default": {"max_price": {"input": 2, "call": 0.5}, "context_fit": True, "cleared": True}}
    )
    context = Context(data_class="pii")
    first, second = (
        policies.narrow_deployments(PRICED, context, a_call(a_request(text), context))
        for text in ("hello", "hallo!")
    )
    assert first is not None
    assert first is second


def test_every_reason_is_told_and_every_word_that_is_told_is_given() -> None:
    given = {
        *dropped(THREE, Context(data_class="pii"), cleared=True).values(),
        *dropped(THREE, terms=["x"]).values(),
        *dropped(PRICED, max_price={"input": 1}).values(),
        *dropped(PRICED, context_fit=True).values(),
        *dropped(THREE, region=["eu"]).values(),
        *dropped(THREE, provider=["q"]).values(),
        *dropped(THREE, only=["cleared"]).values(),
        *dropped(THREE, ignore=["cleared"]).values(),
        *dropped(THREE, capabilities=["tools"]).values(),
    }
    assert given == set(REASONS)
    assert set(DENIALS) == {"policy", "data_class"}


def test_the_page_about_policies_tells_every_reason() -> None:
    page = (DOCS / "explanation" / "policies.md").read_text(encoding="utf-8")
    assert [code for code, meaning in REASONS.items() if f"| `{code}` | {meaning} |" not in page] == []
