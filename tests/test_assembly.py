"""From a configuration to a gateway that does what the file says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.distributions import distribution

from llmgate_plugins import (
    Attempt,
    ConfigurationError,
    Context,
    Gateway,
    Request,
    RequestDenied,
    Response,
    Secret,
    hookimpl,
)
from llmgate_plugins.assembly import assemble
from llmgate_plugins.catalog import Catalog
from llmgate_plugins.config import load_config
from llmgate_plugins.ledger import MemoryLedger
from llmgate_plugins.meters import ChunkMeter
from llmgate_plugins.plugins import BUILTINS, Health
from llmgate_plugins.plugins.general_fallbacks import GeneralFallbacks
from llmgate_plugins.state import MemoryState
from llmgate_plugins.testing import Fault, ProviderSimulator, VirtualClock, VirtualSleeper
from llmgate_plugins.types import NANO


def entry(id: str, alias: str = "fast", model: str = "openai/gpt-4o-mini", **info: Any) -> dict[str, Any]:
    return {
        "model_name": alias,
        "litellm_params": {
            "model": model,
            "api_key": "sk-0123456789abcdef",
            "api_base": "http://127.0.0.1:9/v1",
        },
        "model_info": {"id": id, **info},
    }


class Telling:
    """A transport that answers with the deployment's id, or raises for those that are dead."""

    def __init__(self, *dead: str) -> None:
        self.dead = dead
        self.asked: list[tuple[Attempt, Request]] = []

    def send(self, attempt: Attempt, request: Request) -> Response:
        self.asked.append((attempt, request))
        if attempt.deployment.id in self.dead:
            raise ConnectionError("nobody there")
        return Response.of(attempt.deployment.id)

    def meter(self, attempt: Attempt, request: Request) -> ChunkMeter:
        return ChunkMeter()


def gateway(source: Mapping[str, Any], *dead: str, **services: Any) -> Gateway:
    clock = VirtualClock()
    services = {
        "transport": Telling(*dead),
        "clock": clock,
        "sleeper": VirtualSleeper(clock),
        "ledger": MemoryLedger(),
        **services,
    }
    return Gateway(**assemble(source, services=services))


def names(source: Mapping[str, Any], **services: Any) -> list[str]:
    return [name for name, _ in gateway(source, **services).plugins]


# ---------------------------------------------------------------- what is built


def test_a_file_becomes_a_gateway_that_answers_over_http(tmp_path: Path) -> None:
    with ProviderSimulator() as simulator:
        dead, alive = simulator.provider("dead"), simulator.provider("alive", keys=["sk-from-a-variable"])
        dead.fail_always(Fault("server"))
        file = tmp_path / "llmgate.yaml"
        file.write_text(
            f"""
model_list:
  - model_name: fast
    litellm_params: {{model: gpt-4o-mini, api_key: k, api_base: {dead.openai_base_url}}}
  - model_name: fast
    litellm_params: {{model: gpt-4o-mini, api_key: os.environ/SOME_KEY, api_base: {alive.openai_base_url}}}
environment_variables: {{SOME_KEY: sk-from-a-variable}}
ledger: sqlite:///{tmp_path}/books.db
"""
        )
        with Gateway.from_config(file) as built:
            answer = built.complete("fast", "hello")
            assert answer.text == "You said: hello"
            built.services.ledger.flush()
            rows = built.services.ledger.attempts()
        assert [row["status"] for row in rows] == ["error", "success"]
        assert rows[1]["cost_nano_usd"] > 0
    assert (tmp_path / "books.db").exists()


def test_what_is_given_explicitly_wins_over_the_file(tmp_path: Path) -> None:
    source = {"model_list": [entry("a")], "ledger": f"sqlite:///{tmp_path}/books.db"}
    ledger, state, transport = MemoryLedger(), MemoryState(), Telling()
    catalog = Catalog(sources=[])
    made = assemble(
        source,
        services={
            "ledger": ledger,
            "state": state,
            "transport": transport,
            "catalog": catalog,
            "deadline": 7.0,
            "aliases": {"x": "fast"},
            "fallbacks": {},
        },
    )
    built = Gateway(**made)
    assert built.services.ledger is ledger
    assert built.services.state is state
    assert (built.transport, built.catalog, built.deadline) == (transport, catalog, 7.0)
    assert built.complete("x", "hi").text == "a"
    assert not (tmp_path / "books.db").exists()


