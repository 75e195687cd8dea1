"""Canaries: a bad one is taken back soon, a good one gets through, in one process and in many."""

from __future__ import annotations

import random
from typing import Any

import pytest
from support.gateways import deployment, scene
from support.rollouts import ARMS, GOOD, HOUR, STAGES, SUBJECT, How, Traffic, bad, canary
from support.values import a_request

from llmgate_plugins import Context, StorageError
from llmgate_plugins.experiments import Arm, Experiment, Rollback, Stage
from llmgate_plugins.experiments.canary import Counts, Course, judged
from llmgate_plugins.intervals import mean_bounds, rate_bounds
from llmgate_plugins.plugins import Experiments, Failover
from llmgate_plugins.state import MemoryState


def test_a_good_canary_gets_through_all_stages_and_then_has_all() -> None:
    traffic = Traffic(canary())
    traffic.until_over(lambda _: GOOD)
    assert [course.status for course in traffic.courses] == ["promoted"]
    assert set(traffic.run(50, lambda _: GOOD)) == {"candidate"}
    assert [(one.kind, one.subject) for one in traffic.heard.told] == [
        ("canary_advanced", f"{SUBJECT}/2"),
        ("canary_advanced", f"{SUBJECT}/3"),
        ("canary_advanced", f"{SUBJECT}/promoted"),
    ]


def test_stages_follow_their_time_and_their_calls() -> None:
    traffic = Traffic(canary((Stage(share=0.05, seconds=600, calls=100), Stage(share=0.5, seconds=HOUR))))
    list(traffic.run(610, lambda _: GOOD))
    assert traffic.courses[0].stage == 0  # the time is over, but some thirty calls are too few
    list(traffic.run(1_800, lambda _: GOOD))
    assert traffic.courses[0].stage == 1
    share = list(traffic.run(500, lambda _: GOOD)).count("candidate") / 500
    assert 0.42 < share < 0.58


def test_a_canary_that_stays_keeps_its_last_share_and_is_still_watched() -> None:
    traffic = Traffic(canary((Stage(share=0.5, seconds=60, calls=20),), then="stay"))
    list(traffic.run(300, lambda _: GOOD))
    assert traffic.courses[0].status == "done"
    list(traffic.run(500, bad(fails=0.9)))
    assert traffic.courses[0].status == "rolled_back"


def test_a_canary_that_fails_all_its_calls_is_taken_back_within_a_few_of_them() -> None:
    traffic = Traffic(canary())
    arms = traffic.until_over(bad(fails=1.0))
    assert traffic.courses[0].status == "rolled_back"
    assert arms.count("candidate") <= 30
    assert set(traffic.run(200, lambda _: GOOD)) == {"control"}
    (alert,) = traffic.heard.told
    assert (alert.kind, alert.severity, alert.subject) == ("canary_rolled_back", "critical", SUBJECT)
    assert "of its calls are in trouble" in alert.summary


@pytest.mark.parametrize(
    ("rules", "worse", "most", "said"),
    [
        (Rollback(errors=0.01), {"fails": 0.30}, 120, "in trouble"),
        (Rollback(errors=None, p95=0.2), {"seconds": 3.0}, 200, "take longer"),
        (Rollback(errors=None, cost=0.2), {"nano_usd": 3_000_000}, 250, "cost"),
    ],
)
def test_a_canary_is_taken_back_for_errors_latency_or_cost(
    rules: Rollback, worse: dict[str, Any], most: int, said: str
) -> None:
    traffic = Traffic(canary(rollback=rules))
    arms = traffic.until_over(bad(**worse))
    assert traffic.courses[0].status == "rolled_back"
    assert arms.count("candidate") <= most
    assert said in traffic.courses[0].why


def test_three_bad_calls_prove_nothing() -> None:
    counts = {"control": Counts(calls=500), "candidate": Counts(calls=3, troubled=3)}
    assert judged(canary(), Course(since=0.0), counts, 10.0).status == "running"


def test_everybodys_bad_hour_is_not_the_canarys_fault() -> None:
    traffic = Traffic(canary(rollback=Rollback(errors=0.01, p95=0.2, cost=0.2)))
    list(traffic.run(2_000, lambda _: GOOD))
    list(traffic.run(4_000, lambda _: How(fails=0.5, seconds=5.0, nano_usd=5_000_000)))
    assert traffic.courses[0].status == "running"


def test_a_fleet_agrees_and_tells_it_once() -> None:
    traffic = Traffic(canary(), processes=5)
    arms = traffic.until_over(bad(fails=1.0))
    assert arms.count("candidate") <= 45
    list(traffic.run(60, lambda _: GOOD))
    assert {course.status for course in traffic.courses} == {"rolled_back"}
    assert [one.kind for one in traffic.heard.told] == ["canary_rolled_back"]


def test_a_new_process_goes_on_where_the_fleet_is() -> None:
    traffic = Traffic(canary())
    traffic.until_over(bad(fails=1.0))
    traffic.plugins = [Experiments([traffic.experiment])]
    assert set(traffic.run(100, lambda _: GOOD)) == {"control"}


def test_another_canary_of_the_same_name_begins_anew() -> None:
    traffic = Traffic(canary())
    traffic.until_over(bad(fails=1.0))
    mended = Experiment(name="canary", arms=(ARMS[0], Arm(name="candidate", model="newer")), stages=STAGES)
    traffic.plugins = [Experiments([mended])]
    assert "candidate" in set(traffic.run(200, lambda _: GOOD))


