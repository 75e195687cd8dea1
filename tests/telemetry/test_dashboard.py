"""The dashboard names exactly what a gateway emits, and is one that Grafana can read."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
from support.faces import ask
from support.gateways import deployment, scene
from support.promql import labels_of, metrics_of
from support.scrape import Scraped

from llmgate_plugins import Context, ProviderError, Request, Skip, hookimpl
from llmgate_plugins.alerts import Alert
from llmgate_plugins.plugins import Budget, Limits, Telemetry
from llmgate_plugins.testing import Stream
from llmgate_plugins.types import Chunk, Usage

FILE = Path(__file__).parents[2] / "dashboards" / "llmgate.json"
BOARD: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = BOARD["panels"]
GRAPHS = [panel for panel in PANELS if panel["type"] != "row"]
QUERIES = [(panel["title"], target["expr"]) for panel in GRAPHS for target in panel["targets"]]
UNUSED = {
    "gen_ai_client_embeddings_operation_input_tokens": "it says no more than their cost",
}
"""What is emitted and not shown, and why."""
SUFFIXES = re.compile(r"_(bucket|count|sum)$")


class SkipFirst:
    @hookimpl
    def begin_attempt(self, attempt: Any) -> Skip | None:
        return Skip("full") if attempt.deployment.id == "full" else None


@pytest.fixture(scope="module")
def emitted() -> dict[str, set[str]]:
    """Name of a sample -> its labels, as they are scraped after calls of every kind."""
    scraped = Scraped()
    used = Usage(input=10, cached_input=4, cache_write=2, output=5, reasoning=3)
    answer = Stream("one ", "two", Chunk(text="three", usage=used, finish_reason="stop"))
    s = scene(
        {
            "gone": [ProviderError("gone", status=404, code="model_not_found")],
            "full": ["fine"],
            "well": [answer],
        },
        Telemetry(meter_provider=scraped.meters, names="both", metric_facts=("team",)),
        Limits([Budget(scope="team", limit=10**9, window=86_400)]),
        SkipFirst(),
        deployments=[deployment(id, region="eu") for id in ("gone", "full", "well")],
    )
    for face in ("sync", "stream"):
        ask(face, s.gateway, context=Context(team="search"))
    for model in ("fast", "nobody"):
        ask("sync", s.gateway, Request(model=model, operation="embedding", params={"input": ["text"]}))
    ask("sync", s.gateway, "nobody")
    s.gateway.services.alerts.report(Alert(kind="slo_burn", subject="fast", summary="too slow"))
    s.gateway.close()
    labels = scraped.labels()
    scraped.close()
    return labels


@pytest.mark.parametrize(("title", "query"), QUERIES, ids=[title for title, _ in QUERIES])
def test_a_panel_asks_for_what_there_is(emitted: dict[str, set[str]], title: str, query: str) -> None:
    wanted = metrics_of(query)
    assert wanted
    for metric, matched in wanted.items():
        assert metric in emitted
        assert matched <= emitted[metric]
        assert labels_of(query) <= emitted[metric]


def test_everything_that_is_emitted_is_shown_or_left_out_on_purpose(emitted: dict[str, set[str]]) -> None:
    shown = {SUFFIXES.sub("", metric) for _, query in QUERIES for metric in metrics_of(query)}
    there = {SUFFIXES.sub("", name) for name in emitted}
    assert there - shown == set(UNUSED)


def test_shares_and_times_are_those_of_reports() -> None:
    """What was denied, cancelled, left or never sent is neither success nor failure; no refusal is fast."""
    asked = dict(QUERIES)
    ended = 'llmgate_call_status=~"success|answered|error"'
    assert asked["Success"].rpartition(" / ")[2].count(ended) == 1
    assert f"or 0 * {asked['Success'].rpartition(' / ')[2]}" in asked["Success"], (
        "an outage from the start is 0 %"
    )
    failed, _, of = asked["Failed attempts by deployment"].partition(" / ")
    assert 'llmgate_attempt_status="error"' in failed
    assert 'llmgate_attempt_status=~"success|error"' in of
    for title in ("Attempts by deployment", "Attempts per call"):
        assert 'llmgate_attempt_status!="skipped"' in asked[title]
    for title, query in QUERIES:
        durations = re.findall(r"_duration_seconds_bucket\{([^}]*)\}", query)
        assert all('error_type=""' in one for one in durations), title


def test_a_model_without_output_has_a_cost_per_token() -> None:
    per_token = dict(QUERIES)["Cost of 1,000 tokens by model"]
    assert "gen_ai_token_type" not in per_token
    assert re.search(
        r"or 0 \* sum by \(gen_ai_request_model\) \(rate\(gen_ai_client_inference_usage_input", per_token
    )


def test_variables_are_read_from_what_there_is(emitted: dict[str, set[str]]) -> None:
    variables = {one["name"]: one for one in BOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    queries = [one["query"]["query"] for one in variables.values() if one["type"] == "query"]
    for query in queries:
        metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", query).groups()
        assert label in emitted[metric]
    used = {name for _, query in QUERIES for name in re.findall(r"\$(\w+)", query)} - {"__rate_interval"}
    assert used == set(variables) - {"datasource"}


def test_every_panel_takes_the_chosen_data_source() -> None:
    for panel in GRAPHS:
        assert {one["datasource"]["uid"] for one in (panel, *panel["targets"])} == {"${datasource}"}


def test_rows_are_in_the_order_in_which_one_looks() -> None:
    assert [panel["title"] for panel in PANELS if panel["type"] == "row"] == [
        *("Traffic", "Latency", "First token", "Errors", "Failovers", "Tokens", "Cost", "Budgets", "Health"),
    ]


def test_it_is_a_dashboard() -> None:
    assert {"uid", "title", "schemaVersion", "panels", "templating", "time"} <= set(BOARD)
    ids = [panel["id"] for panel in PANELS]
    assert len(ids) == len(set(ids))
    for panel in PANELS:
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24
        references = [target["refId"] for target in panel.get("targets", ())]
        assert len(references) == len(set(references))


def test_no_panel_lies_over_another() -> None:
    for one, other in itertools.combinations((panel["gridPos"] for panel in PANELS), 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below


@pytest.mark.parametrize(
    ("query", "metrics", "labels"),
    [
        ("up", {"up": set()}, set()),
        ('sum by (a, le) (rate(x_bucket{b=~"$b",c!="d"}[5m]))', {"x_bucket": {"b", "c"}}, {"a", "le"}),
        ("sum(x) by (a) / on (b) y{c='}'} or z", {"x": set(), "y": {"c"}, "z": set()}, {"a", "b"}),
        ("1000 * histogram_quantile(0.95, x) > bool 2", {"x": set()}, set()),
    ],
)
def test_names_are_found_in_promql(query: str, metrics: dict[str, set[str]], labels: set[str]) -> None:
    assert (metrics_of(query), labels_of(query)) == (metrics, labels)
