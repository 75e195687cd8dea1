"""What arrives at a collector over OTLP/HTTP, and that nobody waits for one that is not there."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from support.faces import ask, every_face
from support.gateways import scene
from support.patience import PATIENCE

from llmgate_plugins import ProviderError
from llmgate_plugins.plugins import Telemetry

KINDS = {"/v1/traces": ExportTraceServiceRequest, "/v1/metrics": ExportMetricsServiceRequest}


class Collector(ThreadingHTTPServer):
    """Keeps what it is sent, decoded."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[Any] = []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def spans(self) -> list[Any]:
        return [
            span
            for got in self.got
            if isinstance(got, ExportTraceServiceRequest)
            for resource in got.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def metrics(self) -> dict[str, Any]:
        return {
            metric.name: metric
            for got in self.got
            if isinstance(got, ExportMetricsServiceRequest)
            for resource in got.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.got.append(KINDS[self.path].FromString(body))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.shutdown()
    made.server_close()


class Exporting:
    def __init__(self, url: str, timeout: float = PATIENCE) -> None:
        resource = Resource.create({"service.name": "shop"})
        self.tracers = TracerProvider(resource=resource)
        self.tracers.add_span_processor(
            BatchSpanProcessor(
                OTLPSpanExporter(f"{url}/v1/traces", timeout=timeout), schedule_delay_millis=50
            )
        )
        metrics = OTLPMetricExporter(f"{url}/v1/metrics", timeout=timeout)
        reader = PeriodicExportingMetricReader(metrics, export_interval_millis=60_000)
        self.meters = MeterProvider([reader], resource=resource)
        self.plugin = Telemetry(tracer_provider=self.tracers, meter_provider=self.meters)

    def close(self) -> None:
        self.tracers.shutdown()
        self.meters.shutdown()


def plain(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@every_face
def test_a_collector_gets_spans_and_metrics(face: str, collector: Collector) -> None:
    exporting = Exporting(collector.url)
    s = scene({"a": [ProviderError("down", status=503)], "b": ["fine"]}, exporting.plugin)
    ask(face, s.gateway)
    exporting.close()
    spans = {span.name: span for span in collector.spans()}
    call = spans["chat fast"]
    assert set(spans) == {"chat fast", "attempt a", "attempt b"}
    assert all(spans[f"attempt {name}"].parent_span_id == call.span_id for name in "ab")
    assert call.trace_id.hex() == s.gateway.decisions[-1].trace_id
    assert plain(call.attributes)["llmgate.call.id"] == s.gateway.decisions[-1].call_id
    metrics = collector.metrics()
    (took,) = metrics["gen_ai.client.operation.duration"].histogram.data_points
    assert (took.count, metrics["gen_ai.client.operation.duration"].unit) == (1, "s")
    assert plain(took.attributes)["gen_ai.request.model"] == "model-b"
    sent = metrics["llmgate.attempts"].sum
    assert sent.is_monotonic
    assert {plain(point.attributes)["llmgate.attempt.status"] for point in sent.data_points} == {
        "error",
        "success",
    }


def test_nobody_waits_for_a_collector_that_is_not_there() -> None:
    closed = Collector()
    url = closed.url
    closed.shutdown()
    closed.server_close()
    exporting = Exporting(url, timeout=1)
    s = scene({"a": ["fine"]}, exporting.plugin)
    began = time.monotonic()
    for _ in range(50):
        assert ask("sync", s.gateway).text == "fine"
    assert time.monotonic() - began < PATIENCE, "50 calls that wait for it take 50 seconds"
    assert s.gateway.decisions[-1].problems == []
    exporting.close()
