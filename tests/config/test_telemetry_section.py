"""What a file says of telemetry reaches the plugin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.telemetry import Listener

from llmgate_plugins import Context, Gateway
from llmgate_plugins.config import config_schema, load_config
from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.plugins import Telemetry
from llmgate_plugins.testing import ScriptedProvider

MODELS = """model_list:
  - model_name: fast
    litellm_params: {model: openai/gpt-4o-mini, api_key: os.environ/KEY}
"""


def written(tmp_path: Path, section: str) -> Path:
    file = tmp_path / "llmgate.yaml"
    file.write_text(MODELS + section)
    return file


def gateway(file: Path, **options: Any) -> Gateway:
    return Gateway.from_config(file, transport=ScriptedProvider(), check_secrets=False, **options)


def kinds(made: Gateway) -> list[type]:
    return [type(plugin) for _, plugin in made.plugins]


@pytest.mark.parametrize(
    "section", ["", "telemetry: true", "telemetry: {content: false}", "telemetry: {spans: false}"]
)
def test_it_is_there_unless_the_file_says_no(tmp_path: Path, section: str) -> None:
    assert kinds(gateway(written(tmp_path, section)))[0] is Telemetry


@pytest.mark.parametrize("section", ["telemetry: false", "telemetry: {spans: false, metrics: false}"])
def test_it_is_not_there_if_the_file_says_no(tmp_path: Path, section: str) -> None:
    assert Telemetry not in kinds(gateway(written(tmp_path, section)))


def test_what_is_written_is_what_is_told(tmp_path: Path) -> None:
    section = "telemetry: {names: next, attempts: events, content: true, metric_facts: [team]}"
    options = load_config(written(tmp_path, section)).telemetry.for_telemetry()
    told = Listener(**options)
    made = gateway(written(tmp_path, section), plugins=[told.plugin])
    made.complete("fast", "hello", context=Context(team="search"))
    assert told.attempts == []
    assert "gen_ai.output.messages" in told.call.attributes
    (took,) = told.points("gen_ai.client.inference.duration")
    assert took.attributes["llmgate.context.team"] == "search"


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("telemetry:\n  names: old\n", ("line 5", "telemetry.names")),
        ("telemetry:\n  attempts: rows\n", ("line 5", "telemetry.attempts")),
        ("telemetry:\n  metric_facts: [team, prompt]\n", ("line 5", "is no fact of the context", "tenant")),
        ("telemetry:\n  sampling: 0.1\n", ("line 5", "sampling")),
        ("telemetry: loud\n", ("line 4", "telemetry")),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, section: str, said: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError) as told:
        load_config(written(tmp_path, section))
    for words in said:
        assert words.replace("line ", "llmgate.yaml:") in str(told.value)


def test_editors_are_told_what_may_stand_there() -> None:
    section = config_schema()["$defs"]["TelemetryConfig"]["properties"]
    assert "team" in section["metric_facts"]["items"]["enum"]
    assert set(section) == {"spans", "metrics", "names", "attempts", "content", "metric_facts"}
