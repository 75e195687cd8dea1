"""What is remembered of deployments: means that fade, intervals, bounded and in step with what happened."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.choosing import Choosing
from support.faces import ask, every_face
from support.gateways import scene
from support.values import a_call, a_deployment, an_attempt

from llmgate_plugins import ProviderError
from llmgate_plugins.context import NOBODY, Context
from llmgate_plugins.intervals import wilson
from llmgate_plugins.limits import Limits
from llmgate_plugins.plugins import InOrder, Observations
from llmgate_plugins.plugins.observations import observations_of
from llmgate_plugins.plugins.observations import plugin as store
from llmgate_plugins.types import ErrorClass, Outcome, Usage

A, B = a_deployment("a"), a_deployment("b")


@every_face
def test_every_attempt_of_every_face_is_seen_and_nothing_stays_under_way(face: str) -> None:
    s = scene({"a": [ProviderError("down", status=503)], "b": ["fine"]})
    assert ask(face, s.gateway).text == "fine"
    seen = observations_of(s.gateway.services)
    assert sorted(seen) == ["a", "b"]
    assert (seen.of("a").failures, seen.of("a").successes) == (1.0, 0.0)
    assert (seen.of("b").failures, seen.of("b").successes) == (0.0, 1.0)
    assert [seen.of(name).in_flight for name in "ab"] == [0, 0]
    assert seen.of("b").latency is not None
    assert (seen.of("b").first_token is not None) == (face in ("stream", "astream"))


def test_the_old_fades_to_a_third_in_two_minutes() -> None:
    seen = Choosing(InOrder())
    for _ in range(20):
        seen.saw(A, 1.0)
    seen.advance(120)
    seen.saw(A, 9.0)
    shown = seen.store.of("a", seen.services.clock.monotonic() + 7)
    # 20 / e of the old are left beside the new one
    assert shown.samples == pytest.approx(20 / 2.71828 + 1, rel=1e-3)
    assert shown.latency == pytest.approx((20 / 2.71828 * 1.0 + 9.0) / shown.samples, rel=1e-3)
    assert shown.age == pytest.approx(7)


def test_a_burst_teaches_too() -> None:
    seen = Choosing(InOrder())
    for _ in range(1_000):
        seen.saw(A, 1.0)
    for _ in range(100):
        seen.saw(A, 3.0)
    assert seen.store.of("a").latency == pytest.approx(3.0 - 2.0 * 2.71828**-2, rel=0.05)


def test_what_was_not_used_for_five_minutes_is_looked_at_anew() -> None:
    seen = Choosing(InOrder())
    for _ in range(50):
        seen.saw(A, 9.0)
    seen.advance(301)
    seen.saw(A, 1.0)
    assert (seen.store.of("a").latency, seen.store.of("a").samples) == (1.0, 1.0)


def test_quantiles_are_those_of_the_last_128_answers() -> None:
    seen = Choosing(InOrder())
    for n in range(300):
        seen.saw(A, float(n))
    shown = seen.store.of("a")
    assert (shown.p50, shown.p95, shown.p99) == (235.0, 293.0, 298.0)


def test_seconds_per_token_are_a_slope_and_chance_makes_none() -> None:
    seen = Choosing(InOrder())
    for n in range(60):
        output = 50 + 20 * n
        seen.saw(A, 0.3 + 0.01 * output, output=output)
        seen.saw(B, 1.0 + n % 2, output=100)
    assert seen.store.of("a").per_token == pytest.approx(0.01, rel=0.05)
    assert seen.store.of("b").per_token == 0.0


def test_a_wait_that_led_to_nothing_counts_as_long_as_it_was() -> None:
    seen = Choosing(InOrder())
    for _ in range(3):
        seen.saw(A, 1.0)
        seen.failed(A, error_class=ErrorClass.TIMEOUT, latency=30.0)
    assert seen.store.of("a").p95 == 30.0
    hedged = an_attempt(B, limits=Limits(hedge_after=1.0))
    for latency in (1.0, 5.0):
        seen.store.begin_attempt(hedged, a_call())
        lost = Outcome(status="success" if latency == 1.0 else "cancelled", latency=latency)
        seen.store.end_attempt(hedged, lost, NOBODY, a_call(), seen.services)
    assert seen.store.of("b").latency == pytest.approx(3.0)


def test_what_was_skipped_or_left_teaches_nothing_and_is_not_under_way() -> None:
    seen = Choosing(InOrder())
    for status in ("skipped", "cancelled", "abandoned"):
        seen.saw(A, 9.0, status=status)
    shown = seen.store.of("a")
    assert (shown.samples, shown.successes, shown.failures, shown.in_flight) == (0.0, 0.0, 0.0, 0)


def test_lengths_and_cached_shares_are_shared_by_deployments_of_a_model() -> None:
    one, other = a_deployment("one", model="m"), a_deployment("other", model="m")
    seen = Choosing(InOrder())
    for _ in range(10):
        usage = Usage(input=25, cached_input=75, output=40)
        seen.saw(one, usage=usage, context=Context(feature="titles"))
    assert seen.store.of("one").cached == pytest.approx(0.75)
    lengths = seen.store.lengths("p", "m")
    assert lengths is not None
    assert lengths.expected("titles") == pytest.approx(40, rel=0.15)
    seen.saw(other, output=40)
    assert seen.store.of("other").output == pytest.approx(40)
    assert seen.store.lengths("p", "unheard") is None


def test_of_several_answers_to_one_call_the_length_of_one_is_learned() -> None:
    four, seen = a_deployment("four", model="m", params={"n": 4}), Choosing(InOrder())
    for _ in range(10):
        seen.saw(four, output=400)
    assert seen.store.of("four").output == pytest.approx(100)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_DEPLOYMENTS", 50)
    monkeypatch.setattr(store, "MOST_MODELS", 20)
    seen = Choosing(InOrder())
    for n in range(300):
        seen.saw(a_deployment(str(n), alias=f"alias-{n}"), output=5, context=Context(feature=f"f{n}"))
    assert len(list(seen.store)) == 50
    for n in range(300):
        seen.saw(A, output=5, context=Context(feature=f"f{n}"))
    lengths = seen.store.lengths("p", "m-a")
    assert lengths is not None
    assert len(lengths.features) == 64


def test_what_was_never_seen_is_unknown() -> None:
    shown = Observations().of("nobody")
    assert (shown.latency, shown.success, shown.success_low, shown.success_high) == (None, None, 0.0, 1.0)
    assert shown.to_dict()["in_flight"] == 0


@given(st.integers(1, 500), st.integers(0, 500), st.integers(2, 20))
def test_more_of_the_same_never_widens_the_interval(trials: int, hits: int, times: int) -> None:
    hits = min(hits, trials)
    few, many = wilson(hits, trials, 1.96), wilson(hits * times, trials * times, 1.96)
    assert many.high - many.low <= few.high - few.low
    assert few.low - 1e-12 <= hits / trials <= few.high + 1e-12
