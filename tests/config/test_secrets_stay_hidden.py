"""No value of a secret shows in any form a configuration can take."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from llmgate_plugins.cli.config import config as command
from llmgate_plugins.config import build_deployments, check_config, load_config, parse_config
from llmgate_plugins.errors import ConfigurationError

CANARY = "canary-4711"

FILE = f"""\
model_list:
  - model_name: a
    litellm_params:
      model: openai/x
      api_key: sk-{CANARY}-key
      aws_secret_access_key: {CANARY}-aws
      vertex_credentials: {{private_key: {CANARY}-pem}}
      azure_ad_token: {CANARY}-token
      extra_headers: {{Authorization: Bearer {CANARY}-header}}
      extra_body: {{inner: [{{password: {CANARY}-nested}}]}}
      proxy: http://user:{CANARY}-proxy@host
      token: 47110815
    model_info:
      {{webhook_secret: {CANARY}-info, url: "https://h/?key={CANARY}-query", note: sk-{CANARY}-shape0}}
credential_list:
  - credential_name: lent
    credential_values: {{api_key: {CANARY}-lent}}
    credential_info: {{}}
environment_variables: {{OPENAI_API_KEY: {CANARY}-variable}}
plugins:
  - {{name: mine, options: {{api_key: {CANARY}-option, deep: {{token: {CANARY}-deep}}}}}}
general_settings: {{master_key: sk-{CANARY}-master}}
litellm_settings: {{cache_params: {{password: {CANARY}-redis}}, api_key: {CANARY}-module}}
router_settings: {{redis_password: {CANARY}-router}}
"""


def views(value: Any) -> list[str]:
    return [
        repr(value),
        str(value),
        f"{value}",
        f"{value!r:>5}",
        str(vars(value)) if hasattr(value, "__dict__") else "",
    ]


def test_no_view_of_the_configuration_shows_a_secret() -> None:
    config = parse_config(FILE)
    shown = [
        *views(config),
        *views(config.model_list[0]),
        *views(config.model_list[0].litellm_params),
        *views(config.plugins[0]),
        *views(config.credential_list[0]),
        str(config.model_dump()),
        json.dumps(config.model_dump(mode="json")),
        config.model_dump_json(),
        repr(copy.copy(config)),
        repr(copy.deepcopy(config)),
        repr(list(config)),
        repr(config.warnings),
        repr(config.ignored),
        repr(config.locator),
        str(config.__pydantic_private__),
        repr(config.model_list[0].litellm_params.model_extra),
    ]
    assert not [text for text in shown if CANARY in text or "47110815" in text]


def test_no_view_of_a_deployment_shows_a_secret() -> None:
    (deployment,) = build_deployments(parse_config(FILE))
    shown = [*views(deployment), *views(deployment.endpoint), repr(deployment.info), repr(deployment.params)]
    assert not [text for text in shown if CANARY in text or "47110815" in text]
    assert deployment.endpoint.options["aws_secret_access_key"].reveal() == f"{CANARY}-aws"


def test_a_written_secret_cannot_be_pickled_a_reference_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", f"{CANARY}-env")
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(parse_config(FILE))
    entry = {"model_name": "a", "litellm_params": {"model": "openai/x", "api_key": "env:A_KEY"}}
    config = load_config({"model_list": [entry]})
    build_deployments(config)
    dumped = pickle.dumps(config)
    assert CANARY.encode() not in dumped
    restored = pickle.loads(dumped).model_list[0].litellm_params.api_key
    assert restored.reveal() == f"{CANARY}-env"


MISTAKES = [
    FILE + f"api_key: {CANARY}\n",
    FILE.replace("model: openai/x", "model: 1.5"),
    FILE.replace("model: openai/x", f"api_base: http://u:{CANARY}@h/\n      model: openai/x"),
    FILE.replace("model: openai/x", f"timeout: {CANARY}\n      model: openai/x"),
    FILE.replace("model: openai/x", f"rpm: {CANARY}\n      model: openai/x"),
    FILE.replace("model: openai/x", f"input_cost_per_token: {CANARY}\n      model: openai/x"),
    FILE.replace(f"api_key: sk-{CANARY}-key", f"api_key: [sk-{CANARY}]"),
    FILE.replace(f"api_key: sk-{CANARY}-key", f"api_key: {{sk: sk-{CANARY}}}"),
    FILE.replace(f"api_key: sk-{CANARY}-key", f"api_key: 'sk-{CANARY}"),
    FILE.replace(f"api_key: sk-{CANARY}-key", f"api_key: sk-{CANARY}: x"),
    FILE.replace(f"api_key: sk-{CANARY}-key", f"api_key: !!binary sk-{CANARY}"),
    FILE.replace(f"api_key: sk-{CANARY}-key", f"api_key: a\n      api_key: sk-{CANARY}"),
    FILE + f"state: redis://:{CANARY}@host/x\n",
    FILE + f"state: redis://:{CANARY}/@host\n",
    FILE + f"state: {CANARY}\n",
    FILE + f"ledger: mysql://u:{CANARY}@host/db\n",
    FILE + f"ledger: {{url: postgresql://u:{CANARY}@host/db, durability: {CANARY}}}\n",
    FILE + f"budgets: [{{scope: {CANARY}, limit: {CANARY}}}]\n",
    FILE + f"policies: {{default: {{prefer: {CANARY}, deadline: {CANARY}, max_attempts: {CANARY}}}}}\n",
    FILE + f"prices: {{x: {{input: {CANARY}}}}}\n",
    f"{CANARY}",
    f"- {CANARY}",
]


def test_the_password_of_a_ledger_is_shown_nowhere() -> None:
    config = parse_config(FILE + f"ledger: postgresql://u:{CANARY}@host/db\n")
    assert CANARY in config.ledger.address
    assert CANARY not in repr(config) + str(config.ledger) + config.model_dump_json()
    assert config.ledger_path is None


@pytest.mark.parametrize("text", MISTAKES, ids=range(len(MISTAKES)))
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_no_message_about_a_mistake_shows_a_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, options: tuple[str, ...]
) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(text)
    with caplog.at_level(logging.DEBUG), pytest.raises(ConfigurationError) as caught:
        load_config(path)
    error = caught.value
    whole = "".join(traceback.TracebackException.from_exception(error).format())
    chain = [repr(link) for link in (error.__cause__, error.__context__)]
    result = CliRunner().invoke(command, ["check", str(path), *options])
    assert result.exit_code == 2
    shown = [str(error), repr(error), repr(error.problems), repr(error.args), whole, caplog.text, *chain]
    assert not [told for told in (*shown, result.output) if CANARY in told]


def test_checking_does_not_remember_what_it_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {"model_name": "a", "litellm_params": {"model": "openai/x", "api_key": "env:A_KEY"}}
    monkeypatch.setenv("A_KEY", "the-first-value")
    report = check_config({"model_list": [entry]})
    assert report.config is not None
    (deployment,) = build_deployments(report.config)
    monkeypatch.setenv("A_KEY", "the-second-value")
    assert deployment.endpoint.api_key is not None
    assert deployment.endpoint.api_key.reveal() == "the-second-value"
