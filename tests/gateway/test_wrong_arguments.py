"""What stands in the wrong place is told as what it is, before anything is built or sent."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from support.values import a_deployment

from llmgate_plugins import ConfigurationError, Gateway
from llmgate_plugins.testing import ScriptedProvider

ONE = a_deployment("a")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"deployments": "llmgate.yaml"}, "read by Gateway.from_config"),
        ({"deployments": Path("llmgate.yaml")}, "read by Gateway.from_config"),
        ({"deployments": {"model_list": []}}, "read by Gateway.from_config"),
        ({"deployments": ONE}, "deployments are a list"),
        ({"deployments": [{"model_name": "fast"}]}, "a dict is no Deployment"),
        (
            {"deployments": [ONE], "fallbacks": {"fast": "strong"}},
            "fallbacks of 'fast' are a list",
        ),
        ({"deployments": [ONE], "deadline": "30s"}, "a deadline is a number of seconds, not '30s'"),
        ({"deployments": [ONE], "on_break": "resum"}, "on_break must be one of"),
    ],
)
def test_a_gateway_says_what_it_takes(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Gateway(**given)


@pytest.mark.parametrize(
    ("messages", "given", "said"),
    [
        ("hi", {"tags": ["nightly"]}, "tags are a mapping, {name: value}, not a list"),
        ("hi", {"deadline": "3s"}, "a deadline is a number of seconds, not '3s'"),
        ("hi", {"on_break": "resume"}, r"ask with a request: Request\(.*on_break=...\)"),
        ("hi", {"fallbacks": ["strong"]}, r"ask with a request: Request\(.*fallbacks=...\)"),
        (3, {}, 'messages are a text, or a list of {"role": "user", "content": "..."}; this is of type int'),
        (["hi"], {}, "messages are a text, or a list of .* this is of type str"),
        ({"role": "user", "content": "hi"}, {}, "messages are a text, or a list of .* this is of type str"),
    ],
)
def test_a_call_says_what_it_takes_on_every_face(messages: Any, given: dict[str, Any], said: str) -> None:
    provider = ScriptedProvider(default="ok")
    gateway = Gateway([ONE], transport=provider)
    for call in (
        lambda: gateway.complete("fast", messages, **given),
        lambda: asyncio.run(gateway.acomplete("fast", messages, **given)),
        lambda: list(gateway.stream("fast", messages, **given)),
        lambda: gateway.astream("fast", messages, **given),
    ):
        with pytest.raises(TypeError, match=said):
            call()
    assert provider.sent == []
    assert gateway.services.ledger.calls() == []
