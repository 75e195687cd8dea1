"""Configuration entries become deployments: who, where, with which key, at what price."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from llmgate_plugins.config import build_deployments, load_config
from llmgate_plugins.config.providers import may_have_usual_key, split_model
from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.secrets import Secret
from llmgate_plugins.types import Deployment, Price

LISTED = Price(input=100, cached_input=50, cache_write=100, output=400, source="litellm")


@dataclass(frozen=True)
class Card:
    price: Price | None = LISTED
    context_window: int | None = 128_000
    max_output: int | None = 4_096
    capabilities: frozenset[str] = frozenset({"tools"})


@dataclass
class Cards:
    card: Card | None = None
    asked: list[tuple[str | None, str, str | None]] = field(default_factory=list)

    def lookup(self, provider: str | None, model: str, *, region: str | None = None) -> Card | None:
        self.asked.append((provider, model, region))
        return self.card


def build(*entries: dict[str, Any], cards: Cards | None = None, **more: Any) -> tuple[Deployment, ...]:
    return build_deployments(load_config({"model_list": list(entries), **more}), cards or Cards())


def entry(model: str = "openai/x", name: str = "a", info: dict[str, Any] | None = None, **params: Any) -> Any:
    params = {"api_key": "none", **params}
    return {"model_name": name, "litellm_params": {"model": model, **params}, "model_info": info or {}}


@pytest.mark.parametrize(
    ("model", "custom", "split"),
    [
        ("openai/gpt-4o", None, ("openai", "gpt-4o")),
        ("openai/meta-llama/Llama-3", None, ("openai", "meta-llama/Llama-3")),
        ("bedrock/anthropic.claude-v2:0", None, ("bedrock", "anthropic.claude-v2:0")),
        ("meta-llama/Llama-3", "hosted_vllm", ("hosted_vllm", "meta-llama/Llama-3")),
        ("azure/my-gpt", "azure", ("azure", "my-gpt")),
        ("gpt-4o-mini", None, ("openai", "gpt-4o-mini")),
        ("o3", None, ("openai", "o3")),
        ("o4-mini", None, ("openai", "o4-mini")),
        ("claude-haiku-4-5", None, ("anthropic", "claude-haiku-4-5")),
        ("gemini-2.5-pro", None, ("gemini", "gemini-2.5-pro")),
        ("x", "whatever", ("whatever", "x")),
        ("whatever/x", None, None),
        ("openai/", None, None),
        ("my-model", None, None),
        ("olmo", None, None),
    ],
)
def test_the_provider_is_told_by_litellms_rules(
    model: str, custom: str | None, split: tuple[str, str] | None
) -> None:
    assert split_model(model, custom) == split


def test_ids_are_as_written_or_readable_and_stable() -> None:
    deployments = build(
        entry(info={"id": 7}),
        entry("openai/gpt-4o"),
        entry("openai/gpt-4o"),
        entry("openrouter/meta/llama"),
        entry(info={"id": "a/openai-gpt-4o-2"}),
    )
    assert [d.id for d in deployments] == [
        "7",
        "a/openai-gpt-4o",
        "a/openai-gpt-4o-3",
        "a/openrouter-meta-llama",
        "a/openai-gpt-4o-2",
    ]


@pytest.mark.parametrize(
    ("params", "info", "region"),
    [
        ({}, {"region": "eu"}, "eu"),
        ({"region_name": "us"}, {"region": "eu"}, "eu"),
        ({"region_name": "us"}, {}, "us"),
        ({"aws_region_name": "us-east-1"}, {}, "us-east-1"),
        ({"vertex_location": "europe-west4"}, {}, "europe-west4"),
        ({"aws_region_name": "os.environ/MY_REGION"}, {}, "eu-central-1"),
        ({}, {}, None),
    ],
)
def test_the_region_is_what_is_declared_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, params: dict[str, str], info: dict[str, str], region: str | None
) -> None:
    monkeypatch.setenv("MY_REGION", "eu-central-1")
    (deployment,) = build(entry(info=info, **params))
    assert deployment.region == region


def test_key_and_address_stay_together_and_everything_secret_is_a_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("THE_KEY", "sk-0123456789")
    monkeypatch.setenv("THE_BASE", "https://example.com/v1")
    (deployment,) = build(
        entry(
            "azure/x",
            api_key="os.environ/THE_KEY",
            api_base="os.environ/THE_BASE",
            api_version="2024-10-21",
            organization="org",
            aws_secret_access_key="literal-0123",
            vertex_credentials={"type": "service_account", "private_key": "pem"},
            some_token="env:THE_KEY",
            extra_headers={"X-Key": "abc"},
            timeout="20s",
            temperature=0.2,
            stop=["a"],
            extra_body={"nested": {"password": "pw-0123"}},
            rpm=5,
            tags=["free"],
            max_retries=3,
        )
    )
    endpoint = deployment.endpoint
    assert endpoint.base_url == "https://example.com/v1"
    assert endpoint.api_key == Secret("os.environ/THE_KEY")
    assert endpoint.headers == {"X-Key": Secret("abc")}
    assert endpoint.options["api_version"] == "2024-10-21"
    assert endpoint.options["organization"] == "org"
    assert endpoint.options["timeout"] == 20.0
    assert endpoint.options["aws_secret_access_key"].reveal() == "literal-0123"
    assert (
        endpoint.options["vertex_credentials"].reveal() == '{"type": "service_account", "private_key": "pem"}'
    )
    assert endpoint.options["some_token"].reveal() == "sk-0123456789"
    assert deployment.params == {
        "temperature": 0.2,
        "stop": ["a"],
        "extra_body": {"nested": {"password": Secret("pw-0123")}},
    }
    assert (deployment.info["rpm"], deployment.info["tags"]) == (5, ["free"])


def test_the_usual_key_is_referred_to_where_none_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    monkeypatch.setenv("GOOGLE_API_KEY", "google-0123456789")
    models = ["openai/x", "gemini/x", "bedrock/x", "ollama/x"]
    keys = [
        d.endpoint.api_key
        for d in build(*({"model_name": "a", "litellm_params": {"model": m}} for m in models))
    ]
    assert keys == [Secret("env:OPENAI_API_KEY"), Secret("env:GOOGLE_API_KEY"), None, None]


@pytest.mark.parametrize(
    ("provider", "address", "may"),
    [
        ("openai", None, True),
        ("openai", "https://api.openai.com/v1", True),
        ("openai", "https://eu.api.openai.com/v1", True),
        ("azure", "https://mine.openai.azure.com", True),
        ("openai", "http://localhost:8000", False),
        ("openai", "https://openai.example.com", False),
        ("openai", "https://api.openai.com.example.com", False),
        ("openai", "https://[broken", False),
    ],
)
def test_the_usual_key_goes_only_to_the_providers_own_host(
    provider: str, address: str | None, may: bool
) -> None:
    assert may_have_usual_key(provider, address) is may


def test_no_key_goes_to_a_foreign_address_unless_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    plain = {"model_name": "a", "litellm_params": {"model": "openai/x", "api_base": "http://localhost/v1"}}
    (deployment,) = build(plain)
    assert deployment.endpoint.api_key is None


def test_price_and_size_come_from_the_catalogue_and_what_is_written_wins() -> None:
    cards = Cards(Card())
    known, priced, sized = build(
        entry("openai/gpt-4o", info={"region": "us"}),
        entry("openai/gpt-4o", input_cost_per_token="1e-6", cache_read_input_token_cost=2.5e-7),
        entry(
            "azure/mine",
            info={"base_model": "azure/gpt-4o", "max_input_tokens": 9, "capabilities": ["vision"]},
        ),
        cards=cards,
    )
    assert (known.price, known.context_window, known.max_output) == (LISTED, 128_000, 4_096)
    assert known.capabilities == {"tools"}
    assert priced.price is not None
    assert (priced.price.input, priced.price.cached_input, priced.price.output) == (10**9, 250_000_000, 400)
    assert priced.price.source == "config"
    assert (sized.context_window, sized.capabilities) == (9, {"vision"})
    assert cards.asked == [("openai", "gpt-4o", "us"), ("openai", "gpt-4o", None), ("azure", "gpt-4o", None)]


def test_a_model_nobody_knows_has_no_price() -> None:
    (deployment,) = build(entry())
    assert (deployment.price, deployment.context_window, deployment.capabilities) == (None, None, frozenset())


def test_prices_of_the_file_are_laid_over_the_installed_catalogue() -> None:
    config = load_config(
        {
            "model_list": [entry("openai/gpt-4o-mini"), entry("openai/never-heard-of")],
            "prices": {
                "openai/gpt-4o-mini": {"input": 0.3, "output": "1.2"},
                "openai/never-heard-of": {"input": 1},
            },
        }
    )
    mini, unheard = build_deployments(config)
    assert mini.price is not None
    assert unheard.price is not None
    assert (mini.price.input, mini.price.output) == (300_000_000, 1_200_000_000)
    assert unheard.price.input == 10**9
    assert mini.context_window is not None
    assert mini.context_window > 100_000


@pytest.mark.parametrize(
    ("entries", "weights"),
    [
        ([{}, {}], [1.0, 1.0]),
        ([{"weight": 3}, {}], [3.0, 1.0]),
        ([{"rpm": 10}, {"rpm": 90}], [10.0, 90.0]),
        ([{"rpm": 10}, {}], [1.0, 1.0]),
        ([{"tpm": 10}, {"tpm": 5}], [10.0, 5.0]),
        ([{"weight": 0, "rpm": 10}, {"weight": 2, "rpm": 10}], [0.0, 2.0]),
    ],
)
def test_weights_are_as_written_else_by_rpm_or_tpm(
    entries: list[dict[str, Any]], weights: list[float]
) -> None:
    assert [d.weight for d in build(*(entry(**params) for params in entries))] == weights


def test_building_tells_every_reference_that_leads_nowhere() -> None:
    config = load_config(
        {
            "model_list": [
                entry(api_key="env:NOT_HERE_1"),
                entry(aws_secret_access_key="os.environ/NOT_HERE_2"),
                entry(api_base="os.environ/NOT_HERE_3"),
            ]
        }
    )
    with pytest.raises(ConfigurationError) as caught:
        build_deployments(config, Cards())
    assert [problem.path for problem in caught.value.problems] == [
        "model_list[0].litellm_params.api_key",
        "model_list[1].litellm_params.aws_secret_access_key",
        "model_list[2].litellm_params.api_base",
    ]
    with pytest.raises(ConfigurationError) as caught:
        build_deployments(config, Cards(), secrets=False)
    assert [problem.path for problem in caught.value.problems] == ["model_list[2].litellm_params.api_base"]


def test_a_model_named_by_reference_is_looked_up_and_its_provider_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("THE_MODEL", "groq/llama")
    (deployment,) = build(entry("os.environ/THE_MODEL"))
    assert (deployment.provider, deployment.model) == ("groq", "llama")
    monkeypatch.setenv("THE_MODEL", "llama")
    with pytest.raises(ConfigurationError, match="its provider cannot be told"):
        build(entry("os.environ/THE_MODEL"))


def test_facts_about_a_deployment_reach_plugins() -> None:
    (deployment,) = build(entry(info={"id": "one", "tier": 2, "team": "x", "mode": "chat"}))
    assert dict(deployment.info) == {"tier": 2, "mode": "chat", "team": "x"}
