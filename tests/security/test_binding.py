"""A key and its address are one: nothing a call says sends the key anywhere else."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import litellm
import pytest
from langchain_anthropic import ChatAnthropic
from langchain_llmgate import ChatLLMGate
from langchain_openai import ChatOpenAI
from litellm_llmgate import register
from support.canary import Canary
from support.litellm_callbacks import callbacks_as_before

from llmgate_plugins import Gateway, RequestDenied
from llmgate_plugins.testing import ProviderSimulator, SimulatedProvider

litellm.disable_aiohttp_transport = True
MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-haiku-4-5"}


@pytest.fixture(scope="module")
def sims() -> Iterator[tuple[ProviderSimulator, ProviderSimulator]]:
    with ProviderSimulator() as home, ProviderSimulator() as elsewhere:
        yield home, elsewhere


@pytest.fixture(autouse=True)
def _a_router_hears_of_no_other_tests_calls() -> Iterator[None]:
    with callbacks_as_before():
        yield


class Scene:
    """A provider that the key is for, another that must not see it, and the key."""

    def __init__(self, sims: tuple[ProviderSimulator, ProviderSimulator], name: str) -> None:
        self.home, self.elsewhere = (one.provider(name) for one in sims)
        self.key = Canary("sk")

    def entry(self, provider: str) -> dict[str, Any]:
        base = self.home.openai_base_url if provider == "openai" else self.home.anthropic_base_url
        params = {"model": f"{provider}/{MODELS[provider]}", "api_base": base, "api_key": self.key.reveal()}
        return {"model_name": "fast", "litellm_params": params}

    def strayed(self) -> list[Any]:
        """What reached the other address, or came to its own with a key that a call gave."""
        wrong = [one for one in self.home.requests if one.authorization() != self.key.reveal()]
        return [*self.elsewhere.requests, *wrong]


@pytest.fixture
def scene(sims: Any, request: pytest.FixtureRequest) -> Scene:
    return Scene(sims, "".join(letter if letter.isalnum() else "-" for letter in request.node.name))


async def bound(scene: Scene, asked: Any) -> None:
    """Nothing reaches another address, and nothing goes home with another key."""
    await tried(scene, asked)
    assert not scene.strayed()


def attempts_to_stray(elsewhere: SimulatedProvider) -> dict[str, dict[str, Any]]:
    """Call arguments that clients know as addresses, keys or ways to set them."""
    url, host = elsewhere.openai_base_url, elsewhere.url
    return {
        "api_base": {"api_base": url},
        "base_url": {"base_url": url},
        "openai_api_base": {"openai_api_base": url},
        "anthropic_api_url": {"anthropic_api_url": host},
        "api_key": {"api_key": "sk-of-the-caller"},
        "organization": {"organization": "org-of-the-caller"},
        "api_version": {"api_version": "2020-01-01"},
        "authorization": {"extra_headers": {"Authorization": "Bearer sk-of-the-caller"}},
        "x-api-key": {"extra_headers": {"x-api-key": "sk-of-the-caller"}},
        "host": {"extra_headers": {"Host": host.removeprefix("http://")}},
        "headers": {"headers": {"Authorization": "Bearer sk-of-the-caller"}},
        "default_headers": {"default_headers": {"Authorization": "Bearer sk-of-the-caller"}},
        "extra_query": {"extra_query": {"key": "sk-of-the-caller"}},
        "extra_body": {"extra_body": {"api_base": url, "base_url": url, "api_key": "sk-of-the-caller"}},
        "proxy": {"proxy": host},
        "metadata": {"metadata": {"api_base": url, "base_url": url, "api_key": "sk-of-the-caller"}},
        "tags": {"tags": {"api_base": url}},
    }


NAMES = list(attempts_to_stray(SimulatedProvider("none", "http://127.0.0.1:1")))


async def tried(scene: Scene, asked: Any) -> None:
    """Whether it is refused or ignored does not matter; where it went does."""
    told = ""
    try:
        answer = asked()
        if asyncio.iscoroutine(answer):
            await answer
        elif hasattr(answer, "__next__"):
            list(answer)
    except Exception as error:
        told = f"{error} {error!r}"
    assert not scene.key.in_(told)


@pytest.mark.parametrize("words", NAMES)
@pytest.mark.parametrize("provider", MODELS)
async def test_a_plain_call(scene: Scene, provider: str, words: str) -> None:
    gateway = Gateway.from_config({"model_list": [scene.entry(provider)]}, plugins=[])
    given = attempts_to_stray(scene.elsewhere)[words]
    await bound(scene, lambda: gateway.complete("fast", "Hello", **given))
    await bound(scene, lambda: gateway.acomplete("fast", "Hello", **given))
    await bound(scene, lambda: gateway.stream("fast", "Hello", **given))


@pytest.mark.parametrize("words", NAMES)
@pytest.mark.parametrize("kind", ["openai", "anthropic", "models openai", "models anthropic"])
async def test_a_langchain_call(scene: Scene, kind: str, words: str) -> None:
    provider = kind.removeprefix("models ")
    params = scene.entry(provider)["litellm_params"]
    if kind == provider:
        gateway = Gateway.from_config({"model_list": [scene.entry(provider)]})
        gate = ChatLLMGate(model="fast", gateway=gateway)
    else:
        made = ChatOpenAI if provider == "openai" else ChatAnthropic
        inner = made(model=MODELS[provider], base_url=params["api_base"], api_key=params["api_key"])  # type: ignore[call-arg]
        gate = ChatLLMGate.from_models({"fast": inner})
    given = attempts_to_stray(scene.elsewhere)[words]
    await bound(scene, lambda: gate.invoke("Hello", **given))
    await bound(scene, lambda: gate.bind(**given).invoke("Hello"))
    await bound(scene, lambda: gate.bind(**given).stream("Hello"))
    await bound(scene, lambda: gate.invoke("Hello", {"configurable": given, "metadata": given}))
    await bound(scene, lambda: gate.ainvoke("Hello", **given))


@pytest.mark.parametrize("words", NAMES)
@pytest.mark.parametrize("provider", MODELS)
async def test_a_registered_router_is_no_wider_than_litellm(scene: Scene, provider: str, words: str) -> None:
    router = litellm.Router(model_list=[scene.entry(provider)], disable_cooldowns=True)
    register(router, Gateway())
    given = attempts_to_stray(scene.elsewhere)[words]
    messages = [{"role": "user", "content": "Hello"}]
    for more in ({}, {"stream": True}):
        await tried(scene, lambda more=more: router.completion("fast", messages, **given, **more))
        await tried(scene, lambda more=more: router.acompletion("fast", messages, **given, **more))
    assert scene.key.reveal() not in [one.authorization() for one in scene.elsewhere.requests]


async def test_a_call_with_a_key_of_its_own_sends_ours_nowhere(scene: Scene) -> None:
    """LiteLLM lets a call bring its own key and address; through us that stays as it was."""
    router = litellm.Router(model_list=[scene.entry("openai")], disable_cooldowns=True)
    register(router, Gateway())
    own = {"api_base": scene.elsewhere.openai_base_url, "api_key": "sk-of-the-caller"}
    await router.acompletion("fast", [{"role": "user", "content": "Hello"}], **own)
    assert [one.authorization() for one in scene.elsewhere.requests] == ["sk-of-the-caller"]


async def test_an_address_without_a_key_is_denied_and_not_tried_again(scene: Scene) -> None:
    other = {**scene.entry("openai"), "model_name": "other"}
    router = litellm.Router(
        model_list=[scene.entry("openai"), other], fallbacks=[{"fast": ["other"]}], num_retries=2
    )
    register(router, Gateway())
    with pytest.raises(RequestDenied, match="the key belongs to the deployment"):
        await router.acompletion(
            "fast", [{"role": "user", "content": "Hello"}], api_base=scene.elsewhere.openai_base_url
        )
    assert not [*scene.elsewhere.requests, *scene.home.requests]
