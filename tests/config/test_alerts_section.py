"""What a file says of alerts reaches channels and rules, and mistakes are told with their line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from click.testing import CliRunner
from support.receivers import Certificate, certificate, mailbox, receiver

from llmgate_plugins import Alert, ConfigurationError, Gateway
from llmgate_plugins.cli._main import llmgate
from llmgate_plugins.config import alerts_config, check_config, config_schema
from llmgate_plugins.plugins import (
    EmailChannel,
    ExpiryAlerts,
    Goal,
    LogChannel,
    SlackChannel,
    SloAlerts,
    SpendAnomalies,
    WebhookChannel,
)
from llmgate_plugins.plugins.channels import verify_signature
from llmgate_plugins.plugins.watching.subjects import SUBJECTS
from llmgate_plugins.testing import ScriptedProvider

MODEL = {"model_name": "fast", "litellm_params": {"model": "openai/gpt-4o-mini", "api_key": "env:KEY"}}
SECTION = """\
model_list:
  - model_name: fast
    litellm_params: {model: openai/gpt-4o-mini, api_key: env:KEY}
    model_info: {id: east, key_expires: 2026-12-31}
alerts:
  repeat: 1h
  channels:
    - {type: log, min_severity: warning}
    - type: webhook
      url: env:HOOK_URL
      secret: [env:HOOK_SECRET, env:OLD_SECRET]
      kinds: [slo_burn, key_expiry]
    - {type: webhook, url: "https://hooks.example/second", attempts: 2}
    - {type: slack, url: env:SLACK_URL, mention: "<!here>", min_severity: critical}
    - type: email
      host: mail.example.org
      sender: llmgate <alerts@example.org>
      recipients: [ops@example.org, ada@example.org]
      username: ops
      password: env:MAIL_PASSWORD
  slo:
    - {by: feature, success: 99%}
    - {by: deployment, name: east, success: 0.9, p95: 5s}
  anomalies: {by: [all, team], least: 5}
  key_expiry: 7d
policies:
  eu-support: {prefer: fastest, slo: {p95: 2s, success: 99.5%}}
