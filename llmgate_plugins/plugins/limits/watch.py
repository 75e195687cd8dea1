"""What people should know of limits: thresholds that are passed, limits in shadow, a state that is gone
or that others do not share."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from llmgate_plugins.alerts import Alert
from llmgate_plugins.plugins.limits import words
from llmgate_plugins.plugins.limits.counts import Count
from llmgate_plugins.services import Services
from llmgate_plugins.types import Deployment

__all__ = ["ALERTS", "Watch"]

ALERTS: Final = (
    ("budget_threshold", "A limit's `alert_at` is passed, until its window ends."),
    ("limit_shadow", "A limit in shadow would have refused a call."),
    ("price_unknown", "A budget counts nothing for a deployment, since nobody knows its price."),
    ("state_unavailable", "The state that limits are kept in does not answer, until it does."),
    (
        "limits_apart",
        "Limits are counted in memory, and another process writes the same ledger, until none does.",
    ),
)
"""(kind, when) of each."""

MOST_OPEN: Final = 4_096
"""Alerts that are remembered until they are over; the oldest are forgotten."""
CALM: Final = 0.9
"""Part of a threshold that a count without an end must fall below for its alert to be over."""
HOUR: Final = 3_600.0
"""Seconds after which a limit in shadow is spoken of again, if its window does not end."""
SETTLED_IN: Final = 60.0
"""Seconds after which a process that one took the place of is gone."""
_APART: Final = "limits_apart"


class Watch:
    """Reports alerts, each once, and that they are over.

    An alert on a window that ends is over with it; told when a call comes after that.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], tuple[Alert, float]] = {}  # how each is told to be over, and when
        self._gone: Alert | None = None
        self._look_at = math.inf
        self.next_end = math.inf
        """Unix time at which the first of the open alerts is over, or others are looked for."""

    def look_for_others(self, services: Services) -> None:
        """From a while on now and then: whether others count for themselves what is counted here."""
        self._look_at = services.clock.time() + SETTLED_IN
        self.next_end = min(self.next_end, self._look_at)

    def look(self, count: Count, services: Services) -> None:
        """Report the highest threshold that is passed and was not told in this window, or that it is over."""
        limit = count.limit
        told = count.alerted
        if count.used >= count.next_alert:
            while count.used >= count.next_alert:
                count.next_threshold(count.alerted + 1)
            self._tell_threshold(count, limit.alert_at[count.alerted - 1], services)
        elif told and count.is_endless:
            for place, share in enumerate(limit.alert_at[:told]):
                if count.used < CALM * share * limit.limit:
                    self._resolve(("budget_threshold", _subject(count, share)), services)
                    count.next_threshold(min(place, count.alerted))

    def refused(self, count: Count, amount: int, services: Services) -> None:
        """A hard limit refuses: it is as good as used up, whatever is left of it."""
        shares = count.limit.alert_at
        full = sum(share <= 1 for share in shares)
        if full > count.alerted and amount <= count.limit.limit:
            count.next_threshold(full)
            self._tell_threshold(count, shares[full - 1], services)

    def would_refuse(self, count: Count, left: int, wanted: int, services: Services) -> None:
        """A limit in shadow would have refused a call."""
        asked, limit = words.amount(count.rule.kind, wanted), words.amount(count.rule.kind, left)
        self._tell(
            Alert(
                kind="limit_shadow",
                subject=count.key,
                summary=f"{count} would have refused a call: {limit} were left, and it might use {asked}",
                severity="info",
                until=None if count.is_endless else count.resets_at,
                facts={"limit": count.limit.limit, "left": left, "wanted": wanted},
            ),
            services.clock.time() + min(count.limit.seconds, HOUR) if count.is_endless else count.resets_at,
            services,
            f"{count} has refused no call since" if count.is_endless else f"{count} begins anew",
        )

    def unpriced(self, deployment: Deployment, services: Services) -> None:
        """A budget is asked about a deployment whose price nobody knows."""
        model = f"{deployment.provider}/{deployment.model}"
        self._tell(
            Alert(
                kind="price_unknown",
                subject=deployment.id,
                summary=f"nobody knows what {model} costs: budgets hold nothing for deployment "
                f"{deployment.id!r}, and count no more than its provider says it charges; write its price "
                "under `prices`, and 0 if it is free",
                severity="warning",
                facts={"model": model},
            ),
            None,
            services,
        )

    def unavailable(self, error: BaseException, services: Services) -> None:
        """The state could not be asked."""
        if self._gone is None:
            self._gone = Alert(
                kind="state_unavailable",
                subject="limits",
                summary="the state that limits are kept in does not answer "
                f"({type(error).__name__}): hard limits deny what they cannot check",
                severity="critical",
            )
            services.alerts.report(self._gone)

    @property
    def state_is_gone(self) -> bool:
        """Whether it could not be asked the last time."""
        return self._gone is not None

    def available(self, services: Services) -> None:
        """The state answers again."""
        gone, self._gone = self._gone, None
        if gone is not None:
            summary = "the state that limits are kept in answers again"
            services.alerts.report(replace(gone, resolved=True, severity="info", summary=summary))

    def end(self, now: float, services: Services) -> None:
        """Tell that alerts on windows which have ended are over."""
        for key, (_, until) in list(self._open.items()):
            if until <= now:
                self._resolve(key, services)
        if self._look_at <= now:
            self._look_at = now + HOUR
            self._look_around(services)
        self.next_end = min((until for _, until in list(self._open.values())), default=math.inf)
        self.next_end = min(self.next_end, self._look_at)

    def _look_around(self, services: Services) -> None:
        ledger = services.ledger
        others = getattr(ledger, "others", 0)
        name = str(getattr(ledger, "name", "ledger"))
        if not others:
            self._resolve((_APART, name), services)
            return
        self._tell(
            Alert(
                kind=_APART,
                subject=name,
                summary=f"limits are kept in the memory of this process, and {others} more write to the same "
                f"ledger, {name}: each may spend a whole limit; name a Redis for all of them under `state`",
                severity="warning",
                facts={"others": others},
            ),
            None,
            services,
        )

    def _tell_threshold(self, count: Count, share: float, services: Services) -> None:
        limit = count.limit
        kind = count.rule.kind
        resets = f"; it resets at {words.moment(count.resets_at, count.window)}" if count.resets_at else ""
        held = f", {words.amount(kind, count.held)} held" if count.held and not count.rule.by_one else ""
        self._tell(
            Alert(
                kind="budget_threshold",
                subject=_subject(count, share),
                summary=f"{count} has passed {share:.0%}: "
                f"{words.amount(kind, count.used)} used{held}{resets}",
                severity="critical" if share >= 1 else "warning",
                until=None if count.is_endless else count.resets_at,
                facts={
                    "threshold": share,
                    "spent": count.spent,
                    "held": count.held,
                    "limit": limit.limit,
                    "resets_at": count.resets_at,
                    "mode": count.rule.mode,
                },
            ),
            None if count.is_endless else count.resets_at,
            services,
            f"{count} is well below {share:.0%} again" if count.is_endless else f"{count} begins anew",
        )

    def _tell(self, alert: Alert, ends: float | None, services: Services, over: str = "") -> None:
        """Report it; `over` is what is said when it is over."""
        if alert.key in self._open:
            return
        if len(self._open) >= MOST_OPEN:
            self._open.pop(next(iter(self._open)), None)
        until = math.inf if ends is None else ends
        self._open[alert.key] = (replace(alert, summary=over or alert.summary, resolved=True), until)
        self.next_end = min(self.next_end, until)
        services.alerts.report(alert)

    def _resolve(self, key: tuple[str, str], services: Services) -> None:
        over = self._open.pop(key, None)
        if over is not None:
            services.alerts.report(over[0])


def _subject(count: Count, share: float) -> str:
    return f"{count.key} {share:.0%}"
