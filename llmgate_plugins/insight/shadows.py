"""Reads from the books how shadows compare with their originals: paired, and with intervals."""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Text, cast, select

from llmgate_plugins.insight.books import Books, open_books
from llmgate_plugins.insight.conditions import Condition, Where, conditions_of
from llmgate_plugins.insight.spans import Moment, Span, during, span_of
from llmgate_plugins.intervals import Interval, Z, wilson
from llmgate_plugins.ledger.schema import calls
from llmgate_plugins.services import Ledger
from llmgate_plugins.types import NANO

__all__ = ["Paired", "PolicyRow", "ShadowReport", "ShadowRow", "read_shadows"]

FEW: Final = 30
"""Pairs below which no interval is told: it would rest on a distribution that nobody has seen."""


@dataclass(frozen=True, slots=True)
class Paired:
    """By what factor copies differ from their originals, pair by pair.

    Attributes:
        pairs: How many had both.
        ratio: Geometric mean of copy over original; None without pairs.
        low, high: Its 95 % interval; None for fewer than `FEW` pairs.
    """

    pairs: int
    ratio: float | None = None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, number: int, total: float, squares: float) -> Paired:
        """From logarithms of ratios, summed up."""
        if not number:
            return cls(0)
        mean = total / number
        if number < FEW:
            return cls(number, math.exp(mean))
        spread = math.sqrt(max(squares / number - mean * mean, 0.0) * number / (number - 1))
        half = Z * spread / math.sqrt(number)
        return cls(number, math.exp(mean), math.exp(mean - half), math.exp(mean + half))


class _Ratios:
    def __init__(self) -> None:
        self.number, self.total, self.squares = 0, 0.0, 0.0

    def add(self, copy: float | None, original: float | None) -> None:
        if copy and original:
            ratio = math.log(copy / original)
            self.number += 1
            self.total += ratio
            self.squares += ratio * ratio

    def paired(self) -> Paired:
        return Paired.of(self.number, self.total, self.squares)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowRow:
    """The copies of one shadow that went to one deployment.

    Attributes:
        deployment: Where they went; None where nothing was sent.
        copies, succeeded: How many there were, and how many were answered.
        cost: Nano-dollars that the copies cost.
        latency, price, length: Copy over original: seconds, nano-dollars, output tokens.
        same_finish: Share of the pairs that stopped for the same reason; None without pairs.
        similarity: Mean share of common words, where that was compared; None where not.
    """

    name: str
    deployment: str | None
    copies: int
    succeeded: int
    cost: int
    latency: Paired
    price: Paired
    length: Paired
    same_finish: float | None
    similarity: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRow:
    """What one shadow policy would have done.

    Attributes:
        selections: How many were made twice.
        agreeing: Of these, how many had the same first deployment.
        agreement: The share that agrees, with its 95 % interval.
        expected, real_expected: Nano-dollars that its first choices should cost, and the real ones.
        instead: (real first, its first) -> how many, of those that differ.
        dropped: Reason -> deployments that it would have dropped.
        errors: Calls that it would have denied, or could not decide.
    """

    policy: str
    selections: int
    agreeing: int
    agreement: Interval | None
    expected: int
    real_expected: int
    instead: Mapping[tuple[str | None, str | None], int]
    dropped: Mapping[str, int]
    errors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowReport:
    """Shadows of a span."""

    since: float | None
    until: float | None
    traffic: tuple[ShadowRow, ...]
    policies: tuple[PolicyRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "since": self.since,
            "until": self.until,
            "traffic": [_traffic_dict(row) for row in self.traffic],
            "policies": [
                {
                    "policy": row.policy,
                    "selections": row.selections,
                    "agreeing": row.agreeing,
                    "agreement_low": row.agreement.low if row.agreement else None,
                    "agreement_high": row.agreement.high if row.agreement else None,
                    "expected_usd": row.expected / NANO,
                    "real_expected_usd": row.real_expected / NANO,
                    "instead": [
                        {"real": real, "shadow": shadow, "selections": number}
                        for (real, shadow), number in row.instead.items()
                    ],
                    "dropped": dict(row.dropped),
                    "errors": row.errors,
                }
                for row in self.policies
            ],
        }


def _traffic_dict(row: ShadowRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "deployment": row.deployment,
        "copies": row.copies,
        "succeeded": row.succeeded,
        "cost_usd": row.cost / NANO,
        **{
            name: {"pairs": one.pairs, "ratio": one.ratio, "low": one.low, "high": one.high}
            for name, one in (("latency", row.latency), ("price", row.price), ("length", row.length))
        },
        "same_finish": row.same_finish,
        "similarity": row.similarity,
    }


