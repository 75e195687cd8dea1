"""What is counted of calls, under which names, and that nobody can make it grow without bound."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
from support.faces import STREAMS, ask, every_face
from support.gateways import deployment, scene
from support.telemetry import Listener, heard

from llmgate_plugins import Context, ProviderError, Request, RequestDenied, Skip, hookimpl
from llmgate_plugins.alerts import Alert
from llmgate_plugins.plugins import Budget, ConcurrencyLimit, Limits, RequestLimit, Telemetry
from llmgate_plugins.plugins.telemetry import METRICS, names
from llmgate_plugins.plugins.telemetry import measuring as counts
from llmgate_plugins.testing import Slow, Stream
from llmgate_plugins.testing.steps import Pause
from llmgate_plugins.types import Chunk, Usage

DOWN = ProviderError("down", status=503)
USED = Usage(input=10, cached_input=4, cache_write=2, output=5, reasoning=3)
METERED = Stream("one ", "two ", Chunk(text="three", usage=USED, finish_reason="stop"))


def gathered(point: Any) -> dict[str, Any]:
    return dict(point.attributes)


@every_face
def test_a_call_with_a_failover_is_counted_once_and_its_attempts_each(face: str) -> None:
    s, told = heard(
        {"a": [DOWN], "b": ["an answer"]},
        deployments=[deployment("a", provider="azure"), deployment("b", provider="xai", region="eu")],
    )
    ask(face, s.gateway, context=Context(team="search", user="u-1"), tags={"job": "7"})
    record = s.gateway.decisions[-1]
    served = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "x_ai",
        "gen_ai.request.model": "model-b",
        "gen_ai.response.model": "model-b",
        "llmgate.alias": "fast",
        "llmgate.deployment": "b",
        "llmgate.region": "eu",
    }
    (calls,) = told.points("llmgate.calls")
    assert (calls.value, gathered(calls)) == (1, {**served, "llmgate.call.status": "success"})
    (took,) = told.points("gen_ai.client.operation.duration")
    assert (took.count, took.sum, gathered(took)) == (1, record.latency, served)
    by_reason = {
        point.attributes["llmgate.attempt.reason"]: gathered(point)
        for point in told.points("llmgate.attempts")
    }
    assert by_reason == {
        "first": {
            **{name: served[name] for name in ("gen_ai.operation.name", "llmgate.alias")},
            "gen_ai.provider.name": "azure.ai.openai",
            "gen_ai.request.model": "model-a",
            "llmgate.deployment": "a",
            "llmgate.attempt.reason": "first",
            "llmgate.attempt.status": "error",
            "error.type": "overloaded",
        },
        "next_deployment": {
            **served,
            "llmgate.attempt.reason": "next_deployment",
            "llmgate.attempt.status": "success",
        },
    }
    assert told.total("llmgate.cost") == pytest.approx(record.cost / 1e9)
    firsts = told.points("gen_ai.client.operation.time_to_first_chunk")
    assert [point.sum for point in firsts] == ([record.first_token] if face in STREAMS else [])


@every_face
def test_tokens_and_money_agree_with_the_books(face: str) -> None:
    s, told = heard({"a": [DOWN, "one", "two"], "b": ["three", DOWN]}, telemetry={"names": "both"})
    for _ in range(3):
        ask(face, s.gateway)
    rows = s.ledger.attempts()
    read = sum(row["input_tokens"] + row["cached_input_tokens"] + row["cache_write_tokens"] for row in rows)
    written = sum(row["output_tokens"] + row["reasoning_tokens"] for row in rows)
    assert told.total("gen_ai.client.token.usage", gen_ai__token__type="input") == read
    assert told.total("gen_ai.client.token.usage", gen_ai__token__type="output") == written
    assert told.total("gen_ai.client.inference.usage.input_tokens") == read
    assert told.total("gen_ai.client.inference.usage.output_tokens") == written
    assert told.total("gen_ai.client.inference.operation.input_tokens") == read
    assert told.total("llmgate.cost") == pytest.approx(sum(row["cost_nano_usd"] for row in rows) / 1e9)
    assert told.total("llmgate.calls") == len(s.ledger.calls())
    assert told.total("llmgate.attempts") == len(rows)


@pytest.mark.parametrize("names", ["current", "next", "both"])
def test_the_conventions_metrics_have_the_names_that_were_chosen(names: str) -> None:
    s, told = heard({"a": [METERED]}, telemetry={"names": names})
    ask("stream", s.gateway)
    expected = {
        one.name
        for one in METRICS
        if one.kind != "gauge"
        and one.name
        not in (
            "llmgate.alerts",
            "gen_ai.client.embeddings.duration",
            "gen_ai.client.embeddings.operation.input_tokens",
        )
        and (one.names is None or names in (one.names, "both"))
    }
    assert set(told.metrics()) == expected


@pytest.mark.parametrize(
    ("variable", "names"),
    [
        ("gen_ai_latest_experimental", "next"),
        ("http, gen_ai_latest_experimental/dup", "both"),
        ("http/dup", "current"),
        ("", "current"),
    ],
)
def test_names_are_chosen_by_the_environment_too(
    monkeypatch: pytest.MonkeyPatch, variable: str, names: str
) -> None:
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", variable)
    s, told = heard({"a": ["fine"]})
    ask("sync", s.gateway)
    seen = set(told.metrics())
    assert ("gen_ai.client.operation.duration" in seen) is (names in ("current", "both"))
    assert ("gen_ai.client.inference.duration" in seen) is (names in ("next", "both"))
    s, told = heard({"a": ["fine"]}, telemetry={"names": "current"})
    ask("sync", s.gateway)
    assert "gen_ai.client.inference.duration" not in told.metrics()


def test_embeddings_have_next_names_of_their_own() -> None:
    s, told = heard({"a": ["[0.1]"]}, telemetry={"names": "next"})
    ask("sync", s.gateway, Request(model="fast", operation="embedding", params={"input": ["some text"]}))
    seen = {name for name in told.metrics() if name.startswith("gen_ai.")}
    assert {"gen_ai.client.embeddings.duration", "gen_ai.client.embeddings.operation.input_tokens"} == seen
    (took,) = told.points("gen_ai.client.embeddings.duration")
    assert took.attributes["gen_ai.operation.name"] == "embeddings"


def test_tokens_are_told_apart_as_the_conventions_do() -> None:
    s, told = heard({"a": [METERED]}, telemetry={"names": "next"})
    ask("stream", s.gateway)
    usage = "gen_ai.client.inference.usage."
    found = {name.removeprefix(usage): told.total(name) for name in told.metrics() if name.startswith(usage)}
    assert found == {
        "input_tokens": 16,
        "output_tokens": 8,
        "cache_read.input_tokens": 4,
        "cache_write.input_tokens": 2,
        "reasoning.output_tokens": 3,
    }
    assert told.points(usage + "input_tokens")[0].attributes["gen_ai.token.modality"] == "unknown"


@pytest.mark.parametrize("face", STREAMS)
def test_the_time_between_chunks_is_measured_from_the_first_content_on(face: str) -> None:
    s, told = heard({"a": [Stream("one ", Pause(0.5), "two ", Pause(0.5), "three")]})
    ask(face, s.gateway)
    (gaps,) = told.points("gen_ai.client.operation.time_per_output_chunk")
    attempt, outcome = s.gateway.decisions[-1].attempts[-1]
    assert gaps.count >= 2
    assert gaps.sum == pytest.approx(outcome.latency - outcome.first_token, abs=1e-6)
    assert gaps.max == pytest.approx(0.5)
    assert gaps.attributes["llmgate.deployment"] == attempt.deployment.id


def test_buckets_are_as_the_conventions_advise() -> None:
    s, told = heard({"a": ["fine"]})
    ask("sync", s.gateway)
    (took,) = told.points("gen_ai.client.operation.duration")
    assert took.explicit_bounds == (
        *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64),
        *(1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
    )
    assert told.points("gen_ai.client.token.usage")[0].explicit_bounds == tuple(
        4**power for power in range(14)
    )


def test_the_current_names_are_those_of_the_conventions_package() -> None:
    ours = {one.name for one in METRICS if one.names == "current"}
    theirs = {value for name, value in vars(gen_ai_metrics).items() if name.startswith("GEN_AI_CLIENT_")}
    assert ours == {name for name in theirs if ".invoke_agent." not in name and ".execute_tool." not in name}


class Deny:
    @hookimpl
    def admit_request(self) -> None:
        raise RequestDenied("not today", code="closed")


def test_a_denied_call_is_counted_as_one() -> None:
    s, told = heard({"a": ["fine"]}, Deny())
    ask("sync", s.gateway)
    (calls,) = told.points("llmgate.calls")
    assert gathered(calls) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "llmgate",
        "gen_ai.request.model": "fast",
        "llmgate.alias": "fast",
        "llmgate.call.status": "denied",
        "error.type": "closed",
    }
    assert told.points("llmgate.attempts") == []


class SkipFirst:
    @hookimpl
    def begin_attempt(self, attempt: Any) -> Skip | None:
        return Skip("full") if attempt.number == 1 else None


def test_an_attempt_that_was_never_sent_is_counted_and_costs_nothing() -> None:
    s, told = heard({"a": ["fine"], "b": ["fine"]}, SkipFirst())
    ask("sync", s.gateway)
    assert told.total("llmgate.attempts", llmgate__attempt__status="skipped", llmgate__deployment="a") == 1
    assert {point.attributes["llmgate.deployment"] for point in told.points("llmgate.cost")} == {"b"}


def test_chosen_facts_become_attributes_and_no_other() -> None:
    s, told = heard({"a": ["fine"]}, telemetry={"metric_facts": ("team", "tenant")})
    ask("sync", s.gateway, context=Context(team="search", user="u-1", extra={"k": "v"}), tags={"job": "7"})
    for points in told.metrics().values():
        for point in points:
            assert point.attributes["llmgate.context.team"] == "search"
            facts = {
                name for name in point.attributes if name.startswith(("llmgate.context.", "llmgate.tag."))
            }
            assert facts == {"llmgate.context.team"}


def test_callers_cannot_make_the_number_of_series_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "MOST_VALUES", 5)
    s, told = heard({"a": ["fine"]}, telemetry={"metric_facts": ("team",)})
    for number in range(20):
        ask("sync", s.gateway, f"made-up-{number}")
        ask("sync", s.gateway, context=Context(team=f"team-{number}"))
    for name in ("llmgate.calls", "gen_ai.client.operation.duration"):
        points = told.points(name)
        for attribute in ("llmgate.alias", "gen_ai.request.model", "llmgate.context.team"):
            values = {point.attributes[attribute] for point in points if attribute in point.attributes}
            assert len(values) <= 6
        assert "_OTHER" in {point.attributes["llmgate.alias"] for point in points}
    assert told.total("llmgate.calls") == 40


def gone() -> ProviderError:
    return ProviderError("no such model", status=404, code="model_not_found")


def test_what_is_ejected_is_shown() -> None:
    s, told = heard({"a": [gone()], "b": ["fine"]})
    assert told.points("llmgate.ejected") == []
    ask("sync", s.gateway)
    (out,) = told.points("llmgate.ejected")
    assert (out.value, gathered(out)) == (
        1,
        {"llmgate.scope": "deployment", "llmgate.subject": "a", "llmgate.reason": "model_gone"},
    )


def test_several_gateways_are_seen_through_one_meter() -> None:
    told = Listener()
    scenes = [
        scene({name: [gone()], f"{name}-well": ["fine"]}, Telemetry(meter_provider=told.meters))
        for name in ("one", "two")
    ]
    for one in scenes:
        ask("sync", one.gateway)
    assert {point.attributes["llmgate.subject"] for point in told.points("llmgate.ejected")} == {"one", "two"}


def test_alerts_are_counted() -> None:
    s, told = heard({"a": ["fine"]})
    alert = Alert(kind="budget_threshold", subject="team:search", summary="80 % are spent")
    s.gateway.services.alerts.report(alert)
    s.gateway.close()
    (point,) = told.points("llmgate.alerts")
    assert (point.value, gathered(point)) == (
        1,
        {
            "llmgate.alert.kind": "budget_threshold",
            "llmgate.alert.severity": "warning",
            "llmgate.alert.status": "firing",
        },
    )


def test_every_attribute_of_a_metric_is_one_that_it_may_have() -> None:
    s, told = heard({"a": [DOWN], "b": ["fine"]}, Deny(), telemetry={"names": "both"})
    ask("sync", s.gateway)
    s, told = heard({"a": [DOWN], "b": [Slow(0.1, "fine")]}, telemetry={"names": "both"})
    ask("stream", s.gateway)
    allowed = {one.name: set(one.attributes) for one in METRICS}
    for name, points in told.metrics().items():
        for point in points:
            assert set(point.attributes) <= allowed[name]
    assert names.DURATION in told.metrics()


def test_limits_are_shown_by_how_far_they_are_used() -> None:
    limits = Limits(
        [
            Budget(scope="team", limit=10**6, window=86_400),
            RequestLimit(scope="user", limit=10, window=60),
            ConcurrencyLimit(scope="global", limit=5),
        ]
    )
    s, told = heard({"a": ["fine"]}, limits)
    for user in ("u-1", "u-2", "u-2"):
        ask("sync", s.gateway, context=Context(team="search", user=user))
    shown = {point.attributes["llmgate.limit.kind"]: point for point in told.points("llmgate.limit.used")}
    spent = sum(row["cost_nano_usd"] for row in s.ledger.attempts())
    assert shown["budget"].value == pytest.approx(spent / 10**6)
    assert gathered(shown["budget"]) == {
        "llmgate.limit.kind": "budget",
        "llmgate.limit.mode": "hard",
        "llmgate.limit.scope": "team",
        "llmgate.limit.value": "search",
        "llmgate.limit.window": "per day",
    }
    assert shown["requests"].value == pytest.approx(0.2)
    assert shown["requests"].attributes["llmgate.limit.value"] == ""
    assert shown["concurrency"].value == 0
