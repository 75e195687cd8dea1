"""What other policies would have made of recorded calls, and what of that is a guess."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from support.recorded_weeks import CONFIG, record_week

from llmgate_plugins import ConfigurationError, Gateway
from llmgate_plugins.cli._main import llmgate
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.replay import Replay, replay
from llmgate_plugins.replay.comparing import Latencies
from llmgate_plugins.replay.conditions import check
from llmgate_plugins.testing import ScriptedProvider

CHEAP: dict[str, Any] = {**CONFIG, "policies": {name: {"prefer": "cheapest"} for name in CONFIG["policies"]}}


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("books") / "books.db"
    record_week(path, 400, seed=3)
    return path


@pytest.fixture(scope="module")
def cheap(books: Path) -> Replay:
    return replay(f"sqlite:///{books}", CHEAP)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(llmgate, ["replay", *arguments])


@pytest.fixture
def files(books: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    whole = {**CONFIG, "ledger": f"sqlite:///{books}"}
    (tmp_path / "llmgate.yaml").write_text(yaml.safe_dump(whole))
    (tmp_path / "new.yaml").write_text(yaml.safe_dump({"policies": CHEAP["policies"]}))
    return tmp_path


def test_a_cheaper_policy_costs_less_and_says_who_moved(cheap: Replay) -> None:
    assert cheap.calls == 400
    assert cheap.replayed.cost < cheap.original.cost
    to = {move.served_now for move in cheap.moves}
    assert "b-us" in to
    assert cheap.moved == sum(cheap.moves.values()) > 50
    assert cheap.attempts["drawn"] >= cheap.uncertain > 0
    assert cheap.attempts["unknown"] == cheap.latency_unknown == 0


def test_the_same_seed_draws_the_same_and_another_one_another(books: Path, cheap: Replay) -> None:
    ledger = f"sqlite:///{books}"
    assert replay(ledger, CHEAP).to_dict() == cheap.to_dict()
    assert replay(ledger, CHEAP, seed=1).to_dict() != cheap.to_dict()


def test_of_a_deployment_that_nobody_asked_only_the_price_is_known(books: Path) -> None:
    fresh = {
        **CONFIG["model_list"][0],
        "litellm_params": {
            "model": "openai/model-new",
            "api_key": "sk-new",
            "input_cost_per_token": 1e-8,
            "output_cost_per_token": 1e-8,
        },
        "model_info": {"id": "new", "region": "eu", "max_input_tokens": 100_000},
    }
    told = replay(f"sqlite:///{books}", {**CHEAP, "model_list": [*CONFIG["model_list"], fresh]})
    assert told.latency_unknown > 100
    assert told.attempts["unknown"] >= told.latency_unknown
    assert 0 < told.replayed.cost < told.original.cost / 1.5
    assert told.replayed.latencies.number + told.latency_unknown == told.replayed.succeeded


def test_tighter_limits_block_and_are_named(books: Path) -> None:
    tight = {**CONFIG, "budgets": [{"scope": "team", "limit": "0.001 USD/day"}]}
    told = replay(f"sqlite:///{books}", tight)
    assert told.newly_blocked > 0
    assert told.replayed.blocked > told.original.blocked
    assert any("budget" in one.limit and one.refused > 0 for one in told.limits)


def test_calls_are_chosen_by_conditions_on_calls(books: Path) -> None:
    ledger = f"sqlite:///{books}"
    seen: list[DecisionRecord] = []
    told = replay(ledger, CONFIG, where=["team=search"], each=lambda then, _: seen.append(then))
    assert {record.context.team for record in seen} == {"search"}
    assert told.calls == len(seen) < 400
    with pytest.raises(ValueError, match="of attempts"):
        replay(ledger, CONFIG, where=["provider=openai"])
    with pytest.raises(ValueError, match="warm_up"):
        replay(ledger, CONFIG, warm_up=-1)
    with pytest.raises(ConfigurationError, match="no ledger"):
        replay("sqlite:///nowhere.db", CONFIG)


def test_an_alias_that_is_gone_is_told(books: Path) -> None:
    left = [one for one in CONFIG["model_list"] if one["model_name"] == "fast"]
    told = replay(f"sqlite:///{books}", {"model_list": left, "policies": {n: {} for n in CONFIG["policies"]}})
    assert told.unknown_models["strong"] > 50


def test_nothing_is_written_and_nothing_is_sent(books: Path) -> None:
    before = books.read_bytes()
    replay(f"sqlite:///{books}", CHEAP)
    assert books.read_bytes() == before


def test_the_command_prints_both_sides_in_80_columns(files: Path) -> None:
    result = run("--policy", "new.yaml")
    assert result.exit_code == 0, result.output
    assert max(map(len, result.output.splitlines())) <= 80
    for word in ("cost", "latency p95", "success", "blocked", "moved", "What cannot be known", "b-us"):
        assert word in result.output


@pytest.mark.parametrize(
    ("expression", "code"),
    [
        ("cost > +5%", 0),
        ("cost < -5%", 1),
        ("moved > 1%", 1),
        ("moved > 99% or cost > $100", 0),
        ("moved > 1% and success > 1%", 1),
        ("p95 > 10m", 2),
        ("price > 5%", 2),
    ],
)
def test_an_expression_decides_about_the_exit_code(files: Path, expression: str, code: int) -> None:
    assert run("--policy", "new.yaml", "--fail-if", expression).exit_code == code


@pytest.mark.parametrize(
    "expression", ["cost > +5%", "blocked > 0", "moved > 20%", "p95 > 2s", "success < 99%"]
)
def test_where_no_calls_are_nothing_passes_unseen(files: Path, expression: str) -> None:
    result = run("--policy", "new.yaml", "--until", "2001-01-01", "--fail-if", expression)
    assert result.exit_code == 1
    assert f"FAILED: {expression}: cannot be told" in result.output


def test_the_configuration_itself_comes_out_the_same(files: Path) -> None:
    result = run("--json")
    told = json.loads(result.output)
    assert told["same"] == told["calls"] == 400
    assert told["moves"] == []
    assert told["original"] == told["replayed"]


def test_a_file_with_other_sections_is_refused(files: Path) -> None:
    (files / "odd.yaml").write_text("ledger: memory\n")
    result = run("--policy", "odd.yaml")
    assert result.exit_code == 2
    assert "cannot be laid over" in result.output


def test_a_span_without_calls_is_told(files: Path) -> None:
    result = run("--since", "2020-01-01", "--until", "2020-01-02")
    assert result.exit_code == 0
    assert "No calls in the books" in result.output


@pytest.mark.parametrize(
    "expression", ["cost", "cost > 5%", "p50 > 3 USD", "success < 2", "blocked > +3", ""]
)
def test_what_makes_no_sense_is_no_expression(expression: str) -> None:
    with pytest.raises(ValueError, match="write such as"):
        check(expression)


def test_quantiles_are_within_half_a_percent() -> None:
    times = Latencies()
    assert times.quantile(0.5) is None
    for place in range(1, 1001):
        times.add(place / 100)
    assert times.quantile(0.5) == pytest.approx(5.0, rel=0.006)
    assert times.quantile(0.95) == pytest.approx(9.5, rel=0.006)


def test_books_in_memory_are_replayed_too_and_in_a_loop_that_runs() -> None:
    """As in a notebook, whose cells run in an event loop."""
    provider = ScriptedProvider({}, default="hello")
    with Gateway.from_config({**CONFIG, "ledger": "memory"}, transport=provider) as gateway:
        for _ in range(5):
            gateway.complete(CONFIG["model_list"][0]["model_name"], "hi")

    async def cell() -> Replay:
        return replay(gateway.services.ledger, CONFIG)

    result = asyncio.run(cell())
    assert (result.calls, result.same) == (5, 5)


def test_a_policy_takes_the_place_of_the_one_of_its_name_and_rules_lead_to_the_others(files: Path) -> None:
    rules = {"rules": [{"when": {"team": "x"}, "use": "quick"}]}
    whole = yaml.safe_load((files / "llmgate.yaml").read_text())
    (files / "llmgate.yaml").write_text(yaml.safe_dump(whole | rules))
    (files / "one.yaml").write_text("policies: {default: {prefer: cheapest}}")
    told = run("--policy", "one.yaml")
    assert told.exit_code == 0, told.output
    assert "Who moved where" in told.output


def test_a_mistake_in_what_is_laid_over_says_over_what(files: Path) -> None:
    (files / "one.yaml").write_text("policies: {default: {prefer: cheepest}}")
    told = " ".join(run("--policy", "one.yaml").output.split())
    assert "one.yaml over llmgate.yaml: policies.default.prefer: must be one of" in told
    (files / "one.yaml").write_text("polices: {default: {prefer: cheapest}}")
    told = " ".join(run("--policy", "one.yaml").output.split())
    assert "polices cannot be laid over a configuration (did you mean policies?)" in told
    (files / "one.yaml").write_text("what is this")
    assert "one.yaml has no sections" in run("--policy", "one.yaml").output
