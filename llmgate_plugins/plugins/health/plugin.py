"""Keeps calls away from deployments that are ill, and finds out when they are well again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from llmgate_plugins.alerts import NO_ALERTS, Alerts
from llmgate_plugins.context import Call
from llmgate_plugins.decisions import Drop, GiveUp, NextAlias, Recovery, Skip
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.plugins.failover import MOST_ATTEMPTS
from llmgate_plugins.plugins.health.alerting import ALERTS, alert_of
from llmgate_plugins.plugins.health.breaker import State
from llmgate_plugins.plugins.health.breakers import Breakers
from llmgate_plugins.plugins.health.evidence import evidence
from llmgate_plugins.plugins.health.groups import Groups, View
from llmgate_plugins.plugins.health.leave import LEAVE, Leave, may_pass, takes_leave
from llmgate_plugins.plugins.health.numbers import Numbers
from llmgate_plugins.plugins.health.paths import Paths, alert_of_path, leads_nowhere
from llmgate_plugins.plugins.health.reporting import HealthChange, HealthRow, row_of
from llmgate_plugins.plugins.health.scopes import ILLNESS, Ailment, finding
from llmgate_plugins.services import Services
from llmgate_plugins.types import Attempt, Deployment, Outcome

__all__ = ["Health"]

log = logging.getLogger("llmgate")


class Health:
    """Ejects deployments that fail, probes them with real calls, and lets traffic come back slowly.

    One breaker for each kind of failure at each deployment, credential and provider, by the
    failure's scope. What is the request's, the caller's or our own fault never counts, nor
    does a call that was cancelled, nor one that nobody waits for (`Call.is_shadow`): it is kept
    away from what is ill as any call, but neither probes nor ejects.

    Reason codes: "ejected_overload", "ejected_transport", "ejected_slow", "ejected_quality",
    "throttled" (soft); "no_money", "bad_key", "bad_certificate", "model_gone", "region_refused",
    "not_allowed" (hard: one failure ejects, and only a probe is sent there); "no_path" (for this kind of
    call alone, while others have one); "probing" (another call is finding out), "slow_start" (it has just
    come back, and this call is not of its share).

    Alerts: "ejected" (a deployment), "credential_dead" (a key without money or rights) and
    "provider_down", from the ejection until it serves again; where a key or a certificate is
    at fault, or a whole provider, they are critical, else warnings.

    Args:
        consecutive: So many soft failures in a row eject.
        share, samples: So does this share of at least so many outcomes that have not faded.
        window: Seconds in which an outcome fades to a third.
        fair_time: A timeout at the call's own deadline counts if the attempt had so many seconds.
        ejection, most_ejection: Seconds of the first soft ejection, and the most; each one doubles.
        most_quick: The most for `transport` and `overload`, where asking again costs little.
        hard_ejection: Seconds of the first hard ejection if the provider names none; doubles too.
        gone_ejection: Seconds until a retired model is asked for again.
        most_retry_after: The longest wait that is taken from a provider, in seconds.
        throttle_pause: Seconds of rest after a rate limit that names no time.
        jitter: Part by which ejections are made longer or shorter at random.
        calm: Seconds without ejection that make up for one.
        successes: Answers in a row that close a soft breaker; a hard one needs one.
        probe_timeout: Seconds after which a probe of which nothing is heard gives up its slot.
        slow_start: Seconds in which a recovered deployment's share of the calls grows to
            the whole, beginning at `least_share`; 0 for at once.
        least_share: See `slow_start`.
        least_left: If less than this share of a group would be left, soft ejections do not
            count in it ("panic"); 0 for never.
        forget: Seconds after which an ejection that has ended and that nobody has probed
            is forgotten.
        on_change: Told of each `HealthChange`, in the thread of the call that caused it.

    Raises:
        ValueError: A number is out of its range.
    """

    alerts = ALERTS

    def __init__(
        self,
        *,
        consecutive: int = 5,
        share: float = 0.5,
        samples: int = 10,
        window: float = 30.0,
        fair_time: float = 30.0,
        ejection: float = 15.0,
        most_ejection: float = 300.0,
        most_quick: float = 8.0,
        hard_ejection: float = 60.0,
        gone_ejection: float = 3600.0,
        most_retry_after: float = 3600.0,
        throttle_pause: float = 1.0,
        jitter: float = 0.2,
        calm: float = 60.0,
        successes: int = 3,
        probe_timeout: float = 60.0,
        slow_start: float = 30.0,
        least_share: float = 0.1,
        least_left: float = 0.5,
        forget: float = 300.0,
        on_change: Callable[[HealthChange], object] | None = None,
    ) -> None:
        self.numbers = Numbers(
            consecutive=consecutive,
            share=share,
            samples=samples,
            window=window,
            fair_time=fair_time,
            ejection=ejection,
            most_ejection=most_ejection,
            most_quick=most_quick,
            hard_ejection=hard_ejection,
            gone_ejection=gone_ejection,
            most_retry_after=most_retry_after,
            throttle_pause=throttle_pause,
            jitter=jitter,
            calm=calm,
            successes=successes,
            probe_timeout=probe_timeout,
            slow_start=slow_start,
            least_share=least_share,
            least_left=least_left,
            forget=forget,
        )
        self._breakers = Breakers(self.numbers)
        self._groups = Groups(self._breakers.keys)
        self._paths = Paths(self.numbers)
        self._lock = threading.Lock()
        self._on_change = on_change
        self._alerts: Alerts = NO_ALERTS
        self._unix = 0.0

    def report(self, now: float) -> list[HealthRow]:
        """Everything of which something bad is known, at this monotonic time."""
        with self._lock:
            self._breakers.wake(now)
            rows = [row_of(one) for group in self._breakers.known.values() for one in group.values()]
            rows += self._paths.rows(now)
        self._hand_out()
        return rows

    # ------------------------------------------------------------ hooks

    @hookimpl
    def narrow_deployments(
        self, deployments: Sequence[Deployment], call: Call, services: Services
    ) -> Drop | None:
        """Drops what is ejected. The same object again while nothing changes."""
        breakers, paths = self._breakers, self._paths.known
        if not breakers.open and not paths:
            return None
        left_out = self._left_out(deployments, call, services) if breakers.open else None
        if not paths:
            return left_out
        with self._lock:
            now = services.clock.monotonic()
            unix = services.clock.time() - now
            lacking = self._paths.drop(deployments, call.record.operation, now, unix)
        if left_out is None or lacking is None:
            return left_out or lacking
        return Drop(
            {**lacking.reasons, **left_out.reasons}, {**lacking.until, **left_out.until}, passing=True
        )

    def _left_out(self, deployments: Sequence[Deployment], call: Call, services: Services) -> Drop | None:
        breakers = self._breakers
        now = services.clock.monotonic()
        group = self._groups.known.get(id(deployments))
        if (
            group is None
            or group.deployments is not deployments
            or group.version != breakers.version
            or now >= breakers.next_wake
        ):
            view = self._looked_at(deployments, now, services)
        else:
            view = group.view
        if view.left <= 0 and view.strict is not None and call.fallbacks:
            return view.strict
        if (view.let_in or view.throttled) and not call.hypothetical:
            call.stash[LEAVE] = Leave(view.let_in, view.throttled)
        if view.slow:
            return view.without_slow(now, call.draw("health: slow start"), self.numbers)
        return view.drop

    @hookimpl
    def begin_attempt(self, attempt: Attempt, call: Call, services: Services) -> Skip | None:
        """Takes the slot of a probe; skips what was ejected since it was selected."""
        breakers = self._breakers
        if not breakers.open:
            return None
        around = breakers.around(attempt.deployment)
        if not around:
            return None
        now = services.clock.monotonic()
        with self._lock:
            breakers.wake(now)
            around = breakers.around(attempt.deployment)
            leave = call.stash.get(LEAVE)
            if call.is_shadow:
                bar = next(iter(around), None)
            else:
                bar = next((one for one in around if not may_pass(one, attempt, leave)), None)
            if bar is None:
                if leave is not None and any(map(takes_leave, around)):
                    leave.used_by = attempt
                breakers.claim([one for one in around if one.state is State.HALF_OPEN], attempt, now)
        self._tell(services)
        if bar is None:
            return None
        if bar.state is State.PROBING:
            return Skip("probing")
        return Skip(bar.reason, bar.until + services.clock.time() - now)

    @hookimpl
    def end_attempt(self, attempt: Attempt, outcome: Outcome, call: Call, services: Services) -> None:
        """Learns from the outcome, and gives back the slot of a probe whatever it was."""
        if call.is_shadow:
            return
        breakers, deployment = self._breakers, attempt.deployment
        if self._paths.known or (outcome.failure is not None and leads_nowhere(outcome.failure)):
            self._look_at_path(deployment.id, outcome, call, services)
        if outcome.status == "success":
            if not breakers.known:
                return
            now = services.clock.monotonic()
            with self._lock:
                breakers.succeeded(deployment, attempt, attempt.started, now)
        else:
            now = services.clock.monotonic()
            found = evidence(attempt, outcome, call, now=now, fair_time=self.numbers.fair_time)
            with self._lock:
                breakers.wake(now)
                if found is None:
                    breakers.released(deployment, attempt, now)
                else:
                    chance = call.draw(f"health: ejection after attempt {attempt.number}")
                    breakers.failed(found, deployment, attempt, attempt.started, now, chance)
            if outcome.status == "skipped":
                leave = call.stash.get(LEAVE)
                if leave is not None and leave.used_by is attempt:
                    leave.used_by = None
        self._tell(services)

    @hookimpl
    def recover_attempt(
        self,
        attempt: Attempt,
        outcome: Outcome,
        untried: Sequence[Deployment],
        fallbacks: Sequence[str],
        call: Call,
    ) -> Recovery | None:
        """No delay is slept for what would be skipped after it: all that this call tried is ejected."""
        failure = outcome.failure
        if untried or failure is None or not self._breakers.open:
            return None
        found = finding(failure, attempt.deployment)
        if found is None or found.ailment not in ILLNESS or found.ailment is Ailment.QUALITY:
            return None
        tried = {
            one.deployment.id: one.deployment
            for one, ended in call.record.attempts
            if one.alias == attempt.alias and ended.status == "error"
        }
        if not all(self._is_ejected(one) for one in tried.values()):
            return None
        if not fallbacks:
            return GiveUp("ejected")
        return NextAlias() if MOST_ATTEMPTS not in call.stash else None  # Failover counts them

    # ------------------------------------------------------------ inside

    def _is_ejected(self, deployment: Deployment) -> bool:
        return any(one.state is not State.THROTTLED for one in self._breakers.around(deployment))

    def _look_at_path(self, name: str, outcome: Outcome, call: Call, services: Services) -> None:
        """Whether the deployment has a path for this kind of call."""
        operation = call.record.operation
        if leads_nowhere(outcome.failure):
            with self._lock:
                self._paths.missing(name, operation, services.clock.monotonic())
            services.alerts.report(alert_of_path(name, operation, found=False))
        elif outcome.status == "success":
            with self._lock:
                found = self._paths.found(name, operation)
            if found:
                services.alerts.report(alert_of_path(name, operation, found=True))

    def _looked_at(self, deployments: Sequence[Deployment], now: float, services: Services) -> View:
        """What this group comes to now, worked out anew if it must be."""
        with self._lock:
            breakers = self._breakers
            breakers.wake(now)
            group = self._groups.of(deployments)
            if group.version != breakers.version:
                unix = services.clock.time() - now
                group.refresh(breakers.open, breakers.version, unix, self.numbers.least_left)
            view = group.view
        self._tell(services)
        return view

    def _tell(self, services: Services) -> None:
        """Hand out what has changed, outside of the lock."""
        if self._breakers.changes:
            self._alerts = services.alerts
            self._unix = services.clock.time() - services.clock.monotonic()
            self._hand_out()

    def _hand_out(self) -> None:
        with self._lock:
            changes, self._breakers.changes = self._breakers.changes, []
        for change in changes:
            alert = alert_of(change, self._unix)
            if alert is not None:
                self._alerts.report(alert)
            if self._on_change is None:
                continue
            try:
                self._on_change(change)
            except Exception:  # an alert that fails must not stop a call
                log.exception("on_change of Health failed; the call goes on")
