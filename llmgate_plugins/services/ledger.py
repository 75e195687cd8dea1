"""The books: what is written of each attempt and each call, and what can be read of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from llmgate_plugins._building import quickly_built
from llmgate_plugins.services.feedback import Feedback
from llmgate_plugins.services.pending import MaybePending
from llmgate_plugins.types import EMPTY, Deployment, Price, Usage

if TYPE_CHECKING:
    from llmgate_plugins.records import DecisionRecord

__all__ = ["AttemptIntent", "Ledger", "OpenIntent", "Settlement", "ShadowCalls", "Standing"]


# Not frozen, as the nouns are: made for every attempt, and frozen costs more.
@quickly_built
@dataclass(slots=True, kw_only=True)
class AttemptIntent:
    """The row that exists before any byte leaves. Nobody changes it once it is handed over.

    Attributes:
        at: Unix time.
        estimate: Nano-dollars this attempt will probably cost; what recovery books
            if the process dies.
        reserve, reserve_tokens: Nano-dollars and tokens that limits hold for it: the worst
            case.
        expires: Unix time at which it must be over: what limits hold ends then, or the call's
            deadline has passed. Recovery books it from then on. None if nothing says when.
        call: The record of its call as it stands, for what else is known of it: policy,
            trace, tags.
        selection: Which of the selections in that record chose it, counted from 1; 0 if none.
    """

    call_id: str
    number: int
    at: float
    deployment: Deployment
    alias: str
    reason: str
    estimate: int = 0
    reserve: int = 0
    reserve_tokens: int = 0
    expires: float | None = None
    labels: Mapping[str, str] = EMPTY
    call: DecisionRecord | None = None
    selection: int = 0


@quickly_built
@dataclass(slots=True, kw_only=True)
class Settlement:
    """How that row ends, and as little changed afterwards.

    Attributes:
        status: success, error, cancelled, abandoned; skipped: it was never sent.
        at: Unix time.
        price: What `cost` was counted at; None if nobody knows one.
        scope: Who is to blame for a failure.
        code: The provider's own error code.
    """

    status: str
    at: float | None = None
    usage: Usage = field(default_factory=Usage)
    cost: int = 0
    price: Price | None = None
    latency: float = 0.0
    first_token: float | None = None
    model: str | None = None
    error_class: str | None = None
    scope: str | None = None
    code: str | None = None
    http_status: int | None = None
    finish_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIntent:
    """An attempt under way, as the books have it: what limits hold for it."""

    call_id: str
    number: int
    at: float
    estimate: int
    reserve: int
    reserve_tokens: int
    expires: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the books say was used in a span of time.

    Attributes:
        used: (Unix time, requests, tokens, nano-dollars) of what is settled or booked by
            recovery, summed up over parts of the span as `standing` was asked to, in order of
            time: when a part begins, or the span. What was skipped is no request.
        open: Attempts under way.
    """

    used: tuple[tuple[float, int, int, int], ...] = ()
    open: tuple[OpenIntent, ...] = ()


ShadowCalls = Literal["without", "with", "only"]
"""Whether calls that are shadows of others count: their cost is kept apart, and left out unless asked for."""


class Ledger(Protocol):
    """The books: one row per attempt keyed (call_id, number), one terminal row per call.

    Thread-safe. An answer may be pending (see `MaybePending`); when it is there, the
    row is as safe as the ledger's documentation says. It may have an attribute `away`: True
    while rows wait for the books, which is alerted; an attribute `others`: how many more write
    to it now, as far as that can be told, which is alerted where limits are kept in memory; and
    a method `gather()`, asked before a state is told of the books: done when no row that was
    acknowledged waits elsewhere, or `StorageError`.

    Attributes:
        durable: Whether the rows outlive the process, and are those of all processes that
            were given the same ledger.
    """

    durable: bool

    def open_attempt(self, intent: AttemptIntent) -> MaybePending[None]:
        """Write the intent. Once per (call_id, number); a repeat changes nothing."""

    def settle_attempt(self, call_id: str, number: int, settlement: Settlement) -> MaybePending[bool]:
        """Compare-and-set from intent to settled, or from what recovery booked to what it
        really was. False, and no change, on a repeat."""

    def close_call(self, record: DecisionRecord) -> MaybePending[None]:
        """Write the call's terminal row. Once per call_id; a repeat changes nothing."""

    def recover(self, *, older_than: float, now: float) -> int:
        """Turn intents opened more than `older_than` seconds before `now` (Unix time)
        into status "unknown" at their estimate; how many."""

    def standing(
        self,
        where: Mapping[str, str | None],
        *,
        since: float,
        until: float,
        part: float | None = None,
        shadow_calls: ShadowCalls = "without",
    ) -> MaybePending[Standing]:
        """What attempts opened in [since, until) have used, of all processes.

        Args:
            where: Column of the attempts, "tag:NAME" or "extra:NAME" -> value it must have (None:
                must be empty); {} for all.
            part: Seconds; sum up separately for each such part, counted from the Unix
                epoch. None: one sum.
            shadow_calls: Whether what shadows of calls have used counts.

        Raises:
            ValueError: They cannot be told apart by that.
        """

    def add_feedback(self, feedback: Feedback) -> MaybePending[None]:
        """Keep it. Once per id; a repeat changes nothing."""

    def flush(self) -> None:
        """Return when everything handed over so far is written."""

    def close(self) -> None:
        """Flush and let go of files and threads. Idempotent."""

    def attempts(self, call_id: str | None = None) -> list[dict[str, Any]]:
        """Attempt rows as plain values, oldest first."""

    def calls(self, call_id: str | None = None) -> list[dict[str, Any]]:
        """Call rows as plain values, oldest first."""

    def assignments(self, call_id: str | None = None) -> list[dict[str, Any]]:
        """Which call was under which arm of which experiment, oldest first."""

    def feedback(self, call_id: str | None = None) -> list[dict[str, Any]]:
        """Rows of feedback as plain values, oldest first."""
