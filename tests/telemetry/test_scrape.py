"""What Prometheus gets to see when it scrapes the program."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.faces import ask
from support.gateways import scene
from support.scrape import Scraped

from llmgate_plugins import Context, ProviderError
from llmgate_plugins.plugins import Telemetry


@pytest.fixture
def scraped() -> Iterator[Scraped]:
    made = Scraped()
    yield made
    made.close()


def test_a_scrape_tells_what_the_books_say(scraped: Scraped) -> None:
    telemetry = Telemetry(meter_provider=scraped.meters, metric_facts=("team",))
    s = scene({"a": [ProviderError("down", status=503), "one"], "b": ["two"]}, telemetry)
    for _ in range(2):
        ask("stream", s.gateway, context=Context(team="search"))
    rows = s.ledger.attempts()
    spent = sum(row["cost_nano_usd"] for row in rows) / 1e9
    assert scraped.value("llmgate_cost_total", llmgate_context_team="search") == pytest.approx(spent)
    assert scraped.value("llmgate_calls_total", llmgate_call_status="success") == 2
    assert (
        scraped.value("llmgate_attempts_total", llmgate_attempt_status="error", error_type="overloaded") == 1
    )
    assert scraped.value("gen_ai_client_operation_duration_seconds_count", llmgate_alias="fast") == 2
    tokens = sum(row["output_tokens"] for row in rows)
    assert scraped.value("gen_ai_client_token_usage_sum", gen_ai_token_type="output") == tokens
    assert scraped.value("gen_ai_client_operation_time_to_first_chunk_seconds_count") == 2


def test_units_and_kinds_are_what_prometheus_expects(scraped: Scraped) -> None:
    s = scene(
        {"a": [ProviderError("gone", status=404, code="model_not_found")], "b": ["fine"]},
        Telemetry(meter_provider=scraped.meters),
    )
    ask("stream", s.gateway)
    ours = set(scraped.labels())
    assert {"llmgate_calls_total", "llmgate_attempts_total", "llmgate_cost_total", "llmgate_ejected"} <= ours
    assert {name for name in ours if name.endswith("_bucket")} == {
        "gen_ai_client_operation_duration_seconds_bucket",
        "gen_ai_client_operation_time_to_first_chunk_seconds_bucket",
        "gen_ai_client_operation_time_per_output_chunk_seconds_bucket",
        "gen_ai_client_token_usage_bucket",
    }
