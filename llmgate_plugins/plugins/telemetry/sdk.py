"""Finds out whether anybody listens: without an SDK, OpenTelemetry's tracers and meters do nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from opentelemetry import trace
from opentelemetry.trace import Tracer, TracerProvider

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter, MeterProvider

__all__ = ["Listening", "metering", "tracing"]

P = TypeVar("P")
T = TypeVar("T")

SCOPE: Final = "llmgate"
"""The instrumentation scope of all that is told."""
_METRICS: Final = "opentelemetry.metrics"
_ALONE: Final = ("opentelemetry.trace", _METRICS)
_PATIENCE: Final = 0.1
"""Seconds between two looks for an SDK while there is none: a look costs more than all the rest."""


class Listening(Generic[P, T]):
    """The tracer or the meter of an SDK, which may be set up after the gateway.

    Args:
        provider: The provider there is now, if any.
        make: Its tracer or meter.
    """

    def __init__(self, provider: Callable[[], P | None], make: Callable[[P], T]) -> None:
        self._provider = provider
        self._make = make
        self._known: P | None = None
        self._made: T | None = None
        self._quiet_from = self._quiet_until = float("-inf")  # between these nobody need look again

    def at(self, time: float) -> T | None:
        """None while nobody listens. Asked at every call, with the Unix time at which that began."""
        if self._quiet_from <= time < self._quiet_until:
            return None
        provider = self._provider()
        if provider is not self._known:
            made = None if provider is None or _does_nothing(provider) else self._make(provider)
            self._made = None if _does_nothing(made) else made
            self._known = provider
        if self._made is None:
            self._quiet_from, self._quiet_until = time - _PATIENCE, time + _PATIENCE
        return self._made


def _does_nothing(thing: object) -> bool:
    """What comes with the API alone does nothing; what an SDK brings comes from somewhere else."""
    return type(thing).__module__.startswith(_ALONE)


def tracing(given: TracerProvider | None) -> Listening[TracerProvider, Tracer]:
    """The tracer of this provider, by default of the global one."""
    provider = trace.get_tracer_provider if given is None else lambda: given
    return Listening(provider, lambda one: one.get_tracer(SCOPE))


def metering(given: MeterProvider | None) -> Listening[MeterProvider, Meter]:
    """The meter of this provider, by default of the global one."""
    provider = _meter_provider if given is None else lambda: given
    return Listening(provider, lambda one: one.get_meter(SCOPE))


def _meter_provider() -> MeterProvider | None:
    """Where nobody has imported the API of metrics, nobody has set up an SDK; then it need not be, either."""
    loaded = sys.modules.get(_METRICS)
    return None if loaded is None else loaded.get_meter_provider()
