"""`llmgate models` for people at 80 columns and for programs."""

import json

import pytest
from click.testing import CliRunner

from llmgate_plugins.cli.models import models


def run(*arguments):
    return CliRunner(env={"COLUMNS": "80"}).invoke(models, arguments)


def test_a_list_fits_80_columns_and_says_unit_source_and_date():
    result = run("fireworks", "--limit", "5")
    assert result.exit_code == 0
    assert all(len(line) <= 80 for line in result.output.splitlines())
    assert "in $/M" in result.output
    assert "source litellm 1." in result.output
    assert "source genai-prices" in result.output
    assert "5 of " in result.output


def test_filters_are_obeyed_and_json_is_whole():
    result = run(
        *("--provider", "openai", "--provider", "azure", "--can", "tools,vision", "--min-context", "100000"),
        *("--max-input-price", "$0.50", "--sort", "price", "--json"),
    )
    told = json.loads(result.output)
    assert told["unit"] == "USD per million tokens"
    assert [source["name"] for source in told["sources"]] == ["litellm", "genai-prices"]
    found = told["models"]
    prices = [model["price"]["input"] for model in found]
    assert len(found) > 5
    assert prices == sorted(prices)
    for model in found:
        assert model["provider"] in ("openai", "azure")
        assert {"tools", "vision"} <= set(model["capabilities"])
        assert model["context_window"] >= 100_000
        assert model["price"]["input"] <= 0.5
        assert model["source"]
        assert model["as_of"]


def test_more_than_150_priced_chat_models_are_listed():
    found = json.loads(run("--json").output)["models"]
    assert sum(model["price"] is not None and model["mode"] == "chat" for model in found) > 150


def test_the_largest_context_comes_first_when_asked_for():
    found = json.loads(run("--provider", "gemini", "--sort", "context", "--limit", "5", "--json").output)[
        "models"
    ]
    sizes = [model["context_window"] for model in found]
    assert len(sizes) == 5
    assert sizes == sorted(sizes, reverse=True)


def test_models_side_by_side_with_what_they_can():
    names = ["openai/gpt-4o-mini", "anthropic/claude-haiku-4-5"]
    result = run("--compare", *names)
    assert result.exit_code == 0
    assert all(len(line) <= 80 for line in result.output.splitlines())
    rows = {line.split("  ")[0].strip(): line.split()[-2:] for line in result.output.splitlines()}
    assert rows["input $/M"] == ["0.15", "1.00"]
    assert rows["cache write"] == ["0.15", "1.25"]
    assert rows["reasoning"] == ["-", "yes"]
    assert rows["price from"] == ["litellm", "litellm"]
    told = json.loads(run("--compare", "gpt-4o-mini", "anthropic/claude-haiku-4-5", "--json").output)
    assert [model["model"] for model in told["models"]] == [
        "openai/gpt-4o-mini",
        "anthropic/claude-haiku-4-5",
    ]


def test_both_sources_side_by_side_with_their_difference():
    result = run("deepseek-chat", "--provider", "deepseek", "--sources")
    assert "litellm in/out" in result.output
    assert "differs" in result.output
    told = json.loads(run("gpt-4o-mini", "--provider", "openai", "--sources", "--json").output)["models"]
    mini = next(model for model in told if model["model"] == "openai/gpt-4o-mini")
    assert mini["difference_percent"]["input"] == 0
    assert mini["sources"]["litellm"]["price"] == mini["sources"]["genai-prices"]["price"]


def test_nothing_found_is_said_in_words():
    result = run("no-such-model-anywhere")
    assert result.exit_code == 0
    assert "No model fits" in result.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--provider", "opnai"], "openai"),
        (["--can", "flying"], "vision"),
        (["--mode", "chatt"], "chat"),
        (["--max-input-price", "abc"], "USD per million tokens"),
        (["--max-input-price", "-1"], "USD per million tokens"),
        (["--max-input-price", "nan"], "USD per million tokens"),
        (["--min-context", "-5"], "--min-context"),
        (["--limit", "0"], "--limit"),
        (["--sort", "beauty"], "price"),
        (["--compare", "gpt-4o-mini"], "two models"),
        (["--compare", "gpt-4o-mini", "gpt-4o-minni"], "did you mean"),
        (["--frobnicate"], "--frobnicate"),
    ],
)
def test_bad_input_is_refused_with_a_remedy(arguments, told):
    result = run(*arguments)
    assert result.exit_code == 2
    assert told in result.output
    assert "Traceback" not in result.output


def test_without_sources_the_command_says_what_to_install(monkeypatch):
    monkeypatch.setattr("llmgate_plugins.catalog.catalog._INSTALLED", ())
    result = run()
    assert result.exit_code == 1
    assert "The catalogue is empty" in result.output
