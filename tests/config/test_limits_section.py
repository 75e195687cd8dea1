"""`budgets` and `limits` of the file: read, refused with their line, and turned into limits."""

# ruff: noqa: E501 - one line per row

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmgate_plugins import ConfigurationError, Gateway
from llmgate_plugins.assembly.limits import configured_limits
from llmgate_plugins.config import check_config, parse_config
from llmgate_plugins.plugins import (
    Budget,
    ConcurrencyLimit,
    Instead,
    Limits,
    RequestLimit,
    TokenLimit,
)
from llmgate_plugins.testing import ScriptedProvider
from llmgate_plugins.types import NANO
from llmgate_plugins.windows import Calendar, Fixed, Rolling

ONE = """\
model_list:
  - model_name: fast
    litellm_params: {model: openai/gpt-4o-mini, api_key: env:KEY, max_tokens: 100}
policies: {thrifty: {prefer: cheapest}}
"""


def problems(text: str) -> list[str]:
    report = check_config({"x": 1} if text is None else _parsed(text), secrets=False)
    return [f"{one.line}: {one.message} ({one.remedy})" for one in (*report.errors, *report.warnings)]


def _parsed(text: str) -> Any:
    path = Path("llmgate.yaml")
    path.write_text(ONE + text)
    return path


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_everything_that_can_be_written_is_read() -> None:
    config = parse_config(
        ONE
        + """\
budgets:
  - {scope: global, limit: 500 USD/month, zone: Europe/Berlin, alert_at: [50%, 0.8, 100%]}
  - {scope: team, limit: 20 USD/day, on_exhausted: {policy: thrifty}}
  - {scope: tenant=acme, limit: 50 USD, rolling: 24h, hard: false}
  - {scope: [team, model], limit: 5 USD/week, shadow: true, assume_output: 500}
limits:
  - {scope: user, requests: 60/minute, tokens: 100k/day, concurrency: 5, money: 1 USD/hour}
  - {scope: "tag:job", requests: 10, rolling: 1m, on_exhausted: {alias: fast}, alert_at: 90%}
"""
    )
    assert configured_limits(config).limits == (
        Budget(("global",), 500 * NANO, Calendar("month", "Europe/Berlin"), alert_at=(0.5, 0.8, 1.0)),
        Budget(("team",), 20 * NANO, Calendar("day"), on_exhausted=Instead(policy="thrifty")),
        Budget(("tenant=acme",), 50 * NANO, Rolling(86_400.0), hard=False),
        Budget(("team", "model"), 5 * NANO, Calendar("week"), shadow=True, assume_output=500),
        RequestLimit(("user",), 60, Fixed(60.0)),
        TokenLimit(("user",), 100_000, Calendar("day")),
        Budget(("user",), NANO, Calendar("hour")),
        ConcurrencyLimit(("user",), 5),
        RequestLimit(("tag:job",), 10, Rolling(60.0), on_exhausted=Instead(alias="fast"), alert_at=(0.9,)),
    )


MISTAKES = [
    ("a zone", "budgets:\n  - {scope: team, limit: 5 USD/day, zone: Berlin}\n", "6: there is no such time zone (write an IANA name"),
    ("a policy", "budgets:\n  - scope: team\n    limit: 5 USD/day\n    on_exhausted: {policy: thrify}\n", "8: no policy 'thrify' (did you mean thrifty?)"),
    ("an alias", "budgets:\n  - scope: team\n    limit: 5 USD/day\n    on_exhausted: {alias: fst}\n", "8: leads to nothing: no 'fst' (did you mean fast?)"),
    ("two at once", "budgets:\n  - {scope: team, limit: 5 USD/day, on_exhausted: {policy: thrifty, alias: fast}}\n", "6: unknown key 'alias'"),
    ("a scope", "limits:\n  - {scope: usr, requests: 5/day}\n", "6: must be one of global, tenant"),
    ("a scope twice", "limits:\n  - {scope: [user, user=a], requests: 5/day}\n", "6: names a thing twice"),
    ("no amount", "limits:\n  - {scope: user}\n", "6: limits nothing (add requests: 60/minute"),
    ("no window", "limits:\n  - {scope: user, requests: 60}\n", "6: requests is per hour, day, week, month or year"),
    ("two windows", "budgets:\n  - {scope: user, limit: 5 USD/day, rolling: 24h}\n", "6: rolling says a window, and so does the amount"),
    ("a soft limit that denies", "budgets:\n  - {scope: user, limit: 5 USD/day, hard: false, on_exhausted: deny}\n", "6: what is only watched denies nothing"),
    ("a share", "budgets:\n  - {scope: user, limit: 5 USD/day, alert_at: [0]}\n", "6: must be more than 0"),
    ("a count", "limits:\n  - {scope: user, requests: many}\n", "6: not a number per time (write 60/minute"),
    ("the cheapest of one model", "limits:\n  - {scope: model, requests: 5/day, on_exhausted: {prefer: cheapest}}\n", "6: {prefer: cheapest} is for limits of who calls"),
    ("the same twice", "budgets:\n  - {scope: team, limit: 5 USD/day}\nlimits:\n  - {scope: team, money: 9 USD/day}\n", "8: there is another budget for each team: budgets[0] (keep one of them)"),
    ("one below another", "budgets:\n  - {scope: global, limit: 5 USD/day}\n  - {scope: team, limit: 9 USD/day}\n", "7: its limit of budget can never be reached: budgets[0] stops before it"),
    ("a day above its month", "budgets:\n  - {scope: global, limit: 5 USD/month}\n  - {scope: team, limit: 9 USD/day}\n", "7: its limit of budget can never be reached"),
    ("tags alone", "limits:\n  - {scope: 'tag:job', requests: 5/day}\n", "6: tags come from the caller, who may choose another"),
    ("an alias that is not there", "limits:\n  - {scope: alias=fst, requests: 5/day}\n", "6: limits nothing: no 'fst' (did you mean fast?)"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "text", "told"), MISTAKES, ids=[what for what, _, _ in MISTAKES])
