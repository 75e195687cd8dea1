"""A name means exactly one model, or none; prices come from who says them."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgate_plugins.catalog import Catalog, litellm_table
from llmgate_plugins.catalog.names import undated
from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.types import Deployment, Endpoint, Price

CATALOG = Catalog()
REGIONAL = "us.anthropic.claude-haiku-4-5-20251001-v1:0"


def deployment(provider="openai", model="gpt-4o-mini", **fields):
    return Deployment(id="d", alias="fast", provider=provider, model=model, **fields)


@pytest.mark.parametrize(
    ("provider", "model", "key"),
    [
        ("openai", "gpt-4o-mini", "gpt-4o-mini"),
        ("openai", "openai/gpt-4o-mini", "gpt-4o-mini"),
        (None, "openai/gpt-4o-mini", "gpt-4o-mini"),
        (None, "gpt-4o-mini", "gpt-4o-mini"),
        ("OpenAI", " GPT-4o-mini ", "gpt-4o-mini"),
        ("openai", "gpt-4o-mini-2024-07-18", "gpt-4o-mini-2024-07-18"),
        ("openai", "ft:gpt-4o-mini-2024-07-18:acme::abc", "ft:gpt-4o-mini-2024-07-18"),
        ("azure", "gpt-4o-mini", "azure/gpt-4o-mini"),
        ("azure_openai", "gpt-4o-mini", "azure/gpt-4o-mini"),
        ("azure", "azure/eu/gpt-4o-mini", "azure/eu/gpt-4o-mini"),
        (None, "azure/us/gpt-4o-mini", "azure/us/gpt-4o-mini"),
        ("anthropic", "claude-haiku-4-5", "claude-haiku-4-5"),
        ("anthropic", "claude-haiku-4-5-20251001", "claude-haiku-4-5-20251001"),
        ("anthropic", "claude-haiku-4-5-20991231", "claude-haiku-4-5"),
        ("anthropic", "claude-haiku-4-5-latest", "claude-haiku-4-5"),
        ("bedrock", REGIONAL, REGIONAL),
        ("bedrock", f"bedrock/converse/{REGIONAL}", REGIONAL),
        ("bedrock", f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/{REGIONAL}", REGIONAL),
        ("bedrock", "ca.anthropic.claude-haiku-4-5-20251001-v1:0", REGIONAL.removeprefix("us.")),
        ("bedrock", "anthropic.claude-haiku-4-5", REGIONAL.removeprefix("us.")),
        ("vertex_ai", "claude-haiku-4-5@20251001", "vertex_ai/claude-haiku-4-5@20251001"),
        ("vertex_ai", "gemini-2.5-pro", "gemini-2.5-pro"),
        ("google_vertexai", "publishers/google/models/gemini-2.5-pro", "gemini-2.5-pro"),
        ("gemini", "gemini-2.5-pro", "gemini/gemini-2.5-pro"),
        ("google_genai", "models/gemini-2.5-pro", "gemini/gemini-2.5-pro"),
        ("openrouter", "anthropic/claude-haiku-4.5", "openrouter:anthropic/claude-haiku-4.5"),
        (None, "openrouter/anthropic/claude-haiku-4.5", "openrouter:anthropic/claude-haiku-4.5"),
    ],
)
def test_a_name_as_its_users_write_it_finds_the_card_of_its_provider(provider, model, key):
    assert CATALOG.lookup(provider, model).key == key


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4o-min"),
        ("openai", "gpt-4o-mini-2"),
        ("openai", "gpt-4o-mini-turbo"),
        ("openai", "davinci-003"),
        ("openai", "claude-haiku-4-5"),
        ("anthropic", "gpt-4o-mini"),
        ("anthropic", "claude-haiku-4"),
        ("anthropic", "claude-haiku-4-5-20251001-fast"),
        ("azure", "my-deployment"),
        ("bedrock", "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/x1y2"),
        ("nobody", "gpt-4o-mini"),
        (None, "nobody/gpt-4o-mini"),
        ("openai", ""),
        (None, ""),
        ("", "/"),
    ],
)
def test_another_model_is_never_guessed(provider, model):
    assert CATALOG.lookup(provider, model) is None


@given(st.text(max_size=40), st.sampled_from(["openai", "anthropic", "bedrock", "gemini", None]))
def test_no_name_makes_a_lookup_raise(name, provider):
    card = CATALOG.lookup(provider, name)
    assert card is None or card.model


@given(st.deferred(lambda: st.sampled_from(sorted({card.name for card in CATALOG.all("chat")}))), st.data())
def test_a_name_with_a_letter_more_or_less_is_another_model_or_none(name, data):
    provider, _, model = name.partition("/")
    place = data.draw(st.integers(0, len(model) - 1))
    changed = model[:place] + data.draw(st.sampled_from(["", "q", "qq"])) + model[place + 1 :]
    card = CATALOG.lookup(provider, changed)
    assert card is None or undated(card.model.lower()).endswith(undated(changed.lower()).rpartition("/")[2])


def test_a_region_of_bedrock_has_its_own_price():
    name = "anthropic.claude-haiku-4-5-20251001-v1:0"
    home, gov = CATALOG.lookup("bedrock", name), CATALOG.lookup("bedrock", name, region="us-gov-west-1")
    assert gov.key == f"bedrock/us-gov-west-1/{name}"
    assert gov.price.input > home.price.input
    assert CATALOG.lookup("bedrock", name, region="mars-1") == home
    placed = deployment("bedrock", name, endpoint=Endpoint(options={"aws_region_name": "us-gov-west-1"}))
    assert CATALOG.price_of(placed) == gov.price


@pytest.fixture
def catalog_of(tmp_path):
    def make(table, overrides=None):
        path = tmp_path / "table.json"
        path.write_text(json.dumps(table))
        return Catalog(overrides, sources=(litellm_table(path),))

    return make


def entry(usd, **fields):
    return {
        "litellm_provider": "openai",
        "mode": "chat",
        "input_cost_per_token": usd,
        "output_cost_per_token": usd,
    } | fields


def test_a_model_with_two_snapshots_and_no_name_of_its_own_is_not_known(catalog_of):
    catalog = catalog_of(
        {"m-2024-01-01": entry(1e-6), "m-2025-01-01": entry(2e-6), "n-20250101": entry(3e-6)}
    )
    assert catalog.lookup("openai", "m") is None
    assert catalog.lookup("openai", "n").key == "n-20250101"
    assert catalog.lookup("openai", "n-20240101") is None


def test_a_price_missing_in_the_first_source_is_taken_from_the_second(tmp_path):
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    first.write_text(json.dumps({"m": {"litellm_provider": "openai", "mode": "chat", "max_input_tokens": 9}}))
    second.write_text(json.dumps({"m": entry(1e-6, max_input_tokens=8)}))
    card = Catalog(sources=(litellm_table(first), litellm_table(second))).lookup("openai", "m")
    assert (card.context_window, card.price.input) == (9, 1_000_000_000)


def test_the_model_that_served_sets_the_price_if_its_provider_sells_one_of_that_name(catalog_of):
    catalog = catalog_of(
        {
            "gpt-4o": entry(2.5e-6),
            "gpt-4o-2024-05-13": entry(5e-6),
            "gpt-4o-mini": entry(1.5e-7),
            "gpt-4": entry(3e-5),
            "gpt-4-0613": entry(4e-5),
        }
    )
    paid = lambda model, served: catalog.price_of(deployment(model=model), served).input  # noqa: E731
    assert paid("gpt-4o", None) == 2_500_000_000
    assert paid("gpt-4o", "gpt-4o-2024-05-13") == 5_000_000_000
    assert paid("gpt-4o", "gpt-4o-2031-01-01") == 2_500_000_000
    assert paid("gpt-4o", "gpt-4o-mini") == 150_000_000
    assert paid("gpt-4o", "unheard-of") == 2_500_000_000
    assert paid("gpt-4", "gpt-4-0613") == 40_000_000_000


def test_a_deployment_with_a_name_of_its_own_is_priced_by_what_served():
    azure = deployment("azure", "our-chat")
    assert CATALOG.price_of(azure) is None
    assert CATALOG.price_of(azure, "gpt-4o-mini-2024-07-18").input == 150_000_000
    based = deployment("azure", "our-chat", info={"base_model": "azure/gpt-4o-mini"})
    assert CATALOG.price_of(based).input == 150_000_000


def test_a_price_from_configuration_counts_whatever_served():
    own = Price(input=7, output=7)
    assert CATALOG.price_of(deployment(price=own), "gpt-4o-mini-2024-07-18") is own


def test_a_deployments_own_price_stays_where_nobody_knows_the_model():
    own = Price(input=7, source="litellm", as_of="old")
    assert CATALOG.price_of(deployment(model="unheard-of", price=own), "unheard-of-too") is own
    assert CATALOG.price_of(deployment(model="unheard-of")) is None


def test_long_input_is_priced_as_such():
    gemini = deployment("gemini", "gemini-2.5-pro")
    assert CATALOG.price_of(gemini).at(200_000).input == 1_250_000_000
    assert CATALOG.price_of(gemini).at(200_001).input == 2_500_000_000


def test_overrides_win_and_say_so():
    catalog = Catalog(
        {
            "openai/gpt-4o-mini": {"input": "0.10", "output": "0.40"},
            "our-model": {"input_cost_per_token": 1e-6, "context_window": 5000, "capabilities": ["tools"]},
        }
    )
    card = catalog.lookup(None, "openai/gpt-4o-mini")
    assert (card.price.input, card.price.output, card.price.source) == (100_000_000, 400_000_000, "config")
    assert card.context_window == 128_000
    assert card.tiers == ()
    assert catalog.lookup("azure", "gpt-4o-mini").price.source == "litellm"
    ours = catalog.lookup("hosted_vllm", "our-model")
    assert (ours.price.input, ours.price.output, ours.context_window) == (1_000_000_000, 0, 5000)
    names = [card.name for card in catalog.all("chat")]
    assert names.count("openai/gpt-4o-mini") == 1
    assert "/our-model" in names


def test_an_override_of_the_window_alone_keeps_the_sources_price():
    card = Catalog({"gpt-4o-mini": {"context_window": 64_000}}).lookup("openai", "gpt-4o-mini")
    assert (card.context_window, card.price.input, card.price.source) == (64_000, 150_000_000, "litellm")


def test_every_mistake_in_the_overrides_is_told_at_once():
    with pytest.raises(ConfigurationError) as caught:
        Catalog(
            {
                "a": {"input": "cheap", "inputs": 1},
                "b": {"input": 1, "input_cost_per_token": 1e-6},
                "c": {"context_window": -1, "capabilities": ["flying"]},
                "d": 7,
            }
        )
    told = str(caught.value)
    for part in (
        "prices.a.input:",
        "prices.a.inputs: unknown key",
        "mixed",
        "not a count",
        "flying",
        "prices.d",
    ):
        assert part in told


def test_sources_are_compared_in_percent(tmp_path):
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    first.write_text(json.dumps({"m": entry(2e-6, cache_read_input_token_cost=0)}))
    second.write_text(json.dumps({"m": entry(3e-6, output_cost_per_token=1e-6)}))
    theirs = litellm_table(second)
    theirs.name = "other"
    compared = Catalog(sources=(litellm_table(first), theirs)).compare("openai", "m")
    assert set(compared.cards) == {"litellm", "other"}
    assert compared.differences["input"] == Decimal(50)
    assert compared.differences["output"] == Decimal(-50)
    assert compared.differences["cached_input"] is None
    assert Catalog(sources=(theirs,)).compare("openai", "m").differences == {}


def test_the_two_installed_sources_agree_on_a_well_known_model():
    compared = CATALOG.compare("openai", "gpt-4o-mini")
    assert all(card is not None for card in compared.cards.values())
    assert set(compared.differences.values()) == {Decimal(0)}


def test_a_search_keeps_what_fits_every_condition():
    found = CATALOG.search(
        "claude haiku",
        providers=["anthropic", "aws"],
        can=["tools", "vision"],
        min_context=200_000,
        max_input_price=1_000_000_000,
    )
    assert found
    assert [card.name.lower() for card in found] == sorted(card.name.lower() for card in found)
    for card in found:
        assert card.provider in ("anthropic", "bedrock")
        assert {"tools", "vision"} <= card.capabilities
        assert card.context_window >= 200_000
        assert card.price.input <= 1_000_000_000


def test_every_model_is_listed_once_and_found_again_under_its_name():
    cards = list(CATALOG.all("chat"))
    places = [(card.provider, card.model.lower()) for card in cards]
    assert len(places) == len(set(places))
    assert len(cards) > 3000
    astray = [card.name for card in cards if CATALOG.lookup(card.provider, card.model) is None]
    assert astray == []