def read_shadows(
    ledger: Ledger | str,
    *,
    since: Moment | None = None,
    until: Moment | None = None,
    zone: str = "UTC",
    where: Where = (),
    now: float | None = None,
) -> ShadowReport:
    """How shadows of a span compare with their originals.

    Args:
        ledger: A gateway's in a database, or the URL of one.
        since, until, zone: As of `read_report`.
        where: Conditions on the calls, copies having the context of their originals.
        now: Unix time that durations are counted back from; None for the machine's clock.

    Raises:
        ValueError: Something of this makes no sense.
        ConfigurationError: No such ledger.
        StorageError: It could not be read.
    """
    span = span_of(since, until, now=time.time() if now is None else now, zone=zone)
    conditions = conditions_of(where)
    with open_books(ledger) as books:
        return ShadowReport(
            since=span.since,
            until=span.until,
            traffic=_traffic(books, span, conditions),
            policies=_policies(books, span, conditions),
        )


@dataclass(slots=True)
class _Copies:
    copies: int = 0
    succeeded: int = 0
    cost: int = 0
    latency: _Ratios = field(default_factory=_Ratios)
    price: _Ratios = field(default_factory=_Ratios)
    length: _Ratios = field(default_factory=_Ratios)
    finishes: Counter[bool] = field(default_factory=Counter)
    similarities: list[float] = field(default_factory=list)

    def add(self, row: Mapping[str, Any], original: Mapping[str, Any], similarity: float | None) -> None:
        self.copies += 1
        self.cost += row["cost_nano_usd"]
        if row["status"] != "success":
            return
        self.succeeded += 1
        served = row["decision"]["attempts"][-1]
        self.latency.add(served.get("latency_s"), original.get("latency_s"))
        self.price.add(served.get("cost_nano_usd"), original.get("cost_nano_usd"))
        usage = served.get("usage") or {}
        written = usage.get("output", 0) + usage.get("reasoning", 0)
        self.length.add(written, original.get("output_tokens"))
        self.finishes[served.get("finish_reason") == original.get("finish_reason")] += 1
        if similarity is not None:
            self.similarities.append(similarity)

    def row(self, name: str, deployment: str | None) -> ShadowRow:
        finished, alike = self.finishes.total(), self.similarities
        return ShadowRow(
            name=name,
            deployment=deployment,
            copies=self.copies,
            succeeded=self.succeeded,
            cost=self.cost,
            latency=self.latency.paired(),
            price=self.price.paired(),
            length=self.length.paired(),
            same_finish=self.finishes[True] / finished if finished else None,
            similarity=sum(alike) / len(alike) if alike else None,
        )


def _traffic(books: Books, span: Span, conditions: tuple[Condition, ...]) -> tuple[ShadowRow, ...]:
    table = calls.c
    columns = (table.status, table.first_deployment, table.cost_nano_usd, table.decision)
    statement = select(*columns).where(table.shadow_of.is_not(None), *_chosen(books, span, conditions))
    found: defaultdict[tuple[str, str | None], _Copies] = defaultdict(_Copies)
    for row in books.connection.execute(statement.execution_options(yield_per=500)).mappings():
        note = (row["decision"].get("notes") or {}).get("shadow")
        if note is None:
            continue  # what follows for another plugin's sake is no copy
        copies = found[note["name"], row["first_deployment"]]
        copies.add(dict(row), note["original"], note.get("similarity"))
    rows = [copies.row(*key) for key, copies in found.items()]
    return tuple(sorted(rows, key=lambda row: (row.name, -row.copies)))


def _policies(books: Books, span: Span, conditions: tuple[Condition, ...]) -> tuple[PolicyRow, ...]:
    table = calls.c
    asked = cast(table.decision, Text).contains('"shadow_policy"')
    statement = select(table.decision).where(asked, *_chosen(books, span, conditions))
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    instead: defaultdict[str, Counter[tuple[str | None, str | None]]] = defaultdict(Counter)
    dropped: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for (decision,) in books.connection.execute(statement.execution_options(yield_per=500)):
        note = (decision.get("notes") or {}).get("shadow_policy")
        if note is None:
            continue
        policy = note["policy"]
        counts[policy]["errors"] += "error" in note
        for one in note["selections"]:
            counts[policy]["selections"] += 1
            if one["first"] == one["real_first"]:
                counts[policy]["agreeing"] += 1
            else:
                instead[policy][one["real_first"], one["first"]] += 1
            dropped[policy].update(one["dropped"])
            if "expected_nano_usd" in one and "real_expected_nano_usd" in one:
                counts[policy]["expected"] += one["expected_nano_usd"]
                counts[policy]["real"] += one["real_expected_nano_usd"]
    return tuple(
        PolicyRow(
            policy=policy,
            selections=told["selections"],
            agreeing=told["agreeing"],
            agreement=wilson(told["agreeing"], told["selections"], Z) if told["selections"] else None,
            expected=told["expected"],
            real_expected=told["real"],
            instead=dict(instead[policy].most_common()),
            dropped=dict(dropped[policy].most_common()),
            errors=told["errors"],
        )
        for policy, told in sorted(counts.items())
    )


def _chosen(books: Books, span: Span, conditions: tuple[Condition, ...]) -> list[Any]:
    return [*during(span, calls.c.at), *(one.clause("calls", books) for one in conditions)]