def test_a_mistake_is_told_with_its_line(what: str, text: str, told: str) -> None:
    found = problems(text)
    assert len(found) == 1, found
    assert found[0].startswith(told)


@pytest.mark.parametrize(
    "text",
    [
        "budgets:\n  - {scope: global, limit: 50 USD/day}\n  - {scope: team, limit: 9 USD/day}\n",
        "budgets:\n  - {scope: team, limit: 5 USD/day}\n  - {scope: team=mail, limit: 9 USD/day}\n",
        "budgets:\n  - {scope: team, limit: 5 USD/day}\n  - {scope: team, limit: 4 USD/day, shadow: true}\n",
        "budgets:\n  - {scope: team, limit: 5 USD/week}\n  - {scope: team, limit: 9 USD/month}\n",
        "limits:\n  - {scope: team, requests: 5/day}\n  - {scope: [team, 'tag:job'], requests: 2/day}\n",
    ],
)
def test_what_makes_sense_together_is_not_complained_of(text: str) -> None:
    assert problems(text) == []


def test_by_how_much_a_hard_budget_may_be_passed_is_said() -> None:
    text = ONE.replace(", max_tokens: 100", "") + "budgets:\n  - {scope: team, limit: 5 USD/day}\n"
    Path("llmgate.yaml").write_text(text)
    (warning,) = check_config("llmgate.yaml", secrets=False).warnings
    assert warning.line == 6
    assert warning.message.startswith("may be passed by 0.00")
    assert (
        "for each call under way that sets no max_tokens: gpt-4o-mini writes up to 16,384" in warning.message
    )
    assert warning.remedy.endswith("or assume_output: 16384")
    for harmless in ("hard: false", "assume_output: 16384", "shadow: true"):
        Path("llmgate.yaml").write_text(text.replace("5 USD/day", f"5 USD/day, {harmless}"))
        assert check_config("llmgate.yaml", secrets=False).warnings == ()


@pytest.mark.parametrize("how", ["", ", hard: false", ", shadow: true"])
def test_a_budget_that_counts_nothing_for_a_model_is_told_of(how: str) -> None:
    text = ONE.replace("gpt-4o-mini", "gpt-of-tomorrow").replace("{thrifty: {prefer: cheapest}}", "{}")
    budgets = f"budgets:\n  - {{scope: team, limit: 5 USD/day{how}}}\n  - {{scope: user, limit: 1 USD/day}}\n"
    Path("llmgate.yaml").write_text(text + budgets)
    (warning,) = check_config("llmgate.yaml", secrets=False).warnings
    assert warning.line == len(text.splitlines()) + 2
    assert warning.message.startswith("counts nothing for openai/gpt-of-tomorrow: nobody knows")
    priced = "prices:\n  openai/gpt-of-tomorrow: {input: 0, output: 0}\n"
    for harmless in (priced + budgets, "limits:\n  - {scope: team, requests: 5/day}\n"):
        Path("llmgate.yaml").write_text(text + harmless)
        assert check_config("llmgate.yaml", secrets=False).warnings == ()


def test_limits_in_the_file_and_in_the_program_are_refused() -> None:
    source = {
        "model_list": [
            {"model_name": "fast", "litellm_params": {"model": "openai/gpt-4o-mini", "api_key": "k"}}
        ],
        "budgets": [{"scope": "team", "limit": "5 USD/day"}],
    }
    mine = Limits([RequestLimit("team", 1, 60.0)])
    with pytest.raises(ConfigurationError, match="keep them in one place"):
        Gateway.from_config(source, plugins=[mine], transport=ScriptedProvider(), check_secrets=False)
    del source["budgets"]
    gateway = Gateway.from_config(source, plugins=[mine], transport=ScriptedProvider(), check_secrets=False)
    assert dict(gateway.plugins)["Limits"] is mine


def test_budgets_in_litellms_own_words_are_kept() -> None:
    source = {
        "model_list": [
            {
                "model_name": "fast",
                "litellm_params": {
                    "model": "openai/gpt-4o",
                    "api_key": "k",
                    "max_budget": 0.5,
                    "budget_duration": "12h",
                },
                "model_info": {"id": "one"},
            }
        ],
        "router_settings": {
            "provider_budget_config": {
                "openai": {"budget_limit": 5, "time_period": "1d"},
                "azure": {"max_budget": 7, "budget_duration": "1mo"},
            }
        },
    }
    gateway = Gateway.from_config(source, transport=ScriptedProvider(), check_secrets=False)
    (deployment,) = gateway.deployments.values()
    assert "max_budget" not in deployment.params
    limits: Any = dict(gateway.plugins)["Limits"]
    assert limits.limits == (
        Budget("provider=openai", 5 * NANO, Fixed(86_400.0)),
        Budget("provider=azure", 7 * NANO, Calendar("month")),
        Budget("deployment=one", NANO // 2, Fixed(43_200.0)),
    )
    source["router_settings"]["provider_budget_config"]["openai"]["time_period"] = "soon"  # type: ignore[index]
    with pytest.raises(ConfigurationError, match="not a duration of a budget"):
        Gateway.from_config(source, transport=ScriptedProvider(), check_secrets=False)
