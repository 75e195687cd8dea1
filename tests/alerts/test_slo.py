"""Goals are watched by burn rates: planted incidents are told in time, quiet weeks are quiet."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from support.channels import Listener, gateway_with
from support.faces import FACES
from support.gateways import Scene, deployment
from support.yardstick import in_empty_calls

from llmgate_plugins import Alert, Attempt, Context, DecisionRecord, Gateway, Outcome
from llmgate_plugins.plugins import Goal, Health, SloAlerts
from llmgate_plugins.plugins.watching.burning import WORKBOOK, Counts
from llmgate_plugins.records import CallStatus
from llmgate_plugins.services import Services
from llmgate_plugins.testing import Fault, PluginContract, VirtualClock, ask
from llmgate_plugins.types import ErrorClass, Failure
from llmgate_plugins.types import Scope as Blame

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


class Heard:
    """Stands for `services.alerts`; every report is kept with its time, repeats left out."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock, self.told = clock, list[tuple[float, Alert]]()

    def report(self, alert: Alert) -> None:
        last = next((one for _, one in reversed(self.told) if one.key == alert.key), None)
        if last is None or (last.severity, last.resolved) != (alert.severity, alert.resolved):
            self.told.append((self.clock.monotonic(), alert))


class Watching:
    """A plugin fed with the ends of calls, on a clock that stands still."""

    def __init__(self, *goals: Goal, **options: Any) -> None:
        self.clock = VirtualClock()
        self.heard = Heard(self.clock)
        self.plugin = SloAlerts(goals, **options)
        base = Gateway(clock=self.clock).services
        self.services = Services(
            clock=self.clock,
            random=base.random,
            sleeper=base.sleeper,
            state=base.state,
            ledger=base.ledger,
            alerts=self.heard,
        )

    def call(
        self,
        status: CallStatus = "success",
        latency: float = 0.1,
        shadow_of: str | None = None,
        **context: Any,
    ) -> None:
        record = DecisionRecord(
            call_id="x", model="fast", at=0.0, status=status, latency=latency, context=Context(**context)
        )
        record.shadow_of = shadow_of
        self.plugin.end_call(record, self.services)

    def run(self, seconds: float, every: float, bad: float = 0.0, rng: random.Random | None = None) -> None:
        """Calls at even distances, of which this share fails."""
        for number in range(round(seconds / every)):
            self.clock.advance(every)
            share = rng.random() if rng else (number * bad) % 1.0
            failed = share < bad if rng else math.floor((number + 1) * bad) > math.floor(number * bad)
            self.call("error" if failed else "success")

    def words(self) -> list[str]:
        return ["over" if one.resolved else one.severity for _, one in self.heard.told]


# ------------------------------------------------------------ the rules


def test_the_rules_are_those_of_the_workbook() -> None:
    assert [(one.factor, one.long / HOUR, one.short / MINUTE) for one in WORKBOOK] == [
        (14.4, 1, 5),
        (6, 6, 30),
        (1, 72, 360),
    ]
    for rule, budget in zip(WORKBOOK, (0.02, 0.05, 0.10), strict=True):
        assert rule.factor * rule.long / (30 * DAY) == pytest.approx(budget)


@pytest.mark.parametrize("seconds", [300.0, 1800.0, 3600.0, 21_600.0, 259_200.0])
def test_a_window_counts_what_happened_in_it(seconds: float) -> None:
    rng, counts, events, now = random.Random(1), Counts(0.0), list[tuple[float, int]](), 0.0
    step = seconds / 400
    for _ in range(1500):
        now += rng.expovariate(1 / step)
        bad = int(rng.random() < 0.3)
        counts.add(now, bad)
        events.append((now, bad))
    grain = 60.0 if seconds <= 21_600 else 900.0
    first = math.floor(now / grain) * grain - seconds + grain
    inside = [bad for at, bad in events if at >= first]
    assert counts.over(now, seconds) == (len(inside), sum(inside))
    assert counts.over(now + 10 * seconds, seconds) == (0, 0)


def theory(bad: float, budget: float, severity: str) -> list[float]:
    """Seconds of steady traffic from the beginning of an incident until rules of this severity hold."""
    return [
        rule.factor * budget / bad * rule.long
        for rule in WORKBOOK
        if rule.severity == severity and bad >= rule.factor * budget
    ]


