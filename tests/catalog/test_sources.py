"""What the two installed packages say, read as data, late and once."""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from importlib import metadata

import pytest

from llmgate_plugins.catalog import CAPABILITIES, Catalog, genai_table, litellm_table
from llmgate_plugins.catalog import from_litellm as litellm_module
from llmgate_plugins.types import Price

TABLE = {
    "sample_spec": {"litellm_provider": "one of ...", "mode": "chat", "max_tokens": "text"},
    "tiny": {
        "litellm_provider": "openai",
        "mode": "chat",
        "input_cost_per_token": 1.5e-07,
        "output_cost_per_token": 6e-07,
        "cache_read_input_token_cost": 7.5e-08,
        "input_cost_per_token_batches": 7.5e-08,
        "input_cost_per_token_above_200k_tokens": 3e-07,
        "output_cost_per_token_above_200k_tokens_priority": 2e-06,
        "cache_creation_input_token_cost": 2e-07,
        "cache_creation_input_token_cost_above_1hr": 4e-07,
        "max_input_tokens": 1000,
        "max_output_tokens": 100,
        "supports_function_calling": True,
        "supports_vision": False,
        "deprecation_date": "2030-01-31",
    },
    "dashscope/steps": {
        "litellm_provider": "dashscope",
        "mode": "chat",
        "tiered_pricing": [
            {"input_cost_per_token": 5e-08, "output_cost_per_token": 4e-07, "range": [0, 256000.0]},
            {"input_cost_per_token": 2.5e-07, "output_cost_per_token": 2e-06, "range": [256000.0, 1e6]},
        ],
    },
    "odd": {
        "litellm_provider": "openai",
        "mode": "chat",
        "input_cost_per_token": "free",
        "output_cost_per_token": -1,
        "max_input_tokens": "many",
        "deprecation_date": "soon",
        "tiered_pricing": [{"range": []}, 7],
    },
    "broken": 7,
}


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "prices.json"
    path.write_text(json.dumps(TABLE))
    return litellm_table(path)


@pytest.fixture(scope="module")
def installed():
    return {"litellm": litellm_table(), "genai-prices": genai_table()}


@pytest.mark.parametrize("name", ["litellm", "genai-prices"])
def test_each_source_alone_prices_more_than_150_chat_models(installed, name):
    priced = [card for card in installed[name].cards() if card.mode == "chat" and card.price is not None]
    assert len(priced) > 150
    assert len({card.provider for card in priced}) > 15
    version = metadata.version(name)
    assert all(card.price.as_of.startswith(version) and card.price.source == name for card in priced)
    assert all(card.capabilities <= CAPABILITIES for card in priced)


def test_every_price_of_litellms_table_is_exact(installed):
    """Each against the table's own text, read as decimals."""
    path = litellm_module._installed_file()
    content = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    compared = 0
    for card in installed["litellm"].cards():
        usd = content[card.key].get("input_cost_per_token")
        if card.price is not None and usd is not None:
            exact = Decimal(usd) * 10**15
            assert exact <= card.price.input < exact + 1, card.key
            compared += 1
    assert compared > 2500


def test_every_plain_price_of_genai_prices_is_exact(installed):
    from genai_prices.data import providers

    by_place = {(card.provider, card.model): card for card in installed["genai-prices"].cards()}
    openai = next(provider for provider in providers if provider.id == "openai")
    compared = 0
    for model in openai.models:
        card = by_place["openai", model.id]
        usd = getattr(model.prices, "input_mtok", None)
        if card.price is not None and isinstance(usd, Decimal):
            assert card.price.input == usd * 10**9
            compared += 1
    assert compared > 40


def test_a_table_is_read_into_prices_tiers_and_capabilities(table):
    card = table.find("openai", "tiny")
    assert (card.price.input, card.price.cached_input, card.price.cache_write) == (
        150_000_000,
        75_000_000,
        200_000_000,
    )
    assert (card.price.output, card.price.reasoning) == (600_000_000, 600_000_000)
    assert (card.context_window, card.max_output) == (1000, 100)
    assert card.capabilities == {"tools"}
    assert card.deprecation == date(2030, 1, 31)
    tiers = {(tier.above, tier.variant): tier.price for tier in card.tiers}
    assert set(tiers) == {(0, "batch"), (200_000, ""), (200_000, "priority")}
    assert card.price.cache_write_1h == 400_000_000
    assert tiers[200_000, "priority"] == Price(
        input=300_000_000,
        cached_input=75_000_000,
        cache_write=200_000_000,
        cache_write_1h=400_000_000,
        output=2_000_000_000,
        reasoning=2_000_000_000,
        source="litellm",
        as_of=card.as_of,
    )


