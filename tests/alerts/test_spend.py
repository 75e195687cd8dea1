"""An hour that costs far more than such an hour usually does is told; the week's own rhythm is not."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
from support.channels import Listener
from support.faces import FACES
from support.gateways import PRICE, Scene, deployment
from support.patience import until
from support.yardstick import in_empty_calls

from llmgate_plugins import Alert, Attempt, Context, DecisionRecord, Gateway, Outcome
from llmgate_plugins.ledger import open_ledger
from llmgate_plugins.plugins import SpendAnomalies
from llmgate_plugins.plugins.watching.history import WEEK, History
from llmgate_plugins.services import AttemptIntent, Ledger, Services, Settlement
from llmgate_plugins.testing import PluginContract, VirtualClock, ask
from llmgate_plugins.types import NANO

HOUR = 3600.0
MONDAY = 480_000 - 480_000 % WEEK + 96  # hour 0 of a week, counted from 1970-01-01, a Thursday


def usual(hour: int) -> float:
    """Dollars: days with an afternoon, quiet nights, quieter weekends."""
    day, of_day = divmod(hour % WEEK, 24)
    return 20 * (0.15 + max(0.0, math.sin((of_day - 6) / 12 * math.pi))) * (0.25 if day >= 5 else 1.0)


def noisy(rng: random.Random, hour: int, spread: float = 0.3) -> float:
    return usual(hour) * math.exp(rng.gauss(0, spread))


def history() -> History:
    return History(least=NANO, sigmas=4.0, factor=2.0)


def alarms(
    seed: int, weeks: int, spread: float = 0.3, growth: float = 0.0, planted: tuple[int, float] = (-1, 1)
) -> list[int]:
    rng, known, found = random.Random(seed), history(), []
    for hour in range(weeks * WEEK):
        dollars = noisy(rng, hour, spread) * (1 + growth) ** (hour / WEEK)
        if hour == planted[0]:
            dollars *= planted[1]
        limit = known.limit()
        if limit is not None and dollars * NANO >= limit:
            found.append(hour)
        known.extend([(MONDAY + hour, round(dollars * NANO))])
    return found


def test_the_rhythm_of_a_week_is_no_anomaly_on_fifty_seeds() -> None:
    """The first week is learned from; four weeks are judged."""
    found = [alarms(seed, 5) for seed in range(50)]
    assert sum(map(len, found)) / 50 < 1.0
    assert sum(map(len, found)) <= 10, "in truth one in ten four-week spans has one"


@pytest.mark.parametrize(("spread", "growth"), [(0.6, 0.0), (0.3, 0.15)])
def test_neither_is_noise_nor_growth(spread: float, growth: float) -> None:
    found = [alarms(seed, 5, spread, growth) for seed in range(15)]
    assert sum(map(len, found)) / 15 < 1.0


def test_a_planted_spike_is_found() -> None:
    found = 0
    for seed in range(20):
        hour = 3 * WEEK + random.Random(seed).randrange(5) * 24 + 10
        found += hour in alarms(seed, 4, planted=(hour, 8.0))
    assert found >= 19


def test_a_spike_does_not_hide_the_next_one() -> None:
    known, rng = history(), random.Random(3)
    for hour in range(3 * WEEK):
        known.extend([(MONDAY + hour, round(noisy(rng, hour) * NANO))])
    before = known.limit()
    known.extend([(MONDAY + 3 * WEEK, 5_000 * NANO)])
    known.extend([(MONDAY + 3 * WEEK + 1, round(usual(1) * NANO))])
    after = known.limit()
    assert before is not None
    assert after is not None
    assert after < 2 * before


def test_nothing_is_said_in_the_first_week() -> None:
    known = history()
    for hour in range(WEEK):
        assert (known.limit(), known.expected()) == (None, None)
        known.extend([(MONDAY + hour, round(usual(hour) * NANO))])
    assert known.missing == 1
    known.extend([(MONDAY + WEEK, round(usual(0) * NANO))])
    assert known.missing == 0
    assert known.expected() == pytest.approx(usual(1) * NANO, rel=0.5)


def test_hours_without_calls_are_hours_without_money() -> None:
    known = history()
    known.extend([(MONDAY, NANO), (MONDAY + 2 * WEEK, NANO)])
    assert known.expected() == pytest.approx(0, abs=NANO // 4)
    known.extend([(MONDAY + 10 * WEEK, NANO)])
    assert known.missing == WEEK, "what is older than four weeks is not known any more"


# ------------------------------------------------------------ the plugin


class Watching:
    """The plugin fed with the ends of calls."""

    def __init__(self, by: Any = ("all",), ledger: Ledger | None = None, **options: Any) -> None:
        self.clock = VirtualClock(time=MONDAY * HOUR)
        self.told: list[Alert] = []
        self.plugin = SpendAnomalies(by, **options)
        base = Gateway(clock=self.clock).services
        self.services = Services(
            clock=self.clock,
            random=base.random,
            sleeper=base.sleeper,
            state=base.state,
            ledger=ledger or base.ledger,
            alerts=self,
        )

    def report(self, alert: Alert) -> None:
        if not self.told or (self.told[-1].key, self.told[-1].resolved) != (alert.key, alert.resolved):
            self.told.append(alert)

    def spend(self, dollars: float, shadow_of: str | None = None, **context: Any) -> None:
        attempt = Attempt(
            call_id="x", number=1, deployment=deployment("east"), alias="fast", reason="primary", started=0.0
        )
        outcome = Outcome(status="success", cost=round(dollars * NANO))
        record = DecisionRecord(
            call_id="x",
            model="fast",
            at=self.clock.time(),
            status="success",
            context=Context(**context),
            attempts=[(attempt, outcome)],
            shadow_of=shadow_of,
        )
        self.plugin.end_call(record, self.services)

    def live(self, hours: int, seed: int = 0, **context: Any) -> None:
        rng = random.Random(seed)
        for _ in range(hours):
            number = int(self.clock.time() // HOUR) - MONDAY
            for _ in range(4):
                self.spend(noisy(rng, number) / 4, **context)
                self.clock.advance(HOUR / 4)


def test_what_shadows_of_calls_cost_is_nobodys_anomaly() -> None:
    watching = Watching()
    watching.live(3 * WEEK)
    watching.spend(10_000.0, shadow_of="another")
    assert watching.told == []
    watching.spend(10_000.0)
    assert [one.kind for one in watching.told] == ["spend_anomaly"]


def test_an_anomaly_is_told_in_the_middle_of_its_hour_and_when_it_is_over() -> None:
    watching = Watching()
    watching.live(2 * WEEK + 36)
    assert watching.told == []
    usual_and_limit = watching.plugin.usual()
    assert usual_and_limit is not None
    for _ in range(100):
        watching.spend(2 * usual_and_limit[1] / NANO / 100)
        watching.clock.advance(1.0)
    (alert,) = watching.told
    assert (alert.kind, alert.subject, alert.severity) == ("spend_anomaly", "all", "warning")
    assert alert.facts["limit_nano_usd"] == watching.plugin.usual()[1]  # type: ignore[index]
    assert alert.summary.startswith("The gateway has spent $")
    watching.clock.advance(HOUR)
    watching.live(1)
    assert len(watching.told) == 1, "one hour below its limit must be over first"
    watching.live(2)
    assert [one.resolved for one in watching.told] == [False, True]


def test_each_team_has_a_usual_of_its_own() -> None:
    watching = Watching(["team"])
    for _ in range(WEEK + 30):
        watching.spend(100.0, team="big")
        watching.spend(1.0, team="small")
        watching.spend(50.0)
        watching.clock.advance(HOUR)
    watching.spend(40.0, team="small")
    watching.spend(120.0, team="big")
    assert [one.subject for one in watching.told] == ["team:small"]


def test_what_costs_little_is_no_anomaly_whatever_its_factor() -> None:
    watching = Watching(least=5.0)
    for _ in range(WEEK + 60):
        watching.spend(0.01)
        watching.clock.advance(HOUR)
    watching.spend(4.9)
    assert watching.told == []
    watching.spend(0.2)
    assert len(watching.told) == 1


def test_the_hour_in_which_a_process_begins_is_not_taken_for_a_whole_one() -> None:
    watching = Watching()
    watching.clock.advance(HOUR * 0.9)
    watching.spend(1.0)
    watching.clock.advance(HOUR)
    watching.spend(1.0)
    assert watching.plugin._spenders["all", "all"].history.next_hour is None


def booked(ledger: Ledger, at: float, dollars: float, call: str, **labels: str) -> None:
    """An attempt in the books."""
    ledger.open_attempt(
        AttemptIntent(
            call_id=call,
            number=1,
            at=at,
            deployment=deployment("east"),
            alias="fast",
            reason="primary",
            labels=labels,
        )
    )
    ledger.settle_attempt(call, 1, Settlement(status="success", cost=round(dollars * NANO)))


def test_a_new_process_learns_past_weeks_from_the_books(tmp_path: Path) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path}/books.db")
    now = (MONDAY + 2 * WEEK) * HOUR
    for hour in range(2 * WEEK):
        booked(ledger, (MONDAY + hour) * HOUR + 60, 10.0, f"past-{hour}", team="search")
    ledger.flush()
    watching = Watching(["team"], ledger)
    watching.clock.advance(now - watching.clock.time())
    watching.spend(1.0, team="search")
    until(lambda: watching.plugin.usual("team", "search") is not None)
    expected, limit = watching.plugin.usual("team", "search")  # type: ignore[misc]
    assert expected == pytest.approx(10 * NANO, rel=0.05)
    watching.spend(limit / NANO, team="search")
    assert [one.subject for one in watching.told] == ["team:search"]
    ledger.close()


def test_what_was_spent_under_no_policy_is_learned_as_well(tmp_path: Path) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path}/books.db")
    for hour in range(2 * WEEK):
        at = (MONDAY + hour) * HOUR + 60
        booked(ledger, at, 10.0, f"past-{hour}")
        booked(ledger, at, 70.0, f"other-{hour}", policy="eu")
    ledger.flush()
    watching = Watching(["policy"], ledger)
    watching.clock.advance(2 * WEEK * HOUR)
    watching.spend(1.0)
    until(lambda: watching.plugin.usual("policy", "default") is not None)
    expected, _ = watching.plugin.usual("policy", "default")  # type: ignore[misc]
    assert expected == pytest.approx(10 * NANO, rel=0.05)
    ledger.close()


def test_what_other_processes_spend_counts_within_a_minute(tmp_path: Path) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path}/books.db")
    for hour in range(WEEK + 2):
        booked(ledger, (MONDAY + hour) * HOUR + 60, 10.0, f"past-{hour}")
    ledger.flush()
    watching = Watching(ledger=ledger)
    watching.clock.advance((WEEK + 2) * HOUR)
    watching.spend(0.1)
    until(lambda: watching.plugin.usual() is not None)
    booked(ledger, watching.clock.time(), 500.0, "elsewhere")
    ledger.flush()
    watching.spend(0.1)
    assert watching.told == []
    watching.clock.advance(61)
    watching.spend(0.1)
    until(lambda: watching.told)
    assert watching.told[0].facts["spent_nano_usd"] >= 500 * NANO  # type: ignore[operator]
    ledger.close()


@pytest.mark.parametrize("face", FACES)
def test_in_a_gateway_an_anomaly_reaches_the_channels(face: str) -> None:
    listener = Listener()
    plugin = SpendAnomalies(least=0.000_000_001)
    scene = Scene({"east": ["fine"] * 1_000}, [listener, plugin])
    for _ in range(WEEK + 3):
        ask("sync", scene.gateway)
        scene.clock.advance(HOUR)
    for _ in range(30):
        assert ask(face, scene.gateway).text == "fine"
    assert scene.gateway.alerts.flush(10)
    assert [one.kind for one in listener.alerts][:1] == ["spend_anomaly"]
    assert PRICE.input > 0


def test_a_call_costs_hardly_more() -> None:
    watching = Watching()
    watching.live(WEEK + 24)
    record = DecisionRecord(call_id="x", model="fast", at=0.0, status="success")
    cost = in_empty_calls(lambda: watching.plugin.end_call(record, watching.services))
    assert cost < 200, "about 40, which is 2 microseconds; a busy machine adds to it"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"by": ["planet"]}, "by must be a list"),
        ({"by": "team"}, "by must be a list"),
        ({"least": 0}, "least"),
        ({"factor": 1.0}, "factor"),
        ({"sigmas": 0}, "sigmas"),
        ({"refresh": 0}, "refresh"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        SpendAnomalies(**wrong)


class TestSpendAnomalies(PluginContract):
    def make_plugin(self) -> SpendAnomalies:
        return SpendAnomalies(["all", "team"])
