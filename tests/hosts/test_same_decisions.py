"""One plugin object, unchanged, decides alike in a plain call, in LangChain and in LiteLLM."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import litellm
from langchain_core.runnables import RunnableLambda
from langchain_llmgate import ChatLLMGate
from litellm.exceptions import GuardrailRaisedException
from litellm_llmgate import register

from llmgate_plugins import (
    Attempt,
    Context,
    Deployment,
    Drop,
    Gateway,
    GiveUp,
    Outcome,
    Ranking,
    Recovery,
    Request,
    RequestDenied,
    hookimpl,
    use_context,
)
from llmgate_plugins.testing import Fault, ProviderSimulator

IDS = ("alpha", "beta", "gamma")
PROMPTS = ("0 apples", "1 pear", "2 plums", "what is forbidden", "0 for the eu", "1 for the eu", "2 give up")


class House:
    """Denies, narrows by context, ranks by the prompt, and has a view on failures."""

    name = "house"

    def __init__(self) -> None:
        self.decided: list[tuple[str, ...]] = []

    @hookimpl
    def admit_request(self, request: Request) -> Request | None:
        if "forbidden" in request.messages[-1].text:
            raise RequestDenied("that is forbidden here", code="house")
        return None

    @hookimpl
    def narrow_deployments(self, deployments: Sequence[Deployment], context: Context) -> Drop | None:
        if context.data_class != "eu-only":
            return None
        return Drop({one.id: "not_eu" for one in deployments if one.region != "eu"})

    @hookimpl
    def rank_deployments(self, request: Request, deployments: Sequence[Deployment]) -> Ranking:
        first = int(request.messages[-1].text[0])
        order = sorted(deployments, key=lambda one: (IDS.index(one.id) - first) % len(IDS))
        return Ranking(order, reason=f"starts at {first}")

    @hookimpl
    def recover_attempt(self, request: Request, outcome: Outcome) -> Recovery | None:
        return GiveUp() if "give up" in request.messages[-1].text else None

    @hookimpl
    def end_attempt(self, attempt: Attempt, outcome: Outcome) -> None:
        failure = outcome.failure.error_class.value if outcome.failure else ""
        self.decided.append((attempt.deployment.id, attempt.reason, outcome.status, failure))


@pytest.fixture(scope="module")
def simulator() -> Iterator[ProviderSimulator]:
    with ProviderSimulator(seed=3) as running:
        for name in IDS:
            running.provider(name).reply(f"hello from {name}")
        running.provider("beta").reply(None)
        running.provider("gamma").fail_always(Fault("unavailable"))
        yield running


def model_list(simulator: ProviderSimulator) -> list[dict[str, Any]]:
    return [
        {
            "model_name": "fast",
            "litellm_params": {
                "model": "openai/gpt-4o-mini",
                "api_base": simulator.provider(name).openai_base_url,
                "api_key": "sk-same-decisions",
            },
            "model_info": {"id": name, "region": "eu" if name != "alpha" else "us"},
        }
        for name in IDS
    ]


def plain(house: House, entries: list[dict[str, Any]]) -> tuple[Gateway, Callable[[str], Any]]:
    gateway = Gateway.from_config({"model_list": entries}, plugins=[house])
    return gateway, lambda prompt: gateway.complete("fast", prompt)


def plain_stream(house: House, entries: list[dict[str, Any]]) -> tuple[Gateway, Callable[[str], Any]]:
    gateway = Gateway.from_config({"model_list": entries}, plugins=[house])
    return gateway, lambda prompt: list(gateway.stream("fast", prompt))


def in_langchain(house: House, entries: list[dict[str, Any]]) -> tuple[Gateway, Callable[[str], Any]]:
    gate = ChatLLMGate(model="fast", config={"model_list": entries}, plugins=[house])
    chain = RunnableLambda(lambda prompt: prompt) | gate
    return gate.gateway, chain.invoke


def in_langchain_stream(house: House, entries: list[dict[str, Any]]) -> tuple[Gateway, Callable[[str], Any]]:
    gate = ChatLLMGate(model="fast", config={"model_list": entries}, plugins=[house])
    return gate.gateway, lambda prompt: list(gate.stream(prompt))


def in_litellm(house: House, entries: list[dict[str, Any]]) -> tuple[Gateway, Callable[[str], Any]]:
    router = litellm.Router(model_list=entries)
    registration = register(router, Gateway(plugins=[house]))
    return registration.gateway, lambda prompt: router.completion(
        "fast", [{"role": "user", "content": prompt}]
    )


HOSTS = {
    "plain": plain,
    "plain, streamed": plain_stream,
    "LangChain": in_langchain,
    "LangChain, streamed": in_langchain_stream,
    "LiteLLM": in_litellm,
}


def story(host: str, entries: list[dict[str, Any]], house: House) -> list[Any]:
    house.decided.clear()
    gateway, ask = HOSTS[host](house, entries)
    told: list[Any] = []
    for prompt in PROMPTS:
        context = Context(data_class="eu-only") if "eu" in prompt else Context(team="t")
        with use_context(context):
            try:
                ask(prompt)
            except (RequestDenied, GuardrailRaisedException) as denied:
                told.append(("denied", "forbidden here" in str(denied)))
            except Exception as error:
                told.append(("error", getattr(error, "status_code", None)))
            else:
                told.append("answered")
        record = gateway.decisions[-1]
        told.append(
            [
                (one.considered, {id: why for id, (why, _) in one.dropped.items()}, one.order, one.ranked_by)
                for one in record.selections
            ]
        )
        told.append((record.status, record.denied_by, record.context))
    told.append(list(house.decided))
    return told


def test_one_plugin_object_decides_alike_in_every_host(simulator: ProviderSimulator) -> None:
    house, entries = House(), model_list(simulator)
    stories = {host: story(host, entries, house) for host in HOSTS}
    first = stories.pop("plain")
    assert ("denied", True) in first
    assert ("gamma", "first", "error", "overloaded") in first[-1]
    assert ("alpha", "next_deployment", "success", "") in first[-1]
    assert [step for step in first[-1] if step[0] == "alpha"]
    for host, told in stories.items():
        assert told == first, host
