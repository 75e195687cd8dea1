"""What the books say of experiments: figures by hand, intervals that keep their word, honest verdicts."""

from __future__ import annotations

import random
import statistics
from pathlib import Path
from typing import Any

import pytest
from support.gateways import PRICE, scene

from llmgate_plugins import Context, Deployment, Gateway
from llmgate_plugins.experiments import Arm, Experiment, Stage
from llmgate_plugins.insight import ExperimentResult, read_experiments
from llmgate_plugins.insight.comparing import Estimate, Sample, compared
from llmgate_plugins.intervals import Interval, difference, patience, wilson, z_of
from llmgate_plugins.ledger import MemoryLedger, SqlLedger
from llmgate_plugins.plugins import Experiments
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import Feedback
from llmgate_plugins.testing import ScriptedProvider
from llmgate_plugins.types import Attempt, Outcome, Usage

AT = 1_800_000_000.0
SERVES = Deployment(id="a", alias="fast", provider="p", model="m", price=PRICE)


def a_call(
    name: str, arm: str, unit: str, *, status: Any = "success", cost: int = 1_000, seconds: float = 1.0
) -> DecisionRecord:
    attempt = Attempt(call_id=name, number=1, deployment=SERVES, alias="fast", reason="first", started=0.0)
    outcome = Outcome(
        status="success" if status == "success" else "error", usage=Usage(input=50, output=50), cost=cost
    )
    return DecisionRecord(
        call_id=name,
        model="fast",
        at=AT,
        status=status,
        latency=seconds,
        attempts=[(attempt, outcome)],
        experiments={"e": arm},
        units={"e": unit},
    )


def results(ledger: Any, **words: Any) -> ExperimentResult:
    (found,) = read_experiments(ledger, now=AT + 100, **words)
    return found


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    made = MemoryLedger() if request.param == "memory" else SqlLedger(f"sqlite:///{tmp_path}/books.db")
    yield made
    made.close()


def test_figures_are_those_of_the_calls(ledger: Any) -> None:
    for at in range(10):
        ledger.close_call(a_call(f"a{at}", "control", f"u{at % 5}", cost=1_000 * (at + 1), seconds=at + 1.0))
        ledger.close_call(a_call(f"b{at}", "new", f"v{at}", status="error" if at < 2 else "success"))
    ledger.close_call(a_call("c", "new", "v0", status="denied"))
    for score in (0.0, 1.0):  # the last one counts
        ledger.add_feedback(
            Feedback(id=f"f{score}", call_id="a0", at=AT + score, name="quality", score=score)
        )
    ledger.add_feedback(Feedback(id="g", call_id="b0", at=AT, name="other", score=0.0))
    found = results(ledger)
    control, new = found["control"], found["new"]
    assert [arm.arm for arm in found] == ["control", "new"]
    assert (control.units, control.calls, control.rated) == (5, 10, 1)
    assert (control.success.value, new.success.value) == (1.0, 0.8)
    assert control.cost_usd.value == pytest.approx(5.5e-6)
    assert control.cost_per_1k_usd.value == pytest.approx(5.5e-5)
    assert (control.p50_s.value, control.p95_s.value) == (5.0, 10.0)
    assert (control.score.value, new.score.value) == (1.0, None)
    assert new.left_out == {"denied": 1}
    assert new.differences["success"].value == pytest.approx(-0.2)
    assert "score" not in new.differences


def test_only_calls_of_the_span_and_the_name_count(ledger: Any) -> None:
    ledger.close_call(a_call("a", "control", "u"))
    assert read_experiments(ledger, "other", now=AT) == ()
    assert read_experiments(ledger, "e", since="1h", now=AT + 7_200) == ()
    assert len(read_experiments(ledger, "e", since="3h", now=AT + 7_200)) == 1


def test_the_way_from_a_call_to_its_result() -> None:
    arms = [Arm(name="control", weight=0.5), Arm(name="brief", weight=0.5, params={"max_tokens": 5})]
    made = scene({"a": ["hello"] * 60}, Experiments([Experiment(name="e", arms=arms)]))
    for at in range(60):
        made.gateway.complete("fast", "hi", context=Context(user=f"u{at % 30}"), call_id=f"c{at}")
        made.gateway.feedback(f"c{at}", at % 2)
    (found,) = made.gateway.experiments("e")
    assert sum(arm.calls for arm in found) == 60
    assert sum(arm.units for arm in found) == 30
    assert sum(arm.rated for arm in found) == 60
    assert found.to_dict()["arms"][0]["success"]["value"] == 1.0


# ---------------------------------------------------------------- intervals


def test_wilson_and_newcombe_are_those_of_the_literature() -> None:
    """Newcombe 1998, table II: 56/70 and 48/80, by method 10."""
    z = z_of(0.95)
    one, other = wilson(48, 80, z), wilson(56, 70, z)
    low, high = difference(48 / 80, one, 56 / 70, other)
    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)


