"""Live statistics: what the last minutes were like, on a clock that only moves when told to."""

from __future__ import annotations

import functools
import math
import random
import sys
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.faces import ask, every_face
from support.gateways import deployment, scene

from llmgate_plugins import (
    Attempt,
    ConfigurationError,
    DecisionRecord,
    ErrorClass,
    Failure,
    Gateway,
    Outcome,
    Scope,
)
from llmgate_plugins.insight import LiveRow, LiveStatistics
from llmgate_plugins.insight.sketch import Sketch
from llmgate_plugins.services import Services
from llmgate_plugins.testing import Fault, Slow, VirtualClock
from llmgate_plugins.types import Usage


@functools.cache
def attempt_at(name: str) -> Attempt:
    where = deployment(name, model=f"model-of-{name}")
    return Attempt(call_id="c", number=1, deployment=where, alias="fast", reason="first", started=0.0)


class Past:
    """Live statistics that are told of calls directly."""

    def __init__(self, **options: Any) -> None:
        self.clock = VirtualClock(monotonic=1_000.0)
        self.statistics = LiveStatistics(**options)
        self._services = cast("Services", SimpleNamespace(clock=self.clock))

    def call(
        self,
        name: str = "a",
        latency: float = 1.0,
        failed: ErrorClass | None = None,
        shadow_of: str | None = None,
    ) -> None:
        failure = Failure(error_class=failed, scope=Scope.DEPLOYMENT) if failed else None
        status: Any = "error" if failed else "success"
        outcome = Outcome(
            status=status,
            failure=failure,
            latency=latency,
            first_token=latency / 2,
            cost=10,
            usage=Usage(input=3, output=2),
        )
        record = DecisionRecord(call_id="c", model="fast", at=0.0, status=status, latency=latency)
        record.attempts.append((attempt_at(name), outcome))
        record.shadow_of = shadow_of
        self.statistics.end_call(record, self._services)


def only(rows: tuple[LiveRow, ...]) -> LiveRow:
    assert len(rows) == 1
    return rows[0]


@every_face
def test_a_gateway_tells_how_its_deployments_and_routes_are(face: str) -> None:
    script = {"a": [Slow(0.1, Fault("rate_limit"))], "b": [Slow(0.4, "yes")]}
    here = scene(script, LiveStatistics(), fallbacks={})
    ask(face, here.gateway)
    first, second = here.gateway.live(60)
    assert (first.name, first.count, first.failures, first.throttles) == ("a", 1, 1, 1)
    assert (first.error_classes, first.error_rate, first.p95) == ({"rate_limit": 1}, 1.0, None)
    assert (second.name, second.successes, second.error_rate) == ("b", 1, 0.0)
    assert second.p50 == pytest.approx(0.4)
    assert second.cost == here.gateway.decisions[-1].cost > 0
    route = only(here.gateway.live(60, by="route"))
    assert (route.name, route.count, route.successes, route.cost) == ("fast", 1, 1, second.cost)
    assert route.p50 == pytest.approx(0.5)


def test_shadows_of_calls_are_left_out() -> None:
    past = Past()
    past.call()
    past.call(shadow_of="another")
    assert only(past.statistics.window(60)).count == 1


def test_what_is_old_is_left_out() -> None:
    past = Past()
    past.call(latency=5.0)
    past.clock.advance(120)
    past.call(latency=1.0)
    assert only(past.statistics.window(60)).count == 1
    both = only(past.statistics.window(300))
    assert (both.count, both.p50, both.p99) == (2, 1.0, 5.0)
    past.clock.advance(700)
    assert past.statistics.window(600) == ()
    assert only(past.statistics.window(3600)).count == 2
    past.clock.advance(25_000)
    assert past.statistics.window(21_600) == ()


def test_a_span_is_as_long_as_it_says() -> None:
    past = Past()
    past.call()
    past.clock.advance(5)
    row = only(past.statistics.window(60))
    assert (row.seconds, row.per_second) == (5.0, 0.2)
    assert row.usd_per_hour == pytest.approx(10e-9 * 720)
    past.clock.advance(595)
    for _ in range(60):
        past.call()
    assert only(past.statistics.window(60)).seconds == 60.0
    past.clock.advance(7)
    assert only(past.statistics.window(60)).seconds == 67.0


def test_rows_can_be_brought_together() -> None:
    past = Past()
    for name in ("a", "b", "b"):
        past.call(name)
    assert [(row.name, row.count) for row in past.statistics.window(60, "model")] == [
        ("model-of-a", 1),
        ("model-of-b", 2),
    ]
    assert only(past.statistics.window(60, "provider")).count == 3
    assert only(past.statistics.window(60, "region")).name == ""
    assert only(past.statistics.window(60, "alias")).tokens == 15