def test_the_price_of_long_input_counts_from_one_token_above_its_threshold(table):
    card = table.find("openai", "tiny")
    assert card.price_at(200_000).input == 150_000_000
    assert card.price_at(200_001).input == 300_000_000
    assert card.price_at(10, "batch").input == 75_000_000
    assert card.price_at(10, "unheard-of") == card.price


def test_steps_of_a_price_are_a_plain_price_and_tiers(table):
    card = table.find("dashscope", "steps")
    assert (card.price.input, card.price.output) == (50_000_000, 400_000_000)
    assert card.price_at(256_001).output == 2_000_000_000


def test_an_entry_that_makes_no_sense_has_no_price_and_does_no_harm(table):
    card = table.find("openai", "odd")
    assert card.price is None
    assert card.context_window is None
    assert card.deprecation is None
    assert [card.key for card in table.cards()] == ["tiny", "dashscope/steps", "odd"]


@pytest.mark.parametrize("text", ["", "{", "[]", "7"])
def test_a_damaged_table_is_an_absent_source_that_says_so(tmp_path, text):
    path = tmp_path / "prices.json"
    path.write_text(text)
    source = litellm_table(path)
    assert source.find("openai", "tiny") is None
    assert not source.status().available
    assert "reinstall litellm" in source.status().reason


@pytest.mark.parametrize("version", ["1.82.7", "1.82.8", "1.107.0"])
def test_releases_that_were_tampered_with_are_refused_unread(monkeypatch, version):
    monkeypatch.setattr(litellm_module.metadata, "version", lambda _: version)
    monkeypatch.setattr(litellm_module, "_installed_file", lambda: pytest.fail("looked for the table"))
    source = litellm_table()
    assert source.find("openai", "gpt-4o") is None
    assert f"litellm {version} was tampered with" in source.status().reason


def test_without_any_source_the_catalogue_is_empty_and_says_so(monkeypatch):
    def missing(_):
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(litellm_module.metadata, "version", missing)
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    catalog = Catalog(sources=(litellm_table(), genai_table()))
    assert catalog.lookup("openai", "gpt-4o") is None
    assert list(catalog.all()) == []
    told = catalog.explain()
    assert "The catalogue is empty" in told
    assert "pip install litellm" in told
    assert "llmgate-plugins[prices]" in told


PROGRAM = """
import socket, sys
def refuse(*_): raise AssertionError("opened a socket")
socket.socket.connect = socket.getaddrinfo = refuse
from llmgate_plugins.catalog import Catalog
assert not {"litellm", "genai_prices"} & set(sys.modules), "read before the first look-up"
catalog = Catalog()
assert not {"litellm", "genai_prices"} & set(sys.modules), "read before the first look-up"
assert catalog.lookup("openai", "gpt-4o-mini").source == "litellm"
assert "genai_prices" not in sys.modules, "opened the second source without need"
assert catalog.lookup("openrouter", "anthropic/claude-haiku-4.5").source == "genai-prices"
assert len(list(catalog.all("chat"))) > 1000
assert not [name for name in sys.modules if name.split(".")[0] in ("litellm", "openai", "rich")]
"""


def test_litellm_is_never_imported_and_nothing_is_fetched():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=dict(os.environ), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_sixteen_threads_read_a_table_once_and_agree(tmp_path, monkeypatch):
    path = tmp_path / "prices.json"
    path.write_text(json.dumps(TABLE))
    reads = []
    original = litellm_module._load
    monkeypatch.setattr(litellm_module, "_load", lambda given: reads.append(given) or original(given))
    source = litellm_table(path)
    gate = threading.Barrier(16)

    def look():
        gate.wait()
        return source.find("openai", "tiny")

    with ThreadPoolExecutor(16) as pool:
        cards = [future.result() for future in [pool.submit(look) for _ in range(16)]]
    assert len(reads) == 1
    assert len(set(map(id, cards))) == 1