@pytest.mark.parametrize(
    ("success", "bad", "severity"),
    [
        (0.99, 1.0, "critical"),
        (0.999, 1.0, "critical"),
        (0.99, 0.5, "critical"),
        (0.99, 0.2, "critical"),
        (0.95, 0.9, "critical"),
        (0.99, 0.08, "critical"),
        (0.99, 0.03, "warning"),
    ],
)
def test_an_incident_is_told_in_the_time_that_theory_says(success: float, bad: float, severity: str) -> None:
    watching = Watching(Goal(success=success))
    watching.run(4 * DAY, 60.0)
    assert watching.words() == []
    began = watching.clock.monotonic()
    soonest = min(theory(bad, 1 - success, severity))
    watching.run(soonest * 1.2 + 10 * MINUTE, 15.0, bad)
    at = next(at for at, alert in watching.heard.told if alert.severity == severity)
    # Faster traffic than before brings it forward; a window is up to a step shorter than it is called.
    assert at - began <= soonest * 1.02 + MINUTE
    if bad >= 0.2:
        assert at - began <= HOUR


def test_a_total_outage_of_a_goal_of_three_nines_is_told_within_a_minute() -> None:
    watching = Watching(Goal(success=0.999))
    watching.run(2 * HOUR, 1.0)
    began = watching.clock.monotonic()
    watching.run(10 * MINUTE, 1.0, 1.0)
    assert watching.heard.told[0][0] - began == pytest.approx(14.4 * 0.001 * HOUR, abs=2.0)


def test_a_process_that_begins_in_an_outage_tells_it_as_fast() -> None:
    watching = Watching(Goal(success=0.99))
    watching.run(HOUR, 1.0, 1.0)
    assert watching.heard.told[0][0] - 1000.0 == pytest.approx(0.144 * HOUR, abs=10.0)


def test_a_process_that_begins_with_a_failure_says_nothing() -> None:
    watching = Watching(Goal(success=0.99))
    for status in ("error",) * 6 + ("success",) * 600:
        watching.clock.advance(0.5)
        watching.call(status)  # type: ignore[arg-type]
    assert watching.words() == []


def test_it_is_over_when_the_short_window_is_clean() -> None:
    watching = Watching(Goal(success=0.99))
    watching.run(4 * HOUR, 5.0)
    watching.run(20 * MINUTE, 5.0, 0.5)
    assert watching.words() == ["critical"]
    watching.run(7 * HOUR, 5.0)
    assert watching.words()[0] == "critical"
    assert watching.words()[-1] == "over"
    assert watching.heard.told[-1][1].summary == "The gateway keeps its goal again that 99 % succeed."


def test_shadows_of_calls_burn_nothing() -> None:
    watching = Watching(Goal(success=0.99))
    watching.run(HOUR, 60.0)
    for _ in range(600):
        watching.call("error", shadow_of="another")
        watching.clock.advance(1.0)
    assert watching.words() == []


def test_few_failures_are_no_incident_whatever_their_share() -> None:
    watching = Watching(Goal(success=0.99), least=5)
    for _ in range(4):
        watching.clock.advance(MINUTE)
        watching.call("error")
    assert watching.words() == []


@pytest.mark.parametrize(("seed", "every"), [(0, 20.0), *((seed, 90.0) for seed in range(10))])
def test_a_quiet_week_is_quiet(seed: int, every: float) -> None:
    watching = Watching(Goal(success=0.99))
    watching.run(7 * DAY, every, 0.003, random.Random(seed))
    assert watching.words() == []


def test_a_summary_says_what_is_missed_and_by_how_much() -> None:
    watching = Watching(Goal(success=0.99))
    watching.run(HOUR, 5.0, 0.5)
    (_, alert) = watching.heard.told[-1]
    assert alert.kind == "slo_burn"
    assert alert.subject == "all/success"
    assert alert.facts["metric"] == "success"
    assert alert.summary == (
        "The gateway misses its goal that 99 % succeed: 50.0 % failed in the last hour, 50 times what may."
    )


# ------------------------------------------------------------ latency


def test_a_p95_that_is_missed_by_all_is_told_within_the_hour() -> None:
    watching = Watching(Goal(by="policy", name="eu-support", p95=2.0))
    for _ in range(3600):
        watching.clock.advance(4.0)
        watching.call(latency=1.9, policy="eu-support")
    began = watching.clock.monotonic()
    for _ in range(900):
        watching.clock.advance(4.0)
        watching.call(latency=2.1, policy="eu-support")
        watching.call(latency=9.9, policy="another")
    at, alert = watching.heard.told[0]
    # Twice the calls of before: those of the other policy are not counted.
    assert at - began == pytest.approx(14.4 * 0.05 * HOUR, abs=2 * MINUTE)
    assert (alert.severity, alert.subject) == ("critical", "policy:eu-support/p95")
    assert "95 % end within 2 s" in alert.summary