def test_a_loaded_configuration_is_taken_as_it_is() -> None:
    config = load_config({"model_list": [entry("a")]})
    assert [one.id for one in assemble(config)["deployments"]] == ["a"]


def test_plugins_run_in_the_documented_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine:
        @hookimpl
        def end_call(self) -> None: ...

    monkeypatch.syspath_prepend(str(tmp_path))
    distribution(tmp_path, "llmgate-theirs", "1.0", {"theirs": "llmgate_theirs:Limit"})
    source = {
        "model_list": [entry("a"), entry("b", alias="strong")],
        "plugins": [{"name": "theirs", "dist": "llmgate-theirs", "version": "1.0", "options": {"most": 5}}],
        "budgets": [{"scope": "team", "limit": "5 USD/day"}],
        "policies": {"default": {"prefer": "cheapest"}},
        "fallbacks": {"*": ["strong"]},
    }
    built = Gateway(**assemble(source, plugins=[Mine()]))
    assert [name for name, _ in built.plugins] == [
        "Mine",
        "theirs",
        "Policies",
        "GeneralFallbacks",
        *(kind.__name__ for kind in BUILTINS),
    ]
    assert dict(built.plugins)["theirs"].most == 5
    assert names({"model_list": [entry("a")]}, defaults=False) == []


@pytest.mark.parametrize(
    ("strategy", "plugin"),
    [
        ("simple-shuffle", "Weighted"),
        ("cost-based-routing", "Cheapest"),
        ("latency-based-routing", "Fastest"),
    ],
)
def test_litellms_routing_strategy_is_followed(strategy: str, plugin: str) -> None:
    source = {"model_list": [entry("a")], "router_settings": {"routing_strategy": strategy}}
    assert plugin in names(source)
    assert plugin not in names({**source, "policies": {"default": {"prefer": "ordered"}}})


def test_litellms_retries_and_timeouts_are_followed() -> None:
    transport = Telling("a")
    source = {
        "model_list": [entry("a")],
        "router_settings": {"num_retries": 4, "timeout": 12},
        "litellm_settings": {"drop_params": True},
    }
    built = gateway(source, transport=transport)
    with pytest.raises(ConnectionError):
        built.complete("fast", "hi")
    assert len(transport.asked) == 5
    options = built.deployments["a"].endpoint.options
    assert (options["timeout"], options["drop_params"]) == (12.0, True)

    none = Telling("a")
    with pytest.raises(ConnectionError):
        gateway({**source, "router_settings": {"num_retries": 0}}, transport=none).complete("fast", "hi")
    assert len(none.asked) == 1


def test_a_deployments_own_timeout_stays() -> None:
    own = entry("a")
    own["litellm_params"]["timeout"] = 3
    built = gateway({"model_list": [own], "router_settings": {"timeout": 12}})
    assert built.deployments["a"].endpoint.options["timeout"] == 3.0


def test_a_price_in_the_file_is_what_a_call_costs() -> None:
    source = {"model_list": [entry("a")], "prices": {"openai/gpt-4o-mini": {"input": 1000, "output": 1000}}}
    price = gateway(source).deployments["a"].price
    assert price is not None
    assert (price.input, price.output) == (1000 * NANO, 1000 * NANO)


def test_a_deadline_of_a_policy_may_be_longer_than_the_usual_one() -> None:
    source = {
        "model_list": [entry("a")],
        "policies": {"batch": {"deadline": "1h"}, "default": {"deadline": 5}},
    }
    transport = Telling()
    built = gateway(source, transport=transport)
    built.complete("fast", "hi")
    built.complete("fast", "hi", context=Context(policy="batch"))
    spans = [attempt.deadline - attempt.started for attempt, _ in transport.asked if attempt.deadline]
    assert spans == [5.0, 3600.0]