def test_a_call_that_needed_another_attempt_counts_as_trouble() -> None:
    """Failover hides a bad candidate from callers, not from the canary."""
    experiment = canary((Stage(share=0.5, seconds=60, calls=20),))
    new = [deployment("bad", "new"), deployment("good", "new"), deployment("old", "fast")]
    made = scene(
        {"bad": [RuntimeError("no")] * 500, "good": ["fine"] * 500, "old": ["fine"] * 500},
        Experiments([experiment]),
        Failover(),
        deployments=new,
        defaults=False,  # health would leave the bad one out, which is another story
    )
    for at in range(400):
        made.gateway.complete("fast", "hi", context=Context(user=f"u{at}"))
        made.clock.advance(1.0)
    (_, course, _), *_ = next(p for _, p in made.gateway.plugins if isinstance(p, Experiments)).standing()
    assert course.status == "rolled_back"


def test_a_candidate_that_is_ejected_is_not_saved_by_the_fallback_that_answers_in_its_place() -> None:
    made = scene(
        {"bad": [RuntimeError("no")] * 400, "old": ["fine"] * 800},
        Experiments([canary((Stage(share=0.5, seconds=60, calls=20),))]),
        deployments=[deployment("bad", "new"), deployment("old", "fast")],
    )
    asked = a_request().replace(fallbacks=("fast",))
    for at in range(200):
        made.gateway.complete(asked, context=Context(user=f"u{at}"))
        made.clock.advance(1.0)
    assert made.sent.count("bad") < 20  # ejected long before it was taken back
    (_, course, _), *_ = next(p for _, p in made.gateway.plugins if isinstance(p, Experiments)).standing()
    assert course.status == "rolled_back"


def test_counters_that_are_read_while_others_count_prove_nothing_odd() -> None:
    assert rate_bounds(5, 3, 0.05) == rate_bounds(3, 3, 0.05)


def test_a_state_that_is_down_for_a_while_stops_nothing() -> None:
    class Down(MemoryState):
        def add(self, key: str, amount: int = 1, *, ttl: float | None = None) -> int:
            raise StorageError("down")

    traffic = Traffic(canary())
    shared, traffic.state = traffic.state, Down(clock=traffic.clock)
    assert set(traffic.run(300, bad(fails=1.0))) == {"control", "candidate"}
    traffic.state = shared
    traffic.until_over(bad(fails=1.0))
    assert traffic.courses[0].status == "rolled_back"


def test_the_same_traffic_takes_the_same_course() -> None:
    one, other = (Traffic(canary(), processes=3, seed=5) for _ in range(2))
    assert one.until_over(bad(fails=0.2)) == other.until_over(bad(fails=0.2))
    assert one.courses == other.courses


def test_good_canaries_are_seldom_taken_back() -> None:
    """Looked at after every ten calls of each arm, for 1,000 calls, 100 times."""
    taken = sum(_taken_back(seed, Rollback(errors=0.0, cost=0.0)) for seed in range(100))
    assert taken <= 3  # what is promised is 1 %


@pytest.mark.campaign
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("rules", [Rollback(errors=0.0), Rollback(errors=None, cost=0.0)])
def test_good_canaries_are_seldom_taken_back_at_length(rules: Rollback) -> None:
    """The same without the margin that users give: only chance can take these back."""
    taken = sum(_taken_back(seed, rules, calls=5_000) for seed in range(1_000))
    print(f"{rules}: {taken} of 1,000 good canaries were taken back")
    assert taken <= 18  # 1 % is promised; so many by chance in one of a hundred campaigns


@pytest.mark.campaign
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("fails", [1.0, 0.5, 0.3, 0.1])
def test_bad_canaries_are_taken_back_soon_at_length(fails: float) -> None:
    """How many of its calls a bad one costs."""
    costs = []
    for seed in range(40):
        traffic = Traffic(canary(), seed=seed)
        arms = traffic.until_over(bad(fails=fails))
        assert traffic.courses[0].status == "rolled_back"
        costs.append(arms.count("candidate"))
    costs.sort()
    print(f"fails {fails:.0%}: after {costs[2]} to {costs[37]} of its calls, {costs[20]} in the middle")


def _taken_back(seed: int, rules: Rollback, calls: int = 1_000) -> bool:
    experiment = canary((Stage(share=0.5, seconds=HOUR),), rollback=rules)
    luck = random.Random(seed)
    counts = {"control": Counts(), "candidate": Counts()}
    for _ in range(calls // 10):
        for one in counts.values():
            for _ in range(10):
                cost = round(1_000 * luck.lognormvariate(0, 0.7))
                one.calls += 1
                one.troubled += luck.random() < 0.05
                one.cost += cost
                one.cost_squares += cost * cost
        if judged(experiment, Course(since=0.0), counts, 1.0).status == "rolled_back":
            return True
    return False


def test_a_rate_is_within_its_bounds_however_often_one_looks() -> None:
    for rate in (0.02, 0.5):
        missed = 0
        for seed in range(200):
            luck, successes = random.Random(seed), 0
            for number in range(1, 1_001):
                successes += luck.random() < rate
                if number % 25 == 0:
                    low, high = rate_bounds(successes, number, 0.05)
                    if not low <= rate <= high:
                        missed += 1
                        break
        assert missed <= 16  # 5 % of 200, and chance


def test_a_mean_is_within_its_bounds_however_often_one_looks() -> None:
    missed = 0
    for seed in range(200):
        luck, total, squares = random.Random(seed), 0.0, 0.0
        for number in range(1, 1_001):
            value = luck.lognormvariate(0, 0.5)
            total, squares = total + value, squares + value * value
            if number >= 50 and number % 5 == 0:
                low, high = mean_bounds(number, total, squares, 0.05)
                if not low <= 1.1331484530668263 <= high:  # exp(0.5 ** 2 / 2)
                    missed += 1
                    break
    assert missed <= 16
