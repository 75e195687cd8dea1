"""A real scrape: Prometheus' exporter behind HTTP, read by Prometheus' own parser."""

from __future__ import annotations

import urllib.request
from typing import Any

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.parser import text_string_to_metric_families

__all__ = ["Scraped"]


class Scraped:
    """A meter provider whose metrics are scraped, and nobody else's.

    Attributes:
        meters: For `Telemetry`.
    """

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.meters = MeterProvider([PrometheusMetricReader(registry=registry)])
        self._server, _ = start_http_server(0, "127.0.0.1", registry=registry)

    @property
    def url(self) -> str:
        """Where it is scraped."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/metrics"

    def samples(self) -> list[Any]:
        """Every sample of one scrape: name, labels, value."""
        with urllib.request.urlopen(self.url, timeout=5) as answer:
            text = answer.read().decode()
        return [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def labels(self) -> dict[str, set[str]]:
        """Name of a sample -> its labels, of what is ours."""
        found: dict[str, set[str]] = {}
        for sample in self.samples():
            if sample.labels.get("otel_scope_name") == "llmgate":
                found.setdefault(sample.name, set()).update(sample.labels)
        return found

    def value(self, name: str, **labels: str) -> float:
        """The sum of a sample over the series with these labels."""
        return sum(
            sample.value
            for sample in self.samples()
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()
        self.meters.shutdown()
