"""What stands now rather than what has happened: gauges, observed when an exporter asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Lock
from typing import Final, Protocol
from weakref import WeakKeyDictionary, WeakSet

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from llmgate_plugins.plugins.health import Health, State
from llmgate_plugins.plugins.limits import Limits
from llmgate_plugins.plugins.telemetry import names as n
from llmgate_plugins.plugins.telemetry.instruments import METRICS
from llmgate_plugins.services import Services

__all__ = ["Watched", "watch"]

_OUT: Final = (State.EJECTED, State.HALF_OPEN, State.PROBING)
"""States in which something gets no calls but probes."""
_LIMIT: Final = (n.LIMIT_KIND, n.LIMIT_MODE, n.LIMIT_SCOPE, n.LIMIT_VALUE, n.LIMIT_WINDOW)
_PEOPLE: Final = ("user", "key")
MOST_LIMITS: Final = 1000
"""So many limits are shown at most, the fullest first."""


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

    for name, read in ((n.EJECTED, _ejected), (n.LIMITS, _used)):
        (metric,) = (one for one in METRICS if one.name == name)
        meter.create_observable_gauge(name, [_callback(watched, read)], metric.unit, metric.meaning)


def _callback(
    watched: WeakSet[Watched], read: Callable[[Services], Iterator[Observation]]
) -> Callable[[CallbackOptions], list[Observation]]:
    def observe(_options: CallbackOptions) -> list[Observation]:
        known = [plugin.services for plugin in list(watched)]
        return [one for services in known if services is not None for one in read(services)]

    return observe


def _ejected(services: Services) -> Iterator[Observation]:
    now = services.clock.monotonic()
    for _, plugin in services.plugins:
        if isinstance(plugin, Health):
            for row in plugin.report(now):
                if row.state in _OUT:
                    yield Observation(
                        1, {n.SCOPE: row.scope.value, n.SUBJECT: row.name, n.REASON: row.reason}
                    )


def _used(services: Services) -> Iterator[Observation]:
    """A limit for each of many is as full as the fullest: people and what callers send make no series."""
    shares: dict[tuple[str, str, str, str, str], float] = {}
    for _, plugin in services.plugins:
        if not isinstance(plugin, Limits):
            continue
        for row in plugin.report():
            scopes = row.limit.scopes
            many = any(scope.untrusted or scope.name in _PEOPLE for scope in scopes)
            values = "" if many else ", ".join(str(value) for value in row.scope.values())
            window = str(row.to_dict()["window"] or "")
            names = ", ".join(scope.name for scope in scopes)
            key = (row.kind, row.mode, names, values, window)
            shares[key] = max(row.share, shares.get(key, 0.0))
    fullest = sorted(shares.items(), key=lambda one: -one[1])[:MOST_LIMITS]
    for limit, share in fullest:
        yield Observation(share, dict(zip(_LIMIT, limit, strict=True)))
