"""The JSON Schema fits what the reader accepts, and every field says what it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from llmgate_plugins.cli.config import config as command
from llmgate_plugins.config import GatewayConfig, config_schema, load_config

SCHEMA = config_schema()
VALIDATOR = Draft202012Validator(SCHEMA)

OWN = """\
model_list:
  - model_name: fast
    litellm_params:
      {model: openai/gpt-4o-mini, api_key: os.environ/OPENAI_API_KEY, input_cost_per_token: "1e-6"}
    model_info: {region: us, tier: 1}
  - model_name: fast
    litellm_params: {model: anthropic/claude-haiku-4-5, timeout: 30, rpm: os.environ/RPM}
    model_info: {region: eu, anything: [1]}
policies:
  default: {prefer: cheapest, fallback_to: strong, deadline: 30s, max_attempts: 3}
  eu-support: {require: {region: eu, capabilities: [tools]}, prefer: fastest, slo: {p95: 2s}}
budgets:
  - {scope: team, limit: 50 USD/day, hard: true, on_exhausted: {prefer: cheapest}}
  - {scope: global, limit: $5/hour, on_exhausted: deny}
aliases: {strong: fast}
fallbacks: {fast: [strong]}
prices: {openai/gpt-4o: {input: 2.5, output: "10"}}
plugins: [mine, {name: other, options: {a: 1}}]
state: memory
ledger: sqlite:///llmgate.db
"""

LITELLM = """\
model_list:
  - model_name: a
    litellm_params: {model: openai/x, whatever: {deep: 1}}
router_settings:
  routing_strategy: simple-shuffle
  unheard_of: 1
  model_group_alias: {b: a, c: {model: a, hidden: true}}
  fallbacks: [{a: [b]}]
litellm_settings: {drop_params: true, callbacks: [x]}
general_settings: {master_key: sk-1234}
environment_variables: {A: "1", B: 2}
"""


@pytest.mark.parametrize("text", [OWN, LITELLM])
def test_the_schema_accepts_what_the_reader_accepts(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("RPM", "5")
    document = yaml.safe_load(text)
    load_config(document)
    assert [error.message for error in VALIDATOR.iter_errors(document)] == []


@pytest.mark.parametrize(
    "change",
    [
        {"polices": {}},
        {"model_list": []},
        {"model_list": [{"model_name": "a"}]},
        {"model_list": [{"model_nam": "a", "model_name": "a", "litellm_params": {"model": "openai/x"}}]},
        {"policies": {"x": {"prefer": 3}}},
        {"policies": {"x": {"deadline": "soon"}}},
        {"budgets": [{"scope": "team", "limit": "50 EUR/day"}]},
        {"budgets": [{"scope": "team", "limit": "5 USD/day", "on_exhausted": "stop"}]},
        {"state": 3},
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(change: dict[str, Any]) -> None:
    document = {"model_list": [{"model_name": "a", "litellm_params": {"model": "openai/x"}}], **change}
    assert not VALIDATOR.is_valid(document)


def test_the_schema_itself_is_valid_draft_2020_12() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"].endswith("draft/2020-12/schema")


def fields(schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    sections = {"": schema, **schema["$defs"]}
    for section, content in sections.items():
        for name, described in content.get("properties", {}).items():
            yield f"{section}.{name}", described


def test_every_field_and_every_section_has_a_description() -> None:
    assert [name for name, described in fields(SCHEMA) if not described.get("description")] == []
    assert [name for name, section in SCHEMA["$defs"].items() if not section.get("description")] == []
    assert set(GatewayConfig.model_fields) <= set(SCHEMA["properties"])


def test_the_command_prints_the_schema_or_writes_it(tmp_path: Path) -> None:
    printed = CliRunner().invoke(command, ["schema"])
    assert json.loads(printed.output) == SCHEMA
    path = tmp_path / "schema.json"
    assert CliRunner().invoke(command, ["schema", "--output", str(path)]).exit_code == 0
    assert json.loads(path.read_text()) == SCHEMA
    refused = CliRunner().invoke(command, ["schema", "-o", str(tmp_path / "none" / "s.json")])
    assert refused.exit_code == 2
    assert "cannot be written" in refused.output
