"""Finds out whether anybody listens: without an SDK, OpenTelemetry's tracers and meters do nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from opentelemetry import metrics, trace
from opentelemetry.metrics import Meter, MeterProvider, NoOpMeter
from opentelemetry.trace import NoOpTracer, Tracer, TracerProvider

__all__ = ["Listening", "metering", "tracing"]

P = TypeVar("P")
T = TypeVar("T")

SCOPE: Final = "llmgate"
"""The instrumentation scope of all that is told."""
_ALONE: Final = ("opentelemetry.trace", "opentelemetry.metrics")
_PATIENCE: Final = 0.1
"""Seconds between two looks for an SDK while there is none: a look costs more than all the rest."""


class Listening(Generic[P, T]):
    """The tracer or the meter of an SDK, which may be set up after the gateway.

    Args:
        provider: The provider there is now.
        make: Its tracer or meter.
        idle: The type of one that does nothing.
    """

    def __init__(self, provider: Callable[[], P], make: Callable[[P], T], idle: type) -> None:
        self._provider = provider
        self._make = make
        self._idle = idle
        self._known: P | None = None
        self._made: T | None = None
        self._looked = float("-inf")

    def at(self, time: float) -> T | None:
        """None while nobody listens. Asked at every call, with the Unix time at which that began."""
        if self._made is None and abs(time - self._looked) < _PATIENCE:
            return None
        self._looked = time
        provider = self._provider()
        if provider is not self._known:
            # The API's own providers do nothing; those of an SDK come from somewhere else.
            alone = type(provider).__module__.startswith(_ALONE)
            made = None if alone else self._make(provider)
            self._made = None if isinstance(made, self._idle) else made
            self._known = provider
        return self._made


def tracing(given: TracerProvider | None) -> Listening[TracerProvider, Tracer]:
    """The tracer of this provider, by default of the global one."""
    provider = trace.get_tracer_provider if given is None else lambda: given
    return Listening(provider, lambda one: one.get_tracer(SCOPE), NoOpTracer)


def metering(given: MeterProvider | None) -> Listening[MeterProvider, Meter]:
    """The meter of this provider, by default of the global one."""
    provider = metrics.get_meter_provider if given is None else lambda: given
    return Listening(provider, lambda one: one.get_meter(SCOPE), NoOpMeter)