def test_a_p95_that_is_kept_is_not_told_though_one_in_thirty_is_slow() -> None:
    watching = Watching(Goal(p95=2.0))
    for number in range(20_000):
        watching.clock.advance(30.0)
        watching.call(latency=30.0 if number % 30 == 0 else 0.5)
    assert watching.words() == []


def test_a_failure_has_no_latency() -> None:
    watching = Watching(Goal(p95=2.0))
    for _ in range(2000):
        watching.clock.advance(5.0)
        watching.call("error", latency=60.0)
    assert watching.words() == []


# ------------------------------------------------------------ whose goal


def test_each_feature_is_watched_for_itself() -> None:
    watching = Watching(Goal(by="feature", success=0.99))
    for _ in range(1500):
        watching.clock.advance(2.0)
        watching.call(feature="search")
        watching.call("error", feature="mail")
        watching.call("error")
    assert {alert.subject for _, alert in watching.heard.told} == {"feature:mail/success"}


@pytest.mark.parametrize("status", ["denied", "cancelled", "abandoned"])
def test_what_a_caller_ended_counts_neither_way(status: CallStatus) -> None:
    watching = Watching(Goal(success=0.99))
    for _ in range(1500):
        watching.clock.advance(2.0)
        watching.call(status)
    assert watching.words() == []


@pytest.mark.parametrize(
    ("blame", "counts"), [(Blame.REQUEST, False), (Blame.CALLER, False), (Blame.DEPLOYMENT, True)]
)
def test_what_the_caller_is_to_blame_for_does_not_count(blame: Blame, counts: bool) -> None:
    watching = Watching(Goal(success=0.99), Goal(by="deployment", success=0.99))
    failure = Failure(error_class=ErrorClass.INVALID_REQUEST, scope=blame)
    attempt = Attempt(
        call_id="x", number=1, deployment=deployment("east"), alias="fast", reason="primary", started=0.0
    )
    outcome = Outcome(status="error", failure=failure)
    for _ in range(1500):
        watching.clock.advance(2.0)
        record = DecisionRecord(
            call_id="x", model="fast", at=0.0, status="error", attempts=[(attempt, outcome)]
        )
        watching.plugin.end_call(record, watching.services)
        watching.plugin.end_attempt(attempt, outcome, watching.services)
    assert {alert.subject for _, alert in watching.heard.told} == (
        {"all/success", "deployment:east/success"} if counts else set()
    )


@pytest.mark.parametrize("face", FACES)
def test_a_deployment_that_fails_is_told_though_every_call_is_answered(face: str) -> None:
    listener = Listener()
    goals = [Goal(by="deployment", success=0.99), Goal(success=0.99)]
    calm = Health(consecutive=1000, samples=1000)  # goes on sending there
    scene = Scene(
        {"east": [Fault("server")] * 100, "west": ["fine"] * 100}, [listener, calm, SloAlerts(goals)]
    )
    for _ in range(30):
        scene.clock.advance(60.0)
        assert ask(face, scene.gateway).text == "fine"
    assert scene.gateway.alerts.flush(10)
    assert [one.subject for one in listener.alerts] == ["deployment:east/success"]


def test_what_is_watched_has_a_limit() -> None:
    watching = Watching(Goal(by="user", success=0.99), most=50)
    for number in range(500):
        watching.call(user=f"user-{number}")
    assert len(watching.plugin._watched) == 50


def test_a_call_costs_hardly_more() -> None:
    watching = Watching(Goal(success=0.99))
    record = DecisionRecord(call_id="x", model="fast", at=0.0, status="success", latency=0.1)
    cost = in_empty_calls(lambda: watching.plugin.end_call(record, watching.services))
    assert cost < 200, "about 40, which is 2 microseconds; a busy machine adds to it"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"by": "planet", "success": 0.9}, "by must be one of"),
        ({"success": 1.0}, "below 1"),
        ({"success": -1}, "success"),
        ({"p95": 0}, "p95"),
        ({}, "needs success"),
    ],
)
def test_goals_that_make_no_sense_are_refused(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Goal(**wrong)


def test_a_gateway_without_goals_pays_nothing_and_works() -> None:
    gateway_with(SloAlerts([]))


class TestSloAlerts(PluginContract):
    def make_plugin(self) -> SloAlerts:
        return SloAlerts([Goal(success=0.99, p95=2.0), Goal(by="deployment", success=0.9)])