# ---------------------------------------------------------------- names and fallbacks


def test_aliases_of_all_sections_lead_to_their_deployments() -> None:
    source = {
        "model_list": [entry("a")],
        "aliases": {"gpt": "fast"},
        "router_settings": {"model_group_alias": {"old": "fast"}},
    }
    built = gateway(source)
    assert built.complete("gpt", "hi").text == "a"
    assert built.complete("old", "hi").text == "a"


THREE = [entry("a"), entry("b", alias="strong"), entry("c", alias="cheap")]


def test_named_fallbacks_lead_on_and_win_over_the_policys() -> None:
    source = {
        "model_list": THREE,
        "fallbacks": {"fast": ["cheap"]},
        "policies": {"default": {"fallback_to": ["strong"]}},
    }
    assert gateway(source, "a").complete("fast", "hi").text == "c"
    assert gateway(source, "c").complete("cheap", "hi").text == "b"


def test_a_policy_falls_back_to_several_aliases_without_running_in_a_circle() -> None:
    source = {"model_list": THREE, "policies": {"default": {"fallback_to": ["strong", "cheap"]}}}
    assert gateway(source, "a").complete("fast", "hi").text == "b"
    assert gateway(source, "a", "b").complete("fast", "hi").text == "c"
    assert gateway(source, "b").complete("strong", "hi").text == "c"


def test_each_policy_has_its_own_fallbacks_and_what_is_asked_for_wins() -> None:
    source = {
        "model_list": THREE,
        "aliases": {"gpt": "fast"},
        "policies": {"default": {"fallback_to": ["strong"]}, "thrifty": {"fallback_to": ["cheap"]}},
    }
    built = gateway(source, "a")
    assert built.complete("gpt", "hi").text == "b"
    assert built.complete("fast", "hi", context=Context(policy="thrifty")).text == "c"
    assert built.complete(Request(model="fast", fallbacks=("cheap",))).text == "c"


@pytest.mark.parametrize(
    "settings",
    [
        {"fallbacks": {"*": ["strong", "cheap"]}},
        {"litellm_settings": {"default_fallbacks": ["strong", "cheap"]}},
        {"router_settings": {"default_fallbacks": ["strong", "cheap"]}},
    ],
)
def test_default_fallbacks_hold_for_every_alias_without_its_own(settings: dict[str, Any]) -> None:
    source = {"model_list": THREE, **settings}
    assert gateway(source, "a").complete("fast", "hi").text == "b"
    assert gateway(source, "b").complete("strong", "hi").text == "c"


def test_general_fallbacks_leave_a_request_alone_that_names_its_own() -> None:
    plugin = GeneralFallbacks(["b"], named=["x"])
    assert plugin.admit_request(Request(model="x")) is None
    assert plugin.admit_request(Request(model="y", fallbacks=())) is None
    changed = plugin.admit_request(Request(model="y"))
    assert changed is not None
    assert changed.fallbacks == ("b",)


# ---------------------------------------------------------------- policies and budgets


def test_a_policy_requires_and_prefers_what_the_file_says() -> None:
    source = {
        "model_list": [entry("us", region="us"), entry("eu", region="eu")],
        "policies": {"eu": {"require": {"region": "eu"}}, "pii": {"require": {"data_class": "pii"}}},
    }
    built = gateway(source)
    assert built.complete("fast", "hi").text == "us"
    assert built.complete("fast", "hi", context=Context(policy="eu")).text == "eu"
    with pytest.raises(RequestDenied):
        built.complete("fast", "hi", context=Context(policy="pii"))


