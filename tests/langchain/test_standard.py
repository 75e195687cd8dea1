"""LangChain's own conformance suites, over each kind of inner model, also with a dead first deployment."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_llmgate import ChatLLMGate
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests
from support.langchain_leaves import MODELS, OTHER_MODELS, leaf, simulator

from llmgate_plugins import Gateway
from llmgate_plugins.plugins import Health


@cache
def gateway_over(kind: str, health: str) -> Gateway:
    """Two deployments per alias: both alive, or the first with nobody behind it."""
    provider = simulator().provider(f"standard-{kind}-{health}")
    names = {"fast": MODELS[kind], OTHER_MODELS[kind]: OTHER_MODELS[kind]}
    models = {
        alias: [leaf(kind, provider, model=name, dead=health == "dead"), leaf(kind, provider, model=name)]
        for alias, name in names.items()
    }
    patient = Health(consecutive=10**6, samples=10**6)  # so that every test meets the dead deployment
    gateway = ChatLLMGate.from_models(models, plugins=[patient]).gateway
    assert isinstance(gateway, Gateway)
    return gateway


class OverLeaf:
    kind: str
    health: str

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatLLMGate

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "fast", "gateway": gateway_over(self.kind, self.health)}

    @property
    def model_override_value(self) -> str:
        return OTHER_MODELS[self.kind]

    @property
    def supports_json_mode(self) -> bool:
        return True


class OverOpenAI(OverLeaf):
    kind, health = "openai", "healthy"


class OverOpenAIWithDeadFirst(OverLeaf):
    kind, health = "openai", "dead"


class OverAnthropic(OverLeaf):
    kind, health = "anthropic", "healthy"

    @property
    def supports_json_mode(self) -> bool:
        return False  # langchain-anthropic has none


class OverAnthropicWithDeadFirst(OverAnthropic):
    health = "dead"


class OverLiteLLM(OverLeaf):
    kind, health = "litellm", "healthy"


class OverLiteLLMWithDeadFirst(OverLeaf):
    kind, health = "litellm", "dead"


class TestUnitOpenAI(OverOpenAI, ChatModelUnitTests): ...


class TestUnitOpenAIWithDeadFirst(OverOpenAIWithDeadFirst, ChatModelUnitTests): ...


class TestUnitAnthropic(OverAnthropic, ChatModelUnitTests): ...


class TestUnitAnthropicWithDeadFirst(OverAnthropicWithDeadFirst, ChatModelUnitTests): ...


class TestUnitLiteLLM(OverLiteLLM, ChatModelUnitTests): ...


class TestUnitLiteLLMWithDeadFirst(OverLiteLLMWithDeadFirst, ChatModelUnitTests): ...


class TestOpenAI(OverOpenAI, ChatModelIntegrationTests): ...


class TestOpenAIWithDeadFirst(OverOpenAIWithDeadFirst, ChatModelIntegrationTests): ...


class TestAnthropic(OverAnthropic, ChatModelIntegrationTests): ...


class TestAnthropicWithDeadFirst(OverAnthropicWithDeadFirst, ChatModelIntegrationTests): ...


class TestLiteLLM(OverLiteLLM, ChatModelIntegrationTests): ...


class TestLiteLLMWithDeadFirst(OverLiteLLMWithDeadFirst, ChatModelIntegrationTests): ...


@pytest.mark.parametrize("kind", MODELS)
def test_the_dead_deployment_was_really_tried_and_left(kind: str) -> None:
    gate = ChatLLMGate(model="fast", gateway=gateway_over(kind, "dead"))

    told = gate.invoke("hello").response_metadata["llmgate"]

    assert [attempt["status"] for attempt in told["attempts"]] == ["error", "success"]
    assert told["attempts"][0]["error_class"] == "connection"
    assert told["deployment"].endswith("-2")
