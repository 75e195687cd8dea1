"""Alerts when an hour costs far more than such an hour usually does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final

from llmgate_plugins.alerts import Alert
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.plugins.arguments import positive, whole
from llmgate_plugins.plugins.watching.history import WEEK, WEEKS, History
from llmgate_plugins.plugins.watching.subjects import SUBJECTS, Subject, named, subject_of
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import Services, Standing
from llmgate_plugins.types import NANO

__all__ = ["SpendAnomalies"]

log = logging.getLogger("llmgate")

HOUR: Final = 3600.0
COLUMNS: Final[Mapping[Subject, str]] = {"user": "user_id", "alias": "requested_model"}
"""The ledger's names for subjects, where they are others."""


class _Spender:
    """The money of one subject."""

    __slots__ = (
        "asked_at",
        "booked",
        "by",
        "going",
        "history",
        "hour",
        "limit",
        "name",
        "seen_from",
        "spent",
        "whole",
    )

    def __init__(self, by: Subject, name: str, booked: str | None, history: History, hour: int) -> None:
        self.by, self.name, self.history = by, name, history
        self.booked = booked
        """What its rows have in the books."""
        self.hour = hour
        self.whole = False
        """Whether this hour was seen from its beginning on."""
        self.spent = 0
        self.limit: int | None = None
        self.going = False
        self.asked_at = -float("inf")

    def turn(self, hour: int) -> bool | None:
        """Another hour has begun; whether the last one was well, None if nobody knows."""
        limit, spent = self.limit, self.spent
        if self.whole:
            self.history.extend([(self.hour, spent)])
        if hour > self.hour + 1:
            self.history.extend([(hour - 1, 0)])
            spent = 0
        self.hour, self.spent, self.whole = hour, 0, True
        self.limit = self.history.limit()
        return None if limit is None else spent < limit


