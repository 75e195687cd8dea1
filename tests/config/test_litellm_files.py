"""A LiteLLM `config.yaml` is accepted as it stands; what has no meaning here is said once."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path

import pytest

from llmgate_plugins.config import build_deployments, check_config, load_config, parse_config
from llmgate_plugins.errors import ConfigurationError

PROXY = """\
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: azure/gpt-4o-eu
      api_base: os.environ/AZURE_API_BASE
      api_key: "os.environ/AZURE_API_KEY"
      api_version: 2024-10-21
      rpm: 6
    model_info:
      base_model: azure/gpt-4o
      team_id: search
  - model_name: gpt-4o
    litellm_params:
      model: openai/gpt-4o
      api_key: os.environ/OPENAI_API_KEY
      rpm: 60
      temperature: 0.2
      max_tokens: 200
      extra_headers: {"AI-Resource-Group": "ishaan"}
  - model_name: claude
    litellm_params:
      model: bedrock/anthropic.claude-3-5-sonnet-20240620-v1:0
      aws_access_key_id: os.environ/CUSTOM_AWS_ACCESS_KEY_ID
      aws_secret_access_key: os.environ/CUSTOM_AWS_SECRET_ACCESS_KEY
      aws_region_name: us-west-2
  - model_name: my-llama
    litellm_params:
      model: openai/meta-llama/Llama-3-8b
      api_base: http://localhost:8000/v1
      api_key: none
      input_cost_per_token: 1e-7
      output_cost_per_token: 0.0000002

litellm_settings:
  num_retries: 3
  request_timeout: 10
  fallbacks: [{"claude": ["gpt-4o"]}]
  context_window_fallbacks: [{"gpt-4o": ["claude"]}]
  drop_params: True
  set_verbose: False
  callbacks: ["litellm_llmgate.proxy.gateway"]
  cache: true
  cache_params:
    type: redis
    host: os.environ/REDIS_HOST
    password: hunter2-hunter2

router_settings:
  routing_strategy: simple-shuffle
  model_group_alias: {"gpt-4": "gpt-4o", "hidden": {"model": "claude", "hidden": true}}
  num_retries: 2
  timeout: 30
  fallbacks:
    - my-llama: ["gpt-4o", "claude"]
  default_fallbacks: ["my-llama"]
  redis_host: <your redis host>
  redis_password: <your redis password>
  allowed_fails: 3

general_settings:
  master_key: sk-1234-master-canary
  database_url: "postgresql://user:canary@host:5432/db"

guardrails:
  - guardrail_name: pii
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "AZURE_API_KEY",
        "OPENAI_API_KEY",
        "CUSTOM_AWS_ACCESS_KEY_ID",
        "CUSTOM_AWS_SECRET_ACCESS_KEY",
    ):
        monkeypatch.setenv(name, f"{name.lower()}-0123456789")
    monkeypatch.setenv("AZURE_API_BASE", "https://eu.example.azure.com")


def test_a_proxy_file_is_accepted_with_everything_that_has_a_meaning_here() -> None:
    report = check_config_text(PROXY)
    config = parse_config(PROXY)
    assert report == ()
    assert config.model_names == ("gpt-4o", "claude", "my-llama")
    assert config.default_policy.prefer == "weighted"
    assert config.num_retries == 2
    assert config.attempt_timeout == 30.0
    assert config.alias_map() == {"gpt-4": "gpt-4o", "hidden": "claude"}
    assert config.fallback_map() == {
        "gpt-4o": ("my-llama",),
        "claude": ("gpt-4o",),
        "my-llama": ("gpt-4o", "claude"),
    }
    assert config.context_window_fallbacks == {"gpt-4o": ("claude",)}
    assert config.litellm_settings.drop_params is True
    assert config.model_list[0].litellm_params.api_version == "2024-10-21"


def check_config_text(text: str) -> tuple[object, ...]:
    import yaml

    return check_config(yaml.safe_load(text.replace("2024-10-21", "'2024-10-21'"))).errors


