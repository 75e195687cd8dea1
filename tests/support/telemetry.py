"""A real OpenTelemetry SDK that keeps in memory what it is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from llmgate_plugins.plugins import Telemetry
from llmgate_plugins.testing import ScriptedProvider
from support.gateways import Scene, scene

__all__ = ["Listener", "Looking", "heard"]


class Listener:
    """What a gateway tells OpenTelemetry.

    Args:
        options: Of `Telemetry`.
    """

    def __init__(self, *, sampler: Any = None, **options: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracers = TracerProvider(sampler=sampler)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        self.meters = MeterProvider([self._reader])
        self.plugin = Telemetry(tracer_provider=self.tracers, meter_provider=self.meters, **options)

    @property
    def spans(self) -> list[ReadableSpan]:
        """Those that have ended, in the order in which they began."""
        return sorted(
            self._exporter.get_finished_spans(), key=lambda span: (span.start_time, span.parent is not None)
        )

    @property
    def call(self) -> ReadableSpan:
        """The span of the only call."""
        (span,) = (span for span in self.spans if span.kind is trace.SpanKind.CLIENT)
        return span

    @property
    def attempts(self) -> list[ReadableSpan]:
        """The spans of attempts."""
        return [span for span in self.spans if span.name.startswith("attempt ")]

    @contextmanager
    def inside(self, name: str = "request") -> Iterator[Any]:
        """A span of the application's."""
        with self.tracers.get_tracer("application").start_as_current_span(name) as span:
            yield span

    def points(self, name: str) -> list[Any]:
        """Data points of a metric; none if it was not recorded."""
        return self.metrics().get(name, [])

    def metrics(self) -> dict[str, list[Any]]:
        """Name -> data points of every metric."""
        data = self._reader.get_metrics_data()
        return {
            metric.name: list(metric.data.data_points)
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def total(self, name: str, **where: Any) -> float:
        """Sum of a metric over points with these attributes, `_` for `.` in their names."""
        return sum(
            point.sum if hasattr(point, "sum") else point.value
            for point in self.points(name)
            if all(point.attributes.get(key.replace("__", ".")) == value for key, value in where.items())
        )


class Looking(ScriptedProvider):
    """Notes which span is current while it is asked, and while it is read."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.saw: list[tuple[str, int]] = []

    def _pieces(self, attempt: Any, request: Any, step: Any) -> Any:
        self._look(attempt)
        return super()._pieces(attempt, request, step)

    def _apieces(self, attempt: Any, request: Any, step: Any) -> Any:
        self._look(attempt)
        return super()._apieces(attempt, request, step)

    def _look(self, attempt: Any) -> None:
        self.saw.append((attempt.deployment.id, trace.get_current_span().get_span_context().span_id))


def heard(
    script: dict[str, Any], *plugins: object, telemetry: dict[str, Any] | None = None, **options: Any
) -> tuple[Scene, Listener]:
    """A scene whose gateway is listened to."""
    listener = Listener(**(telemetry or {}))
    return scene(script, listener.plugin, *plugins, **options), listener