def test_failures_burn_and_cancelled_calls_do_not() -> None:
    past = Past()
    past.call()
    past.call(failed=ErrorClass.TIMEOUT)
    past.call(failed=ErrorClass.SERVER)
    past.statistics.end_call(
        DecisionRecord(call_id="x", model="fast", at=0.0, status="cancelled"), past._services
    )
    row = only(past.statistics.window(60))
    assert (row.count, row.successes, row.failures, row.timeouts) == (3, 1, 2, 1)
    route = only(past.statistics.window(60, "route"))
    assert (route.count, route.successes, route.failures) == (4, 1, 2)
    assert route.error_rate == pytest.approx(2 / 3)


@pytest.mark.parametrize("seconds", [60.0, 600.0, 3_600.0, 21_600.0])
def test_quantiles_of_many_calls_are_right_within_two_percent(seconds: float) -> None:
    past = Past()
    chance = random.Random(7)
    seen = [chance.lognormvariate(0, 1) for _ in range(6_000)]
    for latency in seen:
        past.clock.advance(seconds / 6_001)
        past.call(latency=latency)
    row = only(past.statistics.window(seconds))
    assert row.count == len(seen)
    told = {0.50: row.p50, 0.95: row.p95, 0.99: row.p99}
    for share, value in told.items():
        exact = sorted(seen)[math.ceil(share * len(seen)) - 1]
        assert value == pytest.approx(exact, rel=0.02)
        assert row.slower_than(exact) == pytest.approx(1 - share, abs=0.005)


def test_only_so_many_deployments_are_kept_those_used_last() -> None:
    past = Past(keys=3)
    for number in range(50):
        past.call(f"d{number}")
        past.clock.advance(10)
        past.call("always")
    assert [row.name for row in past.statistics.window(600)] == ["always", "d48", "d49"]


def test_memory_does_not_grow_with_the_number_of_calls() -> None:
    past = Past()

    def held() -> int:
        series = past.statistics._deployments["a"]
        slices = [*series._fine, *series._coarse]
        sketches = [sketch for part in slices for sketch in (part.latency, part.first_token)]
        few = sum(len(sketch._few) for sketch in sketches)
        return few * 8 + sum(len(sketch._packed or b"") for sketch in sketches) + len(sketches) * 200

    for _ in range(80):  # nearly seven hours
        for number in range(30):
            past.clock.advance(10.0)
            for _ in range(1 if number else 200):
                past.call()
    assert held() < 512 * 1024


@pytest.mark.parametrize(("seconds", "by"), [(0, "model"), (21_601, "model"), (60, "tenant")])
def test_a_question_that_makes_no_sense_is_refused(seconds: float, by: Any) -> None:
    with pytest.raises(ValueError, match="live statistics are"):
        LiveStatistics().window(seconds, by)


def test_nothing_has_happened_yet() -> None:
    assert LiveStatistics().window(60) == ()


def test_a_gateway_without_them_says_what_it_needs() -> None:
    with pytest.raises(ConfigurationError, match="LiveStatistics"):
        scene({"a": ["yes"]}).gateway.live()


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastdigest", None)
    with pytest.raises(ConfigurationError, match=r"llmgate-plugins\[insight\]"):
        LiveStatistics()


def test_statistics_of_no_deployment_are_refused() -> None:
    with pytest.raises(ValueError, match="one deployment at least"):
        LiveStatistics(keys=0)


@given(
    parts=st.lists(st.lists(st.floats(0.001, 1_000), max_size=300), max_size=5),
    packed=st.booleans(),
)
def test_a_merged_sketch_tells_what_one_of_all_values_would(parts: list[list[float]], packed: bool) -> None:
    sketches = []
    absorbing = Sketch()
    for values in parts:
        one = Sketch()
        for value in values:
            one.add(value)
        if packed:
            one.pack()
        sketches.append(one)
        absorbing.absorb(one)
    values = sorted(value for part in parts for value in part)
    for whole in (Sketch.merged(sketches), absorbing):
        if not values:
            assert (whole.quantile(0.5), whole.share_above(1.0)) == (None, 0.0)
            continue
        for share in (0.5, 0.95, 0.99):
            told = whole.quantile(share)
            assert told is not None
            low = values[max(math.floor((share - 0.04) * len(values)) - 1, 0)]
            high = values[min(math.ceil((share + 0.04) * len(values)), len(values) - 1)]
            assert low * 0.99 <= told <= high * 1.01


def test_a_configuration_can_ask_for_them() -> None:
    entry = {"model_name": "a", "litellm_params": {"model": "openai/gpt-4o-mini", "api_key": "env:NO"}}
    gateway = Gateway.from_config({"model_list": [entry], "live_statistics": True}, check_secrets=False)
    assert gateway.live() == ()