def test_what_has_no_meaning_here_is_listed_with_its_line_and_logged_once(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(PROXY)
    with caplog.at_level(logging.INFO, logger="llmgate.config"):
        config = load_config(path)
    lines = PROXY.splitlines()
    ignored = {problem.path: problem.line for problem in config.ignored}
    assert set(ignored) == {
        "litellm_settings.set_verbose",
        "litellm_settings.callbacks",
        "litellm_settings.cache",
        "litellm_settings.cache_params",
        "router_settings.redis_host",
        "router_settings.redis_password",
        "router_settings.allowed_fails",
        "general_settings",
        "guardrails",
    }
    for place, line in ignored.items():
        assert line is not None
        assert lines[line - 1].strip().startswith(place.rpartition(".")[2])
    assert all(problem.severity == "warning" for problem in config.ignored)
    (record,) = caplog.records
    assert "general_settings" in record.getMessage()
    assert "canary" not in record.getMessage()


@pytest.mark.parametrize(
    ("strategy", "preference"),
    [
        ("simple-shuffle", "weighted"),
        ("cost-based-routing", "cheapest"),
        ("latency-based-routing", "fastest"),
        ("usage-based-routing-v2", None),
        ("least-busy", None),
    ],
)
def test_a_routing_strategy_becomes_a_preference_or_is_said_to_be_ignored(
    strategy: str, preference: str | None
) -> None:
    config = parse_config(MINIMAL + f"router_settings: {{routing_strategy: {strategy}}}\n")
    assert config.default_policy.prefer == preference
    assert [problem.path for problem in config.ignored] == (
        [] if preference else ["router_settings.routing_strategy"]
    )


MINIMAL = "model_list:\n  - {model_name: a, litellm_params: {model: openai/x, api_key: none}}\n"


def test_a_policy_of_our_own_wins_over_the_routing_strategy() -> None:
    text = (
        MINIMAL
        + "router_settings: {routing_strategy: simple-shuffle}\npolicies: {default: {prefer: ordered}}\n"
    )
    assert parse_config(text).default_policy.prefer == "ordered"


def test_a_misspelt_setting_of_litellm_is_ignored_with_a_suggestion() -> None:
    (note,) = parse_config(MINIMAL + "router_settings:\n  num_retry: 1\n").ignored
    assert (note.line, note.remedy) == (4, "did you mean num_retries?")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("router_settings:\n  fallbacks:\n    - a: [b]\n", 5, "falls back to nothing: no 'b'"),
        ("litellm_settings:\n  default_fallbacks: [b]\n", 4, "falls back to nothing: no 'b'"),
        ("router_settings:\n  model_group_alias:\n    x: y\n    y: x\n", 5, "leads back to itself"),
        ("router_settings:\n  num_retries: often\n", 4, "must be a whole number"),
        ("router_settings:\n  fallbacks: [a, b]\n", 4, "must be a mapping"),
        ("router_settings: [a]\n", 3, "must be a mapping"),
    ],
)
def test_what_would_fail_at_the_first_call_is_a_mistake_here_too(text: str, line: int, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_config(MINIMAL + text)
    problem = caught.value.problems[0]
    assert problem.line == line
    assert words in problem.message


def test_what_is_odd_in_litellms_sections_but_works_is_only_a_warning() -> None:
    text = (
        "model_list:\n"
        "  - {model_name: a, litellm_params: {model: openai/x, api_key: none, max_retries: 2}}\n"
        "  - {model_name: b, litellm_params: {model: openai/x, api_key: none}}\n"
        "router_settings:\n"
        "  model_group_alias: {a: b}\n"
        "  fallbacks: [{a: [b]}, {b: [a]}, {gone: [a]}]\n"
    )
    assert [(problem.line, problem.path) for problem in parse_config(text).warnings] == [
        (2, "model_list[0].litellm_params.max_retries"),
        (5, "router_settings.model_group_alias.a"),
        (6, "router_settings.fallbacks.gone"),
        (6, "router_settings.fallbacks.a"),
    ]


def test_empty_sections_count_as_not_written() -> None:
    text = MINIMAL + "litellm_settings:\nrouter_settings:\n  fallbacks:\ngeneral_settings:\n"
    assert parse_config(text).warnings == ()


def test_policies_of_litellms_own_engine_are_left_aside() -> None:
    text = MINIMAL + "policies:\n  base: {guardrails: {add: [pii]}}\n  ours: {prefer: ordered}\n"
    config = parse_config(text)
    assert list(config.policies) == ["ours"]
    assert [problem.path for problem in config.ignored] == ["policies.base"]


def test_wildcards_serve_the_names_that_are_mentioned_or_asked_for() -> None:
    config = parse_config(
        "model_list:\n"
        "  - {model_name: 'openai/*', litellm_params: {model: 'openai/*', api_key: none}}\n"
        "  - {model_name: '*', litellm_params: {model: '*', api_key: none}}\n"
        "  - {model_name: 'x/*-eu', litellm_params: {model: 'azure/*', api_key: none}}\n"
        "  - {model_name: a, litellm_params: {model: anthropic/claude-haiku-4-5, api_key: none}}\n"
        "fallbacks: {a: [openai/gpt-4o]}\n"
    )
    deployments = build_deployments(config, NoCards(), names=["x/gpt-eu", "anthropic/c", "a"])
    assert [(d.alias, d.provider, d.model) for d in deployments] == [
        ("openai/gpt-4o", "openai", "gpt-4o"),
        ("anthropic/c", "anthropic", "c"),
        ("x/gpt-eu", "azure", "gpt"),
        ("a", "anthropic", "claude-haiku-4-5"),
    ]


class NoCards:
    """A catalogue that knows nothing."""

    def lookup(self, provider: str | None, model: str, *, region: str | None = None) -> None:
        return None


def test_credentials_are_lent_to_the_deployments_that_name_them() -> None:
    config = parse_config(
        "model_list:\n"
        "  - model_name: a\n"
        "    litellm_params: {model: azure/x, litellm_credential_name: eu}\n"
        "credential_list:\n"
        "  - credential_name: eu\n"
        "    credential_values: {api_key: os.environ/AZURE_API_KEY, api_base: os.environ/AZURE_API_BASE}\n"
        "    credential_info: {description: production}\n"
    )
    (deployment,) = build_deployments(config, NoCards())
    assert deployment.endpoint.base_url == "https://eu.example.azure.com"
    assert deployment.endpoint.api_key is not None
    assert deployment.endpoint.api_key.reveal() == "azure_api_key-0123456789"


def test_a_credential_nobody_wrote_is_a_mistake() -> None:
    with pytest.raises(ConfigurationError, match=r"no credential 'eu' \(did you mean eu-1\?\)"):
        parse_config(
            "model_list: [{model_name: a, litellm_params: {model: azure/x, litellm_credential_name: eu}}]\n"
            "credential_list: [{credential_name: eu-1, credential_values: {}}]\n"
        )


def test_environment_variables_of_the_file_answer_its_references(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTSIDE", "from-outside")
    config = parse_config(
        "model_list:\n"
        "  - {model_name: a, litellm_params: {model: openai/x, api_key: os.environ/INSIDE}}\n"
        "  - {model_name: b, litellm_params: {model: openai/x}}\n"
        "environment_variables: {INSIDE: os.environ/OUTSIDE, OPENAI_API_KEY: from-the-file}\n"
    )
    keys = [d.endpoint.api_key.reveal() for d in build_deployments(config, NoCards()) if d.endpoint.api_key]
    assert keys == ["from-outside", "from-the-file"]


def test_every_example_that_litellm_ships_is_accepted_but_for_two_that_are_broken() -> None:
    spec = find_spec("litellm")
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "proxy"
    examples = [path for path in folder.rglob("*.yaml") if "model_list:" in path.read_text()]
    assert len(examples) > 20
    errors = {path.name: check_config(path, secrets=False).errors for path in examples}
    assert {name: [error.message for error in told] for name, told in errors.items() if told} == {
        "langfuse_config.yaml": ["litellm_params is missing"],
        "load_balancer.yaml": ["'mistralai' is no known provider"],
    }


# ---------------------------------------------------------------- beside a proxy's file

PROXYS = """
model_list:
  - model_name: fast
    litellm_params: {model: openai/gpt-4o-mini, api_key: os.environ/OPENAI_API_KEY}
    model_info: {id: mini, region: eu}
"""


def test_a_file_without_deployments_has_those_of_the_proxy_beside_it(tmp_path):
    (tmp_path / "config.yaml").write_text(PROXYS)
    own = tmp_path / "llmgate.yaml"
    own.write_text("policies: {eu: {require: {region: eu, only: mini}}}\n")
    assert check_config(own, secrets=False).errors == ()
    (entry,) = load_config(own).model_list
    assert entry.model_name == "fast"


def test_a_mistake_is_told_with_the_file_it_is_in(tmp_path):
    (tmp_path / "config.yaml").write_text(PROXYS.replace("openai/gpt-4o-mini", "[]"))
    own = tmp_path / "llmgate.yaml"
    own.write_text("policies: {eu: {prefer: chepest}}\n")
    found = [(Path(one.file).name, one.line) for one in check_config(own, secrets=False).errors]
    assert found == [("llmgate.yaml", 1), ("config.yaml", 4)]


def test_its_own_deployments_or_those_it_is_given_come_first(tmp_path):
    (tmp_path / "config.yaml").write_text(PROXYS)
    own = tmp_path / "llmgate.yaml"
    own.write_text(PROXYS.replace("fast", "own"))
    given = [{"model_name": "given", "litellm_params": {"model": "openai/x"}}]
    assert [one.model_name for one in load_config(own, model_list=given).model_list] == ["own"]
    own.write_text("ledger: memory\n")
    assert [one.model_name for one in load_config(own, model_list=given).model_list] == ["given"]
    assert [one.model_name for one in load_config({}, model_list=given).model_list] == ["given"]


@pytest.mark.parametrize("beside", [None, "general_settings: {}\n"])
def test_without_a_proxy_that_has_some_they_are_missing(tmp_path, beside):
    if beside is not None:
        (tmp_path / "config.yaml").write_text(beside)
    own = tmp_path / "llmgate.yaml"
    own.write_text("ledger: memory\n")
    (problem,) = check_config(own, secrets=False).errors
    assert problem.path == "model_list"
