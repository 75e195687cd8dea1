"""Lots drawn from names: even, repeatable, and apart for each purpose."""

from __future__ import annotations

from llmgate_plugins import Call, Context, Request
from llmgate_plugins.draws import Lots, draw
from llmgate_plugins.records import DecisionRecord


def a_call(id: str) -> Call:
    return Call(id, Request(model="m"), Context(), 0.0, None, DecisionRecord(call_id=id, model="m", at=0.0))


def test_the_same_names_draw_the_same_number_and_others_another() -> None:
    assert draw("weights", "c1") == draw("weights", "c1")
    assert len({draw("weights", "c1"), draw("weights", "c2"), draw("arm", "c1"), draw("weightsc", "1")}) == 4


def test_draws_are_even() -> None:
    tenths = [0] * 10
    for number in range(20_000):
        tenths[int(draw("even", str(number)) * 10)] += 1
    # chi-square with 9 degrees of freedom: 33.7 is passed by chance once in 10,000 times
    assert sum((count - 2_000) ** 2 / 2_000 for count in tenths) < 33.7


def test_a_call_draws_by_its_id() -> None:
    assert a_call("c1").draw("weights") == a_call("c1").draw("weights") == draw("weights", "c1")
    assert a_call("c1").draw("weights") != a_call("c2").draw("weights")


def test_further_lots_are_even_and_settled_by_the_first() -> None:
    tenths: list[int] = [0] * 10
    pairs: list[int] = [0] * 9
    for number in range(5_000):
        lots = Lots(draw("even", str(number)))
        drawn = [lots.next() for _ in range(4)]
        for one in drawn:
            tenths[int(one * 10)] += 1
        pairs[int(drawn[0] * 3) * 3 + int(drawn[1] * 3)] += 1
    assert sum((count - 2_000) ** 2 / 2_000 for count in tenths) < 33.7
    # chi-square with 8 degrees of freedom: 31.8 is passed by chance once in 10,000 times
    assert sum((count - 5_000 / 9) ** 2 / (5_000 / 9) for count in pairs) < 31.8
    first, again = Lots(0.25), Lots(0.25)
    assert [first.next() for _ in range(5)] == [again.next() for _ in range(5)]