def sample(luck: random.Random, number: int, *, per_unit: int = 1, better: float = 0.0) -> Sample:
    made = Sample()
    for unit in range(number // per_unit):
        lucky = luck.betavariate(4, 1) if per_unit > 1 else 0.8
        dear = luck.lognormvariate(0, 0.5)
        for _ in range(per_unit):
            made.add(
                str(unit),
                success=luck.random() < lucky + better,
                cost=round(1_000 * dear * luck.lognormvariate(0, 0.3)),
                tokens=100,
                seconds=dear * luck.lognormvariate(0, 0.3),
                score=None,
            )
    return made


@pytest.mark.parametrize("per_unit", [1, 8])
@pytest.mark.parametrize("measure", ["success", "cost", "p50", "p95"])
def test_an_interval_covers_the_truth_as_often_as_it_says(measure: str, per_unit: int) -> None:
    """Also where calls of a unit resemble each other; the truth is that of many calls."""

    def estimate(one: Sample) -> Any:
        width = z_of(0.95)
        if measure in ("p50", "p95"):
            return one.quantile(0.5 if measure == "p50" else 0.95, width)
        return getattr(one, measure)(width)

    truth = estimate(sample(random.Random(0), 40_000, per_unit=per_unit)).value
    runs = 80
    covered = 0
    for seed in range(1, runs + 1):
        found = estimate(sample(random.Random(seed), 400, per_unit=per_unit))
        covered += found.low <= truth <= found.high
    assert 0.87 <= covered / runs <= 1.0


def test_intervals_for_any_look_keep_their_word_where_those_for_one_do_not() -> None:
    """Two arms that are alike, looked at after every 50 calls of each, up to 1,000."""

    def found_something(seed: int, *, once: bool) -> bool:
        luck = random.Random(seed)
        one, other = Sample(), Sample()
        for at in range(1_000):
            for arm in (one, other):
                arm.add(str(at), success=True, cost=round(1_000 * luck.lognormvariate(0, 0.5)), tokens=1,
                        seconds=1.0, score=None)  # fmt: skip
            if at % 50 == 49:
                width = z_of(0.95) if once else patience(2 * (at + 1), 0.05)
                told = compared(
                    one.cost(width), other.cost(width), better="lower", least=1.0, width=width, calls=at
                )
                if told is not None and told.verdict in ("better", "worse"):
                    return True
        return False

    runs = 30
    peeking = sum(found_something(seed, once=True) for seed in range(runs))
    patient = sum(found_something(seed, once=False) for seed in range(runs))
    assert peeking >= 4  # far more than 5 %
    assert patient <= 3


def test_an_interval_for_any_look_is_about_half_as_wide_again() -> None:
    assert 1.3 < patience(1_000, 0.05) / z_of(0.95) < 1.7


# ---------------------------------------------------------------- verdicts


def verdict(ours: float, half: float, *, least: float = 0.05, calls: int = 1_000) -> Any:
    control, arm = Estimate(0.8, 0.8, 0.8), Estimate(ours, ours - half, ours + half)
    return compared(control, arm, better="higher", least=least, width=1.96, calls=calls)


def test_a_verdict_says_what_the_interval_says() -> None:
    assert verdict(0.9, 0.02).verdict == "better"
    assert verdict(0.7, 0.02).verdict == "worse"
    assert verdict(0.81, 0.02).verdict == "alike"


def test_too_few_says_how_many_more() -> None:
    told = verdict(0.81, 0.10)
    assert told.verdict == "too few"
    # A half width of 0.10 must come down to 0.05 / (1 + 0.84 / 1.96): an eighth of the variance.
    assert told.needed == pytest.approx(1_000 * ((0.10 * (1 + 0.8416 / 1.96) / 0.05) ** 2 - 1), rel=0.01)


def test_so_many_more_calls_find_a_difference_of_that_size_in_four_of_five_experiments() -> None:
    width = z_of(0.95)
    small = [sample(random.Random(seed), 400) for seed in (1, 2)]
    least = 0.1 * (small[0].cost(width).value or 0)
    told = compared(
        small[0].cost(width), small[1].cost(width), better="lower", least=least, width=width, calls=400
    )
    assert told is not None
    assert told.needed is not None
    number = 400 + told.needed
    found = 0
    for seed in range(60):
        luck = random.Random(seed)
        deviation = 0.5830951894845301  # of both factors together
        means = [
            [factor * 1_000 * luck.lognormvariate(0, deviation) for _ in range(number)]
            for factor in (1.0, 1.1)
        ]
        errors = [statistics.stdev(one) / number**0.5 for one in means]
        gap = statistics.fmean(means[1]) - statistics.fmean(means[0])
        found += gap > width * (errors[0] ** 2 + errors[1] ** 2) ** 0.5
    assert 0.6 <= found / 60 <= 0.97


def test_one_call_each_proves_nothing(ledger: Any) -> None:
    ledger.close_call(a_call("a", "control", "u", cost=1))
    ledger.close_call(a_call("b", "new", "v", cost=1_000_000, status="error"))
    assert {one.verdict for one in results(ledger)["new"].differences.values()} == {"too few"}


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="confidence"):
        read_experiments(MemoryLedger(), confidence=1.5)
    with pytest.raises(ValueError, match="to be found"):
        read_experiments(MemoryLedger(), detect=0)
    assert Interval(0.0, 1.0) == wilson(0, 0, 2.0)


def test_results_of_a_gateway_say_how_far_a_canary_is() -> None:
    arms = [Arm(name="control"), Arm(name="new", params={"top_p": 0.5})]
    canary = Experiment(name="e", arms=arms, stages=[Stage(share=0.5, seconds=3_600)])
    gateway = Gateway(
        [SERVES],
        plugins=[Experiments([canary])],
        transport=ScriptedProvider({"a": ["hello"] * 9}, default=None),
    )
    for at in range(9):
        gateway.complete("fast", "hi", context=Context(user=str(at)))
    (found,) = gateway.experiments()
    assert found.canary is not None
    assert (found.canary["status"], found.canary["stage"], found.canary["share"]) == ("running", 1, 0.5)
