"""What a file says of failing over reaches the plugins that do it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmgate_plugins import Context, Gateway, Limits
from llmgate_plugins.config import load_config
from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.plugins import Failover, Patience
from llmgate_plugins.testing import Fault, ScriptedProvider, Stream
from llmgate_plugins.types import Request

MODELS: list[dict[str, Any]] = [
    {
        "model_name": name,
        "litellm_params": {"model": f"openai/{name}", "api_key": "os.environ/KEY"},
        "model_info": {"id": name},
    }
    for name in ("fast", "wide", "lenient")
]


def gateway(script: dict[str, list[Any]] | None = None, **sections: Any) -> Gateway:
    provider = ScriptedProvider(script, default=None) if script else ScriptedProvider()
    return Gateway.from_config({"model_list": MODELS, **sections}, transport=provider, check_secrets=False)


def plugin(made: Gateway, kind: type[Any]) -> Any:
    return next(one for _, one in made.plugins if isinstance(one, kind))


def test_without_the_section_the_plugins_have_their_defaults() -> None:
    made = gateway()
    assert plugin(made, Failover).max_attempts == 3
    limits = plugin(made, Patience).limit_attempt(
        made.deployments["fast"], 1, Request(model="fast", stream=True)
    )
    assert limits == Limits(connect=5, first_token=30, gap=20)


def test_times_and_numbers_are_as_written() -> None:
    section = {
        "max_attempts": 5,
        "patience": "2s",
        "hedge": "5%",
        "timeouts": {"connect": "1s", "first_token": "9s", "gap": 7, "longest": "1m", "whole": "50s"},
    }
    made = gateway(failover=section)
    failover = plugin(made, Failover)
    assert (failover.max_attempts, failover.patience) == (5, 2.0)
    patience, fast = plugin(made, Patience), made.deployments["fast"]
    assert patience.limit_attempt(fast, 1, Request(model="fast", stream=True)) == Limits(
        connect=1, first_token=9, gap=7
    )
    assert patience.limit_attempt(fast, 0, Request(model="fast", stream=True)).first_token == 60
    assert patience.limit_attempt(fast, 1, Request(model="fast")).first_token == 50


def test_retries_of_litellms_sections_count_unless_the_section_says_otherwise() -> None:
    assert plugin(gateway(router_settings={"num_retries": 4}), Failover).max_attempts == 5
    made = gateway(router_settings={"num_retries": 4}, failover={"max_attempts": 2})
    assert plugin(made, Failover).max_attempts == 2


@pytest.mark.parametrize(
    "sections",
    [
        {"failover": {"context_window": {"fast": ["wide"]}}},
        {"router_settings": {"context_window_fallbacks": [{"fast": ["wide"]}]}},
    ],
)
def test_a_prompt_that_is_too_long_goes_where_the_file_says(sections: dict[str, Any]) -> None:
    made = gateway({"fast": [Fault("context_length")], "wide": ["room"], "lenient": ["no"]}, **sections)
    assert made.complete("fast", "hello").text == "room"


@pytest.mark.parametrize(
    "sections",
    [
        {"failover": {"content_policy": {"fast": ["lenient"]}}},
        {"litellm_settings": {"content_policy_fallbacks": [{"fast": ["lenient"]}]}},
    ],
)
def test_a_refused_content_goes_where_the_file_allows_it_and_nowhere_else(sections: dict[str, Any]) -> None:
    script = {"fast": [Fault("content_policy")], "wide": ["no"], "lenient": ["allowed"]}
    assert gateway(script, **sections, fallbacks={"fast": ["wide"]}).complete("fast", "x").text == "allowed"
    with pytest.raises(Exception, match="rejected"):
        gateway(script, fallbacks={"fast": ["wide"]}).complete("fast", "x")


def test_what_happens_to_a_broken_stream_is_chosen_for_all_or_by_policy() -> None:
    broken = Stream("one ", then=Fault("connection"))
    script = {"fast": [broken, broken], "wide": ["one two"], "lenient": ["no"]}
    made = gateway(script, failover={"on_break": "resume", "max_attempts": 1}, fallbacks={"fast": ["wide"]})
    assert "".join(chunk.text for chunk in made.stream("fast", "x")) == "one two"
    policies = {"default": {}, "careful": {"on_break": "hold", "max_attempts": 2}}
    made = gateway(script, policies=policies, fallbacks={"fast": ["wide"]})
    with pytest.raises(Exception, match="Connection error"):  # after two attempts, and nothing given out
        next(made.stream("fast", "x", context=Context(policy="careful")))
    with pytest.raises(ConfigurationError):
        gateway(failover={"on_break": "retry"})


def test_aliases_that_lead_nowhere_are_found_with_their_line(tmp_path: Path) -> None:
    file = tmp_path / "llmgate.yaml"
    file.write_text(
        "model_list:\n"
        "  - {model_name: fast, litellm_params: {model: openai/gpt-4o-mini, api_key: os.environ/KEY}}\n"
        "failover:\n"
        "  context_window:\n"
        "    fast: [widest]\n"
    )
    with pytest.raises(ConfigurationError, match=r"llmgate.yaml:5: .*no 'widest'"):
        load_config(file)
