"""`prices`: per bucket, above a threshold, per service tier, with a discount; every mistake with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmgate_plugins import Gateway
from llmgate_plugins.catalog import Catalog
from llmgate_plugins.config import load_config
from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.types import Price

USD = 1_000_000_000
DEPLOYMENT = "model_list:\n  - {model_name: fast, litellm_params: {model: openai/x, api_key: none}}\n"
FULL = (
    DEPLOYMENT
    + """\
prices:
  openai/x:
    input: 2
    output: "8"
    cached_input: 0.5
    cache_write: 2.5
    cache_write_1h: 4
    audio_input: 40
    image_input: 3
    reasoning: 6
    audio_output: 80
    image_output: 30
    tiers:
      - {above: 200000, input: 4, output: 12}
      - {tier: flex, input: 1, output: 4, cached_input: 0.25}
      - {tier: batch, discount: 50%}
      - {tier: priority, above: 200000, input: 9}
"""
)


def price_of(text: str, tmp_path: Path) -> Price:
    file = tmp_path / "llmgate.yaml"
    file.write_text(text)
    with Gateway.from_config(file) as gateway:
        (deployment,) = gateway.deployments.values()
    assert deployment.price is not None
    return deployment.price


def test_a_price_may_be_said_for_every_bucket_and_under_every_condition(tmp_path: Path) -> None:
    price = price_of(FULL, tmp_path)
    assert (price.input, price.output, price.cached_input) == (2 * USD, 8 * USD, USD // 2)
    assert (price.cache_write, price.cache_write_1h, price.reasoning) == (5 * USD // 2, 4 * USD, 6 * USD)
    assert (price.audio_input, price.image_input) == (40 * USD, 3 * USD)
    assert (price.audio_output, price.image_output) == (80 * USD, 30 * USD)
    assert {(tier.above, tier.variant) for tier in price.tiers} == {
        (0, "batch"),
        (0, "flex"),
        (200_000, ""),
        (200_000, "batch"),
        (200_000, "priority"),
    }
    assert {tier.price.source for tier in price.tiers} == {price.source} == {"config"}


def test_a_tier_takes_what_it_does_not_name_from_the_price_of_its_threshold(tmp_path: Path) -> None:
    price = price_of(FULL, tmp_path)
    long = price.at(200_001)
    assert (long.input, long.output, long.cached_input, long.audio_input) == (
        4 * USD,
        12 * USD,
        USD // 2,
        40 * USD,
    )
    priority = price.at(200_001, "priority")
    assert (priority.input, priority.output) == (9 * USD, 12 * USD)
    flex = price.at(10, "flex")
    assert (flex.input, flex.cached_input, flex.audio_output) == (USD, USD // 4, 80 * USD)


def test_a_discount_is_one_on_every_bucket_above_every_threshold(tmp_path: Path) -> None:
    price = price_of(FULL, tmp_path)
    batch = price.at(10, "batch")
    assert (batch.input, batch.cached_input, batch.cache_write_1h) == (USD, USD // 4, 2 * USD)
    assert (batch.reasoning, batch.audio_output) == (3 * USD, 40 * USD)
    assert price.at(200_001, "batch").input == 2 * USD


def test_tiers_alone_add_to_what_the_catalogue_knows() -> None:
    card = Catalog({"openai/gpt-4o": {"tiers": [{"tier": "flex", "discount": 0.4}]}}).lookup(
        "openai", "gpt-4o"
    )
    assert card is not None
    assert card.price is not None
    assert (card.price.input, card.price.at(10, "flex").input) == (2_500_000_000, 1_500_000_000)
    assert card.price.at(10, "batch").input == 1_250_000_000


def test_a_plain_price_leaves_nothing_of_the_catalogues_tiers() -> None:
    card = Catalog({"openai/gpt-4o": {"input": 1, "output": 2}}).lookup("openai", "gpt-4o")
    assert card is not None
    assert card.price == Price(input=USD, output=2 * USD)


def test_litellms_longer_names_hold_at_a_deployment(tmp_path: Path) -> None:
    text = """\
model_list:
  - model_name: fast
    litellm_params:
      model: openai/x
      api_key: none
      input_cost_per_token: 1.0e-06
      output_cost_per_token: 4.0e-06
      input_cost_per_token_above_200k_tokens: "2e-06"
      output_cost_per_token_batches: 2.0e-06
    model_info: {input_cost_per_audio_token: 4.0e-05, cache_creation_input_token_cost_above_1hr: 2.0e-06}
