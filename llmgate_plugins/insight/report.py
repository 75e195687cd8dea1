"""A report: what was asked, how it went and what it cost, in typed rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from llmgate_plugins.intervals import Z, wilson
from llmgate_plugins.services import ShadowCalls
from llmgate_plugins.types import BUCKETS, EMPTY, INPUT_BUCKETS, NANO, OUTPUT_BUCKETS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NO_TIMES", "Level", "Quantiles", "Report", "ReportRow"]

Level: TypeAlias = Literal["calls", "attempts"]
"""What `requests`, successes and times of a report are those of."""


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Half, 95 and 99 of a hundred took no longer than so many seconds; None where there was nothing."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


NO_TIMES: Final = Quantiles()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRow:
    """One group of a report, or all of it together.

    Attributes:
        group: What the group has in common: dimension -> value. Of times the beginning in the
            report's zone: "2026-11-01", of hours "2026-11-01T09:00+01:00".
        requests: Calls or attempts, as the report's `of` says: whose successes, failures and
            times these are. What was cancelled or left is neither a success nor a failure.
        successes, failures: Of the requests.
        calls: That had an attempt in this group; of groups by facts of a call all of them,
            those that were denied or answered without an attempt too.
        denied, answered: Calls that a plugin denied, or answered without an attempt.
        attempts: That were sent and are over.
        retries, failovers, hedges: Attempts by why they were made.
        error_classes: Class -> attempts that failed so.
        latency: Seconds to the whole answer, of successes alone.
        first_token: Seconds to the first content, of streams that succeeded.
        tokens: Bucket -> tokens.
        estimated: Attempts whose tokens were counted or estimated by us.
        cost: Nano-dollars of all attempts.
    """

    group: Mapping[str, Any]
    requests: int = 0
    successes: int = 0
    failures: int = 0
    calls: int = 0
    denied: int = 0
    answered: int = 0
    attempts: int = 0
    retries: int = 0
    failovers: int = 0
    hedges: int = 0
    error_classes: Mapping[str, int] = field(default=EMPTY)
    latency: Quantiles = NO_TIMES
    first_token: Quantiles = NO_TIMES
    tokens: Mapping[str, int] = field(default=EMPTY)
    estimated: int = 0
    cost: int = 0

    @property
    def success_rate(self) -> float | None:
        """Successes among what succeeded or failed, 0 to 1; None where nothing did."""
        ended = self.successes + self.failures
        return self.successes / ended if ended else None

    @property
    def success_interval(self) -> tuple[float, float] | None:
        """Where the true rate of success is, with a confidence of 95 % (Wilson's interval)."""
        ended = self.successes + self.failures
        if not ended:
            return None
        return wilson(self.successes, ended, Z)

    @property
    def throttles(self) -> int:
        """Attempts that hit a rate limit."""
        return self.error_classes.get("rate_limit", 0)

    @property
    def timeouts(self) -> int:
        """Attempts that took too long."""
        return self.error_classes.get("timeout", 0)

    @property
    def tokens_in(self) -> int:
        """All tokens that were read."""
        return sum(self.tokens.get(bucket, 0) for bucket in INPUT_BUCKETS)

    @property
    def tokens_out(self) -> int:
        """All tokens that were written."""
        return sum(self.tokens.get(bucket, 0) for bucket in OUTPUT_BUCKETS)

    @property
    def cost_usd(self) -> float:
        """Dollars."""
        return self.cost / NANO

    @property
    def cost_per_request_usd(self) -> float | None:
        """Dollars for each request; None without any."""
        return self.cost / NANO / self.requests if self.requests else None

    @property
    def cost_per_1k_tokens_usd(self) -> float | None:
        """Dollars for a thousand tokens, read or written; None without any."""
        tokens = self.tokens_in + self.tokens_out
        return self.cost / NANO * 1000 / tokens if tokens else None

    def to_dict(self) -> dict[str, Any]:
        """The row as plain JSON values: the group, then every measure with its unit in its name."""
        low, high = self.success_interval or (None, None)
        return {
            **self.group,
            "requests": self.requests,
            "successes": self.successes,
            "failures": self.failures,
            "success_rate": self.success_rate,
            "success_rate_low": low,
            "success_rate_high": high,
            "calls": self.calls,
            "denied": self.denied,
            "answered": self.answered,
            "attempts": self.attempts,
            "retries": self.retries,
            "failovers": self.failovers,
            "hedges": self.hedges,
            "throttles": self.throttles,
            "timeouts": self.timeouts,
            "error_classes": dict(self.error_classes),
            "p50_s": self.latency.p50,
            "p95_s": self.latency.p95,
            "p99_s": self.latency.p99,
            "first_token_p50_s": self.first_token.p50,
            "first_token_p95_s": self.first_token.p95,
            "first_token_p99_s": self.first_token.p99,
            "tokens": self.tokens_in + self.tokens_out,
            "tokens_in": self.tokens_in,
            "tokens_out": self.tokens_out,
            **{f"{bucket}_tokens": number for bucket, number in self.tokens.items()},
            "estimated": self.estimated,
            "cost_nano_usd": self.cost,
            "cost_usd": self.cost_usd,
            "cost_per_request_usd": self.cost_per_request_usd,
            "cost_per_1k_tokens_usd": self.cost_per_1k_tokens_usd,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Rows by what they have in common. Iterates over them.

    Attributes:
        by: The dimensions.
        of: Whether requests, successes and times are those of calls, as the caller saw them, or
            of attempts, as the providers served them.
        since, until: Unix time; None for no bound.
        zone: Where days begin.
        where: The conditions, as texts.
        shadow_calls: Whether calls that are shadows of others count.
        rows: Dearest first; of times in their order.
        totals: All of it together. A call that tried two models is one call here.
    """

    by: tuple[str, ...]
    of: Level
    since: float | None
    until: float | None
    zone: str
    where: tuple[str, ...]
    rows: tuple[ReportRow, ...]
    totals: ReportRow
    shadow_calls: ShadowCalls = "without"

    def __iter__(self) -> Iterator[ReportRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def ordered(self, by: str | None = None, *, top: int | None = None) -> Report:
        """The same with its rows in another order, or with the first of them alone.

        Args:
            by: A dimension (rising), or a measure as `ReportRow.to_dict` names it (largest
                first); None for the order they are in.
            top: How many rows to keep; the totals stay those of all.

        Raises:
            ValueError: There is no such dimension or measure.
        """
        rows = list(self.rows)
        if by is not None:
            known = tuple(self._blank())
            if by not in known or by == "error_classes":
                raise ValueError(f"rows cannot be sorted by {by!r}; there are: {', '.join(known)}")
            if by == "hour":  # where clocks are set back names of hours sort the other way round
                rows.sort(key=lambda row: datetime.fromisoformat(row.group["hour"]))
            else:
                rows.sort(key=lambda row: _rank(row.to_dict()[by], rising=by in self.by))
        return replace(self, rows=tuple(rows[:top]))

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "by": list(self.by),
            "of": self.of,
            "since": self.since,
            "until": self.until,
            "zone": self.zone,
            "where": list(self.where),
            "shadow_calls": self.shadow_calls,
            "rows": [row.to_dict() for row in self.rows],
            "totals": self.totals.to_dict(),
        }

    def to_csv(self) -> str:
        """The rows as CSV below a heading, in a form that no spreadsheet takes for a formula."""
        from llmgate_plugins.insight.tabular import csv_text

        return csv_text(self._flat(), tuple(self._blank()))

    def to_frame(self) -> pd.DataFrame:
        """The rows as a pandas DataFrame.

        Raises:
            ConfigurationError: pandas is not installed.
        """
        from llmgate_plugins.insight.tabular import frame_of

        return frame_of(self._flat(), tuple(self._blank()))

    def to_parquet(self, path: str | Path) -> None:
        """Write the rows to a Parquet file.

        Raises:
            ConfigurationError: pyarrow is not installed.
        """
        from llmgate_plugins.insight.tabular import schema_of, write_parquet

        if self.rows:
            write_parquet(path, [self._flat()])
            return
        text = {*self.by, "error_classes"}
        kinds = {
            name: str if name in text else int if isinstance(value, int) else float
            for name, value in self._blank().items()
        }
        write_parquet(path, [], schema_of(kinds))

    def _blank(self) -> dict[str, Any]:
        """A row of nothing: what rows have, even if there is none."""
        return ReportRow(group=dict.fromkeys(self.by), tokens=dict.fromkeys(BUCKETS, 0)).to_dict()

    def _flat(self) -> Sequence[dict[str, Any]]:
        """Rows of single values."""
        return [_flat(row.to_dict()) for row in self.rows]


def _rank(value: Any, *, rising: bool) -> tuple[bool, Any]:
    """What is not known comes last."""
    if value is None:
        return True, 0
    return False, str(value) if rising else -value


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    classes = row["error_classes"]
    return row | {"error_classes": " ".join(f"{name}:{number}" for name, number in sorted(classes.items()))}
