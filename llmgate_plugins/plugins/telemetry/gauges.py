"""What stands now rather than what has happened: gauges, observed when an exporter asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from threading import Lock
from typing import Final, Protocol
from weakref import WeakKeyDictionary, WeakSet

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from llmgate_plugins.plugins.health import Health, State
from llmgate_plugins.plugins.telemetry import names as n
from llmgate_plugins.plugins.telemetry.instruments import METRICS
from llmgate_plugins.services import Services

__all__ = ["Watched", "watch"]

_OUT: Final = (State.EJECTED, State.HALF_OPEN, State.PROBING)
"""States in which something gets no calls but probes."""


class Watched(Protocol):
    """Whose gateway is looked at."""

    services: Services | None


_watched: Final[WeakKeyDictionary[Meter, WeakSet[Watched]]] = WeakKeyDictionary()
_lock: Final = Lock()


def watch(meter: Meter, plugin: Watched) -> None:
    """Observe what this plugin's gateway reports, for as long as it is there.

    A meter has one instrument of a name with the callback it was made with, however many
    gateways there are: so there is one callback for all of them.
    """
    with _lock:
        watched = _watched.get(meter)
        if watched is not None:
            watched.add(plugin)
            return
        watched = _watched[meter] = WeakSet((plugin,))

    def ejected(_options: CallbackOptions) -> Iterable[Observation]:
        return [
            one
            for plugin in list(watched)
            if plugin.services is not None
            for one in _ejected(plugin.services)
        ]

    (metric,) = (one for one in METRICS if one.name == n.EJECTED)
    meter.create_observable_gauge(metric.name, [ejected], metric.unit, metric.meaning)


def _ejected(services: Services) -> Iterator[Observation]:
    now = services.clock.monotonic()
    for _, plugin in services.plugins:
        if isinstance(plugin, Health):
            for row in plugin.report(now):
                if row.state in _OUT:
                    yield Observation(
                        1, {n.SCOPE: row.scope.value, n.SUBJECT: row.name, n.REASON: row.reason}
                    )