"""
    price = price_of(text, tmp_path)
    assert (price.input, price.audio_input, price.cache_write_1h) == (USD, 40 * USD, 2 * USD)
    assert price.at(200_001).input == 2 * USD
    assert price.at(5, "batch").output == 2 * USD


def test_a_price_is_not_sent_to_the_provider(tmp_path: Path) -> None:
    file = tmp_path / "llmgate.yaml"
    file.write_text(
        "model_list:\n  - model_name: fast\n"
        "    litellm_params: {model: openai/x, api_key: none, temperature: 0.5,\n"
        "      input_cost_per_token: 1.0e-06, input_cost_per_token_priority: 2.0e-06}\n"
    )
    with Gateway.from_config(file) as gateway:
        (deployment,) = gateway.deployments.values()
    assert dict(deployment.params) == {"temperature": 0.5}


@pytest.mark.parametrize(
    ("line", "path", "message"),
    [
        ("{input: 3}", "", "it has no condition (say above: 200000"),
        ("{tier: flex}", "", "it names no price (write input: and output:, or discount: 50%)"),
        ("{tier: default, input: 3}", "", "'default' is how every call is served"),
        ("{above: 200000, input: 1}", "", "there is another price for the same condition (keep one"),
        ("{tier: batch, discount: 150}", ".discount", "must be at most 1"),
        ("{tier: batch, discount: lots}", ".discount", "must be a number, not text"),
        ("{tier: batch, input: -1}", ".input", "must be at least 0"),
        ("{above: 0, input: 1}", ".above", "must be at least 1"),
        ("{tier: x, inputs: 3}", ".inputs", "unknown key 'inputs' (did you mean input?)"),
    ],
)
def test_every_mistake_in_a_tier_is_told_with_its_line(
    line: str, path: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "llmgate.yaml"
    file.write_text(
        DEPLOYMENT
        + "prices:\n  openai/x:\n    input: 1\n    tiers:\n      - {above: 200000, input: 2}\n"
        + f"      - {line}\n"
    )
    with pytest.raises(ConfigurationError) as caught:
        load_config(file)
    (problem,) = caught.value.problems
    assert (problem.line, problem.path) == (8, f"prices.openai/x.tiers[1]{path}")
    assert message in str(problem)


def test_a_price_of_a_deployment_that_is_none_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "llmgate.yaml"
    file.write_text(
        "model_list:\n  - model_name: fast\n    litellm_params:\n      model: openai/x\n"
        "      input_cost_per_token_above_200k_tokens: cheap\n"
    )
    with pytest.raises(ConfigurationError, match=r"llmgate\.yaml:5: .*is not a price .write USD per token"):
        load_config(file)


def test_prices_per_million_and_per_token_are_not_mixed() -> None:
    with pytest.raises(ConfigurationError, match="are mixed"):
        Catalog({"openai/x": {"tiers": [{"tier": "flex", "input": 1}], "input_cost_per_token": 1e-6}})


def test_the_same_is_refused_in_python() -> None:
    wrong = {
        "openai/x": {
            "input": 1,
            "tiers": [{"tier": "flex", "above": -1}, "x", {"a": 1}, {"tier": "b", "discount": 2}],
        }
    }
    with pytest.raises(ConfigurationError) as caught:
        Catalog(wrong)
    assert [problem.path for problem in caught.value.problems] == [
        "prices.openai/x.tiers[0].above",
        "prices.openai/x.tiers[1]",
        "prices.openai/x.tiers[2]",
        "prices.openai/x.tiers[3].discount",
    ]
    with pytest.raises(ConfigurationError, match="is not a list"):
        Catalog({"openai/x": {"tiers": "flex"}})


def test_counting_tokens_is_asked_for_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "llmgate.yaml"
    file.write_text(DEPLOYMENT + "tokens: counted\n")
    asked: list[bool] = []
    monkeypatch.setattr("llmgate_plugins.assembly.assembling.prepare_counting", lambda: asked.append(True))
    Gateway.from_config(file).close()
    assert asked == [True]
    monkeypatch.setattr("llmgate_plugins.assembly.assembling.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"llmgate\.yaml:3: .*tiktoken is not installed"):
        Gateway.from_config(file)