def test_a_budget_of_the_file_is_kept() -> None:
    source = {
        "model_list": [entry("a")],
        "prices": {"openai/gpt-4o-mini": {"input": 1_000_000, "output": 1_000_000}},
        "budgets": [{"scope": "team", "limit": "4100 USD/day"}],
    }
    built = gateway(source)
    blue = Context(team="blue")
    while built.services.ledger.calls() == [] or built.decisions[-1].status == "success":
        try:
            built.complete("fast", "hi " * 500, context=blue, max_tokens=1)
        except Exception:
            break
    spent = sum(row["cost_nano_usd"] for row in built.services.ledger.attempts())
    assert 0 < spent <= 4100 * NANO
    assert built.complete("fast", "hi", context=Context(team="red"), max_tokens=1).text == "a"


def test_a_budget_that_degrades_to_something_unknown_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "llmgate.yaml"
    file.write_text(
        "model_list:\n- model_name: fast\n  litellm_params: {model: openai/gpt-4o-mini, api_key: k}\n"
        "budgets:\n- scope: team\n  limit: 5 USD/day\n  on_exhausted:\n    prefer: fastest\n"
    )
    with pytest.raises(ConfigurationError, match=r"llmgate.yaml:8: .*must be cheapest"):
        assemble(file)


def test_two_budgets_for_the_same_are_refused_with_the_line_of_the_second(tmp_path: Path) -> None:
    file = tmp_path / "llmgate.yaml"
    file.write_text(
        "model_list:\n- model_name: fast\n  litellm_params: {model: openai/gpt-4o-mini, api_key: k}\n"
        "budgets:\n- {scope: team, limit: 5 USD/day}\n- {scope: team, limit: 50 USD/month}\n"
        "- {scope: team, limit: 9 USD/day}\n"
    )
    with pytest.raises(ConfigurationError, match=r"llmgate.yaml:7: .*another budget for each team"):
        assemble(file)


# ---------------------------------------------------------------- secrets and plugins


def test_a_missing_secret_is_told_with_its_line_unless_nobody_needs_it_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOT_SET_ANYWHERE", raising=False)
    file = tmp_path / "llmgate.yaml"
    file.write_text(
        "model_list:\n- model_name: fast\n  litellm_params:\n    model: openai/gpt-4o-mini\n"
        "    api_key: os.environ/NOT_SET_ANYWHERE\n"
    )
    with pytest.raises(ConfigurationError, match=r"llmgate.yaml:5: .*NOT_SET_ANYWHERE is not set"):
        Gateway.from_config(file)
    built = Gateway.from_config(file, check_secrets=False)
    (one,) = built.deployments.values()
    assert one.endpoint.api_key == Secret("os.environ/NOT_SET_ANYWHERE")
    assert assemble(file, check_secrets=False)["deployments"][0].alias == "fast"


@pytest.fixture
def one_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    distribution(tmp_path, "llmgate-limit", "1.4.2", {"limit": "llmgate_limit:Limit"})


@pytest.mark.usefixtures("one_installed")
@pytest.mark.parametrize("version", [">=2", ">=1,<1.4", "<<1"])
def test_a_version_outside_the_allowed_range_is_refused(version: str) -> None:
    with pytest.raises(ConfigurationError, match=r"range of versions|installed is llmgate-limit 1\.4\.2"):
        assemble({"model_list": [entry("a")], "plugins": [{"name": "limit", "version": version}]})


@pytest.mark.usefixtures("one_installed")
@pytest.mark.parametrize("version", [">=1.4,<2", "==1.4.*", "==1.4.2", "1.4.2"])
def test_a_version_inside_the_range_is_loaded(version: str) -> None:
    plugin = {"name": "limit", "dist": "LLMGate_limit", "version": version}
    assert "limit" in names({"model_list": [entry("a")], "plugins": [plugin]})


def test_a_built_in_plugin_set_up_differently_keeps_its_place() -> None:
    health = Health(consecutive=9)
    built = Gateway(**assemble({"model_list": [entry("a")]}, plugins=[health]))
    names = [name for name, _ in built.plugins]
    assert names == [name for name, _ in Gateway(**assemble({"model_list": [entry("a")]})).plugins]
    assert dict(built.plugins)["Health"] is health