class SpendAnomalies:
    """Compares what each hour costs with what such an hour usually costs (alert "spend_anomaly").

    The usual is learned from the same hour of the week in the last four weeks, and how far off
    the last day was; the spread from how far off those weeks were (a robust z-score: medians,
    in logarithms). Nothing is said in the first week. An hour is an anomaly as soon as it
    exceeds `sigmas` spreads, `factor` times the usual, and the usual by `least`: a warning, from
    four times that limit on critical. It is over after the first whole hour below its limit.

    Where the ledger is durable, past weeks are read from it in the background, and the hour at
    hand once a minute, so that what other processes spend counts too. Otherwise each process knows
    its own calls since it began.

    Args:
        by: What is watched each for itself: "all", "tenant", "team", "project", "user", "feature",
            "cohort", "environment", "policy", "alias".
        least: US dollars above the usual below which nothing is said.
        factor: So many times the usual.
        sigmas: So many spreads above the usual.
        most: So many subjects are watched; the first ones seen.
        refresh: Seconds between two looks into the ledger.

    Raises:
        ValueError: A number is out of its range, or there is no such subject.
    """

    def __init__(
        self,
        by: Sequence[Subject] = ("all",),
        *,
        least: float = 1.0,
        factor: float = 2.0,
        sigmas: float = 4.0,
        most: int = 200,
        refresh: float = 60.0,
    ) -> None:
        unknown = [one for one in by if one not in SUBJECTS]
        if isinstance(by, str) or unknown:
            raise ValueError(f"by must be a list of {', '.join(SUBJECTS)}, not {by!r}")
        self.by = tuple(by)
        self._least = round(positive("least", least) * NANO)
        if positive("factor", factor) <= 1:
            raise ValueError(f"factor must be above 1, not {factor!r}")
        self._factor, self._sigmas = factor, positive("sigmas", sigmas)
        self._most = whole("most", most)
        self._refresh = positive("refresh", refresh)
        self._spenders: dict[tuple[Subject, str], _Spender] = {}
        self._going: set[_Spender] = set()
        self._lock = threading.Lock()

    @property
    def alerts(self) -> tuple[tuple[str, str], ...]:
        """(kind, when) of what is watched."""
        far = f"{self._factor:g} times the usual of such an hour, and ${self._least / NANO:g} more"
        whose = ["All calls cost" if by == "all" else f"One {by} costs" for by in self.by]
        return tuple(("spend_anomaly", f"{one} {far}, until an hour is as usual.") for one in whose)

    def usual(self, by: Subject = "all", name: str = "all") -> tuple[int, int] | None:
        """(usual, limit) of the hour at hand, nano-dollars; None while there is too little to judge by."""
        with self._lock:
            one = self._spenders.get((by, name))
            expected = None if one is None else one.history.expected()
            return None if expected is None or one is None or one.limit is None else (expected, one.limit)

    @hookimpl
    def end_call(self, record: DecisionRecord, services: Services) -> None:
        """Add what the call cost; a shadow's cost is nobody's spending."""
        cost, now = record.cost, services.clock.time()
        hour = int(now // HOUR)
        alerts: list[Alert] = []
        asking: list[_Spender] = []
        with self._lock:
            for by in self.by if record.shadow_of is None else ():
                name = subject_of(by, record)
                if name is None:
                    continue
                one = self._spenders.get((by, name))
                if one is None:
                    if len(self._spenders) >= self._most:
                        continue
                    # A call under no policy is spoken of as under the default one.
                    booked = record.policy or record.context.policy if by == "policy" else name
                    one = self._spenders[by, name] = _Spender(by, name, booked, self._history(), hour)
                if hour > one.hour:
                    self._turn(one, hour, alerts)
                one.spent += cost
                if one.limit is not None and one.spent >= one.limit:
                    self._exceeded(one, alerts)
                if services.ledger.durable and services.clock.monotonic() - one.asked_at >= self._refresh:
                    one.asked_at = services.clock.monotonic()
                    asking.append(one)
            if self._going:
                for one in [one for one in self._going if hour > one.hour]:
                    self._turn(one, hour, alerts)
        for alert in alerts:
            services.alerts.report(alert)
        for one in asking:
            self._ask(one, hour, now, services)

    def _history(self) -> History:
        return History(least=self._least, sigmas=self._sigmas, factor=self._factor)

    def _turn(self, one: _Spender, hour: int, alerts: list[Alert]) -> None:
        if one.turn(hour) and one.going:
            one.going = False
            self._going.discard(one)
            alerts.append(_over(one))

    def _exceeded(self, one: _Spender, alerts: list[Alert]) -> None:
        one.going = True
        self._going.add(one)
        alerts.append(_anomaly(one))

    # ------------------------------------------------------------ what the books say

    def _ask(self, one: _Spender, hour: int, now: float, services: Services) -> None:
        """Have the ledger read in its own thread; what it says is learned when it is there."""
        known = one.history.next_hour
        first = hour - WEEKS * WEEK if known is None else min(known, hour)
        where = {} if one.by == "all" else {COLUMNS.get(one.by, one.by): one.booked}
        answer: Any = services.ledger.standing(where, since=first * HOUR, until=now + HOUR, part=HOUR)

        def learn(told: Future[Standing]) -> None:
            try:
                self._learn(one, hour, told.result(), services)
            except Exception:
                log.warning("what was spent could not be read from the ledger", exc_info=True)

        if isinstance(answer, Future):
            answer.add_done_callback(learn)

    def _learn(self, one: _Spender, hour: int, standing: Standing, services: Services) -> None:
        spent = {int(begin // HOUR): money for begin, _, _, money in standing.used}
        alerts: list[Alert] = []
        with self._lock:
            if one.hour != hour:
                return  # it has turned meanwhile, and will be asked for again
            if spent:
                one.history.extend(sorted((at, money) for at, money in spent.items() if at < hour))
                if one.history.next_hour is not None and one.history.next_hour < hour:
                    one.history.extend([(hour - 1, 0)])
            one.spent = max(one.spent, spent.get(hour, 0))
            one.whole = one.whole or bool(spent)
            one.limit = one.history.limit()
            if one.limit is not None and one.spent >= one.limit:
                self._exceeded(one, alerts)
        for alert in alerts:
            services.alerts.report(alert)


def _anomaly(one: _Spender) -> Alert:
    usual, limit = one.history.expected() or 0, one.limit or 0
    return Alert(
        kind="spend_anomaly",
        subject=one.name if one.by == "all" else f"{one.by}:{one.name}",
        summary=f"{named(one.by, one.name)} has spent ${one.spent / NANO:,.2f} in this hour; "
        f"usual are ${usual / NANO:,.2f}, and up to ${limit / NANO:,.2f} would be no surprise.",
        severity="critical" if one.spent >= 4 * limit else "warning",
        facts={
            "by": one.by,
            "name": one.name,
            "spent_nano_usd": one.spent,
            "usual_nano_usd": usual,
            "limit_nano_usd": limit,
        },
    )


def _over(one: _Spender) -> Alert:
    return Alert(
        kind="spend_anomaly",
        subject=one.name if one.by == "all" else f"{one.by}:{one.name}",
        summary=f"{named(one.by, one.name)} spends as usual again.",
        resolved=True,
    )
