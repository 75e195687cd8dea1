"""The same policies and rules choose alike in a plain call, in LangChain and in LiteLLM."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import litellm
from langchain_llmgate import ChatLLMGate
from litellm_llmgate import register

from llmgate_plugins import Context, Gateway, use_context
from llmgate_plugins.testing import ProviderSimulator

IDS = ("alpha", "beta", "gamma")
FACTS: dict[str, dict[str, Any]] = {
    "alpha": {"region": "us"},
    "beta": {"region": "eu", "terms": ["no_retention"], "data_classes": ["pii"]},
    "gamma": {"region": "eu", "data_classes": ["public"]},
}
POLICIES: dict[str, Any] = {
    "policies": {
        "eu": {"require": {"region": "eu"}, "prefer": "ordered", "version": "7"},
        "strict": {"require": {"terms": "no_retention", "cleared": True}, "prefer": "ordered"},
        "open": {"prefer": "ordered"},
        "split": {
            "targets": [{"only": "gamma", "weight": 0.5}, {"policy": "eu", "weight": 0.5}],
            "by": "user",
        },
    },
    "rules": [
        {"name": "by tag", "when": {"tag:job": "batch"}, "use": "open"},
        {"when": {"data_class": "pii"}, "use": "strict"},
        {"when": {"team": ["search", "ad*"], "alias": "fast"}, "use": "eu"},
        {"when": "context.cohort == 'beta' && request.operation == 'chat'", "use": "split"},
    ],
}
CALLS: dict[str, Context] = {
    "by team": Context(team="ads"),
    "by class": Context(team="ads", data_class="pii"),
    "by expression, one": Context(cohort="beta", user="u1"),
    "by expression, another": Context(cohort="beta", user="u2"),
    "by name": Context(policy="open", team="ads"),
    "barred": Context(policy="strict"),
}


@pytest.fixture(scope="module")
def simulator() -> Iterator[ProviderSimulator]:
    with ProviderSimulator(seed=3) as running:
        for name in IDS:
            running.provider(name).reply(f"hello from {name}")
        yield running


def model_list(simulator: ProviderSimulator, **params: Any) -> list[dict[str, Any]]:
    return [
        {
            "model_name": "fast",
            "litellm_params": {
                "model": "openai/gpt-4o-mini",
                "api_base": simulator.provider(name).openai_base_url,
                "api_key": "sk-policies",
                **{key: value[name] for key, value in params.items()},
            },
            "model_info": {"id": name, **FACTS[name]},
        }
        for name in IDS
    ]


Host = tuple[Gateway, Callable[[], Any]]


def plain(entries: list[dict[str, Any]]) -> Host:
    gateway = Gateway.from_config({"model_list": entries, **POLICIES})
    return gateway, lambda: gateway.complete("fast", "hi")


def plain_stream(entries: list[dict[str, Any]]) -> Host:
    gateway = Gateway.from_config({"model_list": entries, **POLICIES})
    return gateway, lambda: list(gateway.stream("fast", "hi"))


def in_langchain(entries: list[dict[str, Any]]) -> Host:
    gate = ChatLLMGate(model="fast", config={"model_list": entries, **POLICIES})
    return gate.gateway, lambda: gate.invoke("hi")


def in_litellm(entries: list[dict[str, Any]]) -> Host:
    router = litellm.Router(model_list=entries)
    registration = register(router, POLICIES)
    return registration.gateway, lambda: router.completion("fast", [{"role": "user", "content": "hi"}])


HOSTS = {"plain": plain, "plain, streamed": plain_stream, "LangChain": in_langchain, "LiteLLM": in_litellm}


def told(gateway: Gateway, ask: Callable[[], Any], context: Context) -> Any:
    with use_context(context):
        try:
            ask()
        except Exception as error:
            assert "not allowed here" in str(error)  # noqa: PT017 - hosts have errors of their own
    record = gateway.decisions[-1]
    selections = [
        (one.order, {id: why for id, (why, _) in one.dropped.items()}, one.policy)
        for one in record.selections
    ]
    applied = (record.policy, record.policy_version, record.rule, record.notes.get("policies"))
    return record.status, record.served_by, selections, applied


def test_policies_and_rules_choose_alike_in_every_host(simulator: ProviderSimulator) -> None:
    stories = {}
    for host, made in HOSTS.items():
        gateway, ask = made(model_list(simulator))
        stories[host] = {name: told(gateway, ask, context) for name, context in CALLS.items()}
    first = stories.pop("plain")
    assert first["by team"][:2] == ("success", "beta")
    assert first["by team"][3] == ("eu", "7", "rule 3", None)
    assert first["by class"][2][0][1] == {"alpha": "terms", "gamma": "terms"}
    assert first["by name"][1] == "alpha"
    assert first["barred"][0] == "denied"
    assert first["by expression, one"][3][2] == "rule 4"
    for host, story in stories.items():
        assert story == first, host


def test_where_no_policy_speaks_litellms_own_strategy_decides(simulator: ProviderSimulator) -> None:
    entries = model_list(simulator, weight={"alpha": 0, "beta": 0, "gamma": 1})
    gateway, ask = in_litellm(entries)
    for _ in range(10):
        _, served, selections, applied = told(gateway, ask, Context(team="nobody's"))
        assert (served, applied) == ("gamma", (None, None, None, None))
        assert gateway.decisions[-1].selections[-1].ranked_by is None
        assert selections[-1][1] == {}
    assert told(gateway, ask, Context(team="ads"))[1] == "beta"


def test_a_policy_without_a_preference_narrows_and_litellm_picks_among_the_rest(
    simulator: ProviderSimulator,
) -> None:
    router = litellm.Router(model_list=model_list(simulator, weight={"alpha": 1, "beta": 0, "gamma": 1}))
    eu = {"policies": {"default": {"require": {"region": "eu"}}}}
    gateway = register(router, eu).gateway
    for _ in range(10):
        router.completion("fast", [{"role": "user", "content": "hi"}])
        record = gateway.decisions[-1]
        assert record.served_by == "gamma"
        assert record.selections[-1].ranked_by is None