"""


def gateway(alerts: dict[str, Any] | None = None, **sections: Any) -> Gateway:
    told = {"alerts": alerts} if alerts is not None else {}
    return Gateway.from_config(
        {"model_list": [MODEL], **told, **sections}, transport=ScriptedProvider(), check_secrets=False
    )


def plugins(made: Gateway, kind: type[Any]) -> list[Any]:
    return [one for _, one in made.plugins if isinstance(one, kind)]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    file = tmp_path / "llmgate.yaml"
    file.write_text(SECTION, encoding="utf-8")
    return file


def test_everything_that_is_written_is_there(written: Path) -> None:
    made = Gateway.from_config(written, check_secrets=False)
    assert made.alerts.repeat == 3600
    assert [one for one in made.alerts.channels if one.endswith(("Channel", "Channel-2"))] == [
        "WebhookChannel",
        "WebhookChannel-2",
        "SlackChannel",
        "EmailChannel",
        "LogChannel",
    ]
    assert [one.wanted.min_severity for one in plugins(made, LogChannel)] == ["warning"]
    assert plugins(made, WebhookChannel)[0].wanted.kinds == {"slo_burn", "key_expiry"}
    assert plugins(made, SlackChannel)[0].mention == "<!here>"
    assert plugins(made, EmailChannel)[0].recipients == ("ops@example.org", "ada@example.org")
    assert plugins(made, SpendAnomalies)[0].by == ("all", "team")
    assert plugins(made, SloAlerts)[0].goals == (
        Goal(by="policy", name="eu-support", success=0.995, p95=2.0),
        Goal(by="feature", success=0.99),
        Goal(by="deployment", name="east", success=0.9, p95=5.0),
    )
    assert plugins(made, ExpiryAlerts)[0].watched >= 1


def test_without_the_section_the_log_is_told_and_nothing_needs_watching() -> None:
    made = gateway()
    assert "LogChannel" in made.alerts.channels
    assert plugins(made, SloAlerts) == plugins(made, SpendAnomalies) == []


@pytest.mark.parametrize(("anomalies", "there"), [(True, 1), (False, 0), ({"by": ["team"]}, 1), (None, 0)])
def test_anomalies_are_switched_on_and_off(anomalies: Any, there: int) -> None:
    assert len(plugins(gateway({"anomalies": anomalies}), SpendAnomalies)) == there


def test_a_channel_posts_signed_by_a_secret_of_the_file_itself() -> None:
    with receiver() as hooks:
        made = gateway(
            {"channels": [{"type": "webhook", "url": hooks.url, "secret": "os.environ/HOOK_SECRET"}]},
            environment_variables={"HOOK_SECRET": "shared with the receiver"},
        )
        made.services.alerts.report(Alert(kind="x", subject="y", summary="z"))
        made.close()
    verify_signature(hooks.posted[0].body, hooks.posted[0].headers, "shared with the receiver")


@pytest.mark.parametrize(
    ("written", "line", "why"),
    [
        ("    - {type: pager}", 6, "type"),
        ("    - {min_severity: info}", 6, "type"),
        ("    - {type: webhook}", 6, "url"),
        ('    - {type: webhook, url: "http://hooks.example/x"}', 6, "can be read on the way"),
        ("    - {type: webhook, url: env:U, min_severity: fatal}", 6, "min_severity"),
        ("    - type: slack\n      url: env:U\n      colour: red", 8, "colour"),
        ("    - {type: email, host: mail, sender: nobody, recipients: a@b.example}", 6, "no e-mail address"),
        ("    - {type: email, host: mail, sender: a@b.example, recipients: []}", 6, "recipients"),
        (
            "    - {type: email, host: mail, sender: a@b.example, recipients: a@b.example, security: none}",
            6,
            "can be read on the way",
        ),
        (
            "    - {type: email, host: mail, sender: a@b.example, recipients: a@b.example, username: u}",
            6,
            "go together",
        ),
        (
            "    - {type: webhook, url: env:U, name: ops}\n    - {type: slack, url: env:U, name: ops}",
            7,
            "'ops'",
        ),
        ("  slo:\n    - {by: feature}", 7, "asks for nothing"),
        ("  slo:\n    - {by: planet, success: 99%}", 7, "by"),
        ("  slo:\n    - {by: policy, name: eu, success: 99%}", 7, "no policy 'eu'"),
        ("  slo:\n    - {success: 100%}", 7, "success"),
        ("  anomalies: {factor: 1}", 6, "factor"),
        ("  repeat: soon", 6, "not a duration"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, written: str, line: int, why: str) -> None:
    file = tmp_path / "llmgate.yaml"
    channels = "" if written.startswith("  ") and not written.startswith("    ") else "  channels:\n"
    model = "  - model_name: fast\n    litellm_params: {model: openai/x, api_key: env:KEY}"
    head = f"model_list:\n{model}\nalerts:\n"
    file.write_text(f"{head}{channels or '  # none'}".rstrip("\n") + f"\n{written}\n", encoding="utf-8")
    report = check_config(file, secrets=False)
    assert [(one.line, why in f"{one.path} {one.message}") for one in report.errors] == [(line, True)], [
        str(one) for one in report.errors
    ]


def test_a_day_that_is_none_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "llmgate.yaml"
    file.write_text(SECTION.replace("2026-12-31", "soon"), encoding="utf-8")
    report = check_config(file, secrets=False)
    assert [(one.line, one.message) for one in report.errors] == [(4, "not a day")]


def test_the_file_and_the_plugins_know_the_same_subjects() -> None:
    assert get_args(alerts_config.Subject) == SUBJECTS
    assert get_args(alerts_config.GoalSubject) == (*SUBJECTS, "deployment")


def test_references_that_lead_nowhere_are_told(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "sk-any")
    missing = [one.message for one in check_config(written).errors]
    assert missing == [
        f"environment variable {name} is not set"
        for name in ("HOOK_URL", "HOOK_SECRET", "OLD_SECRET", "SLACK_URL", "MAIL_PASSWORD")
    ]


def test_a_secret_that_is_written_into_the_file_is_warned_of_and_shown_nowhere() -> None:
    hook = {"type": "webhook", "url": "https://hooks.example/T0/x", "secret": "whsec_" + "YWJj" * 8}
    slack = {"type": "slack", "url": "https://hooks.slack.example/services/T0/very-secret"}
    report = check_config({"model_list": [MODEL], "alerts": {"channels": [hook, slack]}}, secrets=False)
    warned = [one.path for one in report.warnings if "written into the file" in one.message]
    assert warned == ["alerts.channels[0].secret[0]", "alerts.channels[1].url"]
    assert report.config is not None
    shown = repr(report.config) + report.config.model_dump_json()
    assert "very-secret" not in shown
    assert "YWJj" not in shown


def test_the_schema_for_editors_takes_what_is_taken(written: Path) -> None:
    import yaml

    document = yaml.load(SECTION, yaml.BaseLoader)
    jsonschema.validate({**document, "alerts": yaml.safe_load(SECTION)["alerts"]}, config_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, "alerts": {"channels": [{"type": "pager"}]}}, config_schema())


def test_a_dead_secret_refuses_the_gateway(written: Path) -> None:
    with pytest.raises(ConfigurationError, match="HOOK_URL"):
        Gateway.from_config(written)


# ------------------------------------------------------------ the command line


def run(*words: str) -> tuple[int, str]:
    told = CliRunner().invoke(llmgate, ["alerts", *words])
    return told.exit_code, told.output


def test_the_command_lists_channels_and_rules(written: Path) -> None:
    code, printed = run("--config", str(written))
    assert code == 0
    for words in ("SlackChannel", "critical", "slo_burn", "Each feature: 99 % succeed.", "again every 1 h"):
        assert words in printed
    assert max(map(len, printed.splitlines())) <= 80
    code, printed = run("--config", str(written), "--json")
    told = json.loads(printed)
    assert {"name": "SlackChannel", "min_severity": "critical", "kinds": []} in told["channels"]
    assert {"spend_anomaly", "key_expiry", "ejected", "ledger_unavailable"} <= {
        one["kind"] for one in told["rules"]
    }


def test_rules_of_limits_are_listed_where_there_are_limits(tmp_path: Path) -> None:
    file = tmp_path / "llmgate.yaml"
    for budgets, there in (([], False), ([{"scope": "team", "limit": "5 USD/day"}], True)):
        file.write_text(json.dumps({"model_list": [MODEL], "budgets": budgets}))
        assert ("budget_threshold" in run("--config", str(file))[1]) is there


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate(tmp_path_factory.mktemp("tls"))


def test_a_test_alert_goes_through_every_channel(tmp_path: Path, tls: Certificate) -> None:
    file = tmp_path / "llmgate.json"
    with receiver() as hook, receiver() as slack, mailbox(starttls=tls) as box:
        channels = [
            {"type": "webhook", "url": hook.url, "secret": "abc", "min_severity": "critical"},
            {"type": "slack", "url": slack.url, "kinds": ["slo_burn"]},
            {
                "type": "email",
                "host": "127.0.0.1",
                "port": box.port,
                "sender": "a@example.org",
                "recipients": "b@example.org",
                "ca_file": str(tls.file),
            },
        ]
        model = {**MODEL, "litellm_params": {"model": "openai/x", "api_key": "sk-any"}}
        file.write_text(json.dumps({"model_list": [model], "alerts": {"channels": channels}}))
        code, printed = run("test", "--config", str(file))
        assert code == 0, printed
        for name in ("WebhookChannel", "SlackChannel", "EmailChannel", "LogChannel"):
            assert f"{name}" in printed
        hook.answers = (404,)
        code, printed = run("test", "--config", str(file), "--json")
    assert code == 1
    told = json.loads(printed)
    assert told["WebhookChannel"] == {"ok": False, "error": "127.0.0.1 answered 404"}
    assert told["SlackChannel"] == {"ok": True, "error": None}
    assert [len(hook.posted), len(slack.posted), len(box.letters)] == [2, 2, 2]
    assert json.loads(hook.posted[0].body)["data"]["kind"] == "test"
    assert box.letters[0].message["subject"].startswith("[llmgate] Info: This is a test")
