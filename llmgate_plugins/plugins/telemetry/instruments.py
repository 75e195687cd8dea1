"""The metrics there are, and their instruments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from llmgate_plugins.plugins.telemetry import names as n

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

__all__ = ["COMMON", "METRICS", "Metric", "Names", "instruments"]

Names = Literal["current", "next", "both"]
"""Which of the GenAI conventions' metric names: those of semantic conventions 1.41, those by which the
conventions' own repository replaces them, or both side by side."""

_SECONDS: Final = tuple(round(0.01 * 2**power, 2) for power in range(14))
_TOKENS: Final = tuple(4**power for power in range(14))
"""Bounds of buckets, as the conventions advise."""

COMMON: Final = (
    n.OPERATION,
    n.PROVIDER,
    n.REQUEST_MODEL,
    n.RESPONSE_MODEL,
    n.ALIAS,
    n.DEPLOYMENT,
    n.REGION,
    n.POLICY,
)
"""What metrics of calls and attempts have in common, each where it is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric.

    Attributes:
        names: Under which of the conventions' names it is recorded; None: always, it is our own.
        adds: Attributes besides `COMMON`; of a gauge and of alerts, all there are.
    """

    name: str
    kind: Literal["histogram", "counter", "gauge"]
    unit: str
    meaning: str
    names: Literal["current", "next"] | None = None
    adds: tuple[str, ...] = ()

    @property
    def attributes(self) -> tuple[str, ...]:
        """All attributes that it may have."""
        return self.adds if self.kind == "gauge" or self.name == n.ALERTS else (*COMMON, *self.adds)


_TOOK: Final = "Seconds that a call took, all its attempts included."
_FIRST: Final = "Seconds from a call's begin to the first content of its stream."
_GAP: Final = "Seconds from one chunk of a stream to the next, after the first content."

METRICS: Final = (
    Metric(name=n.DURATION, names="current", kind="histogram", unit="s", meaning=_TOOK, adds=(n.ERROR_TYPE,)),
    Metric(name=n.FIRST_CHUNK, names="current", kind="histogram", unit="s", meaning=_FIRST),
    Metric(name=n.PER_CHUNK, names="current", kind="histogram", unit="s", meaning=_GAP),
    Metric(
        name=n.TOKEN_USAGE,
        names="current",
        kind="histogram",
        unit="{token}",
        meaning="Tokens of an attempt: all its input, all its output.",
        adds=(n.TOKEN_TYPE,),
    ),
    Metric(
        name=n.NEXT_DURATION, names="next", kind="histogram", unit="s", meaning=_TOOK, adds=(n.ERROR_TYPE,)
    ),
    Metric(
        name=n.NEXT_EMBEDDINGS,
        names="next",
        kind="histogram",
        unit="s",
        meaning="The same for calls that ask for embeddings.",
        adds=(n.ERROR_TYPE,),
    ),
    Metric(name=n.NEXT_FIRST_CHUNK, names="next", kind="histogram", unit="s", meaning=_FIRST),
    Metric(name=n.NEXT_PER_CHUNK, names="next", kind="histogram", unit="s", meaning=_GAP),
    *(
        Metric(
            name=name,
            names="next",
            kind="counter",
            unit="{token}",
            meaning=meaning,
            adds=(n.TOKEN_MODALITY,),
        )
        for name, meaning in (
            (n.NEXT_INPUT, "Input tokens, those of the provider's prompt cache included."),
            (n.NEXT_OUTPUT, "Output tokens, reasoning included."),
            (n.NEXT_CACHE_READ, "Input tokens that the provider's prompt cache served."),
            (n.NEXT_CACHE_WRITE, "Input tokens written to that cache."),
            (n.NEXT_REASONING, "Output tokens spent thinking."),
        )
    ),
    *(
        Metric(name=name, names="next", kind="histogram", unit="{token}", meaning=meaning)
        for name, meaning in (
            (n.NEXT_INPUT_SIZE, "Input tokens of an attempt."),
            (n.NEXT_OUTPUT_SIZE, "Output tokens of an attempt."),
            (n.NEXT_EMBEDDINGS_SIZE, "Input tokens of an attempt to get embeddings."),
        )
    ),
    Metric(
        name=n.CALLS,
        kind="counter",
        unit="{call}",
        meaning="Calls that have ended, by how.",
        adds=(n.CALL_STATUS, n.ERROR_TYPE),
    ),
    Metric(
        name=n.SENT,
        kind="counter",
        unit="{attempt}",
        meaning="Attempts, by why they were made and how they ended. A retry has the reason `retry`, a "
        "failover `next_deployment` or `fallback`.",
        adds=(n.ATTEMPT_REASON, n.ATTEMPT_STATUS, n.ERROR_TYPE),
    ),
    Metric(
        name=n.SPENT,
        kind="counter",
        unit="{USD}",
        meaning="US dollars that attempts cost, failed ones included.",
    ),
    Metric(
        name=n.EJECTED,
        kind="gauge",
        unit="{target}",
        meaning="1 for a deployment, credential or provider that gets no calls now.",
        adds=(n.SCOPE, n.SUBJECT, n.REASON),
    ),
    Metric(
        name=n.LIMITS,
        kind="gauge",
        unit="{share}",  # a plain 1 has another name in Prometheus by way of a collector
        meaning="What is used and held of a limit, as a part of it. Of one per user, key or tag it is that "
        "of which most is used.",
        adds=(n.LIMIT_KIND, n.LIMIT_MODE, n.LIMIT_SCOPE, n.LIMIT_VALUE, n.LIMIT_WINDOW),
    ),
    Metric(
        name=n.ALERTS,
        kind="counter",
        unit="{alert}",
        meaning="Alerts that were told, and told to be over.",
        adds=(n.ALERT_KIND, n.ALERT_SEVERITY, n.ALERT_STATUS),
    ),
)


def instruments(meter: Meter, names: Names) -> dict[str, Any]:
    """Name -> instrument, of those that are recorded under these names. Gauges are observed elsewhere."""
    made: dict[str, Any] = {}
    for one in METRICS:
        if one.names is not None and names not in (one.names, "both"):
            continue
        if one.kind == "histogram":
            made[one.name] = meter.create_histogram(
                one.name,
                one.unit,
                one.meaning,
                explicit_bucket_boundaries_advisory=_SECONDS if one.unit == "s" else _TOKENS,
            )
        elif one.kind == "counter":
            made[one.name] = meter.create_counter(one.name, one.unit, one.meaning)
    return made
