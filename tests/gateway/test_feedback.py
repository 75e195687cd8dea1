"""Feedback: checked, booked, told to plugins; of calls made here, elsewhere, or nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.gateways import PRICE, Scene, scene

from llmgate_plugins import DecisionRecord, Deployment, Feedback, Gateway, StorageError, UnknownCall, hookimpl
from llmgate_plugins.ledger import MemoryLedger, SqlLedger
from llmgate_plugins.testing import ScriptedProvider


class Listener:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[Feedback, DecisionRecord | None]] = []

    @hookimpl
    def receive_feedback(self, feedback: Feedback, record: DecisionRecord | None) -> None:
        self.heard.append((feedback, record))


class Slowly(Listener):
    @hookimpl
    async def receive_feedback(self, feedback: Feedback, record: DecisionRecord | None) -> None:
        await asyncio.sleep(0)
        self.heard.append((feedback, record))


class Broken:
    @hookimpl
    def receive_feedback(self) -> None:
        raise RuntimeError("I do not listen")


def give(gateway: Gateway, *args: Any, **words: Any) -> Feedback:
    return gateway.feedback(*args, **words)


def agive(gateway: Gateway, *args: Any, **words: Any) -> Feedback:
    return asyncio.run(gateway.afeedback(*args, **words))


ways = pytest.mark.parametrize("way", [give, agive])
Way = Callable[..., Feedback]


def answered(*plugins: object) -> tuple[Scene, str]:
    made = scene({"a": ["hello"]}, *plugins)
    made.gateway.complete("fast", "hi", call_id="first")
    return made, "first"


@ways
@pytest.mark.parametrize("listener", [Listener, Slowly])
def test_feedback_is_booked_and_told(way: Way, listener: Callable[[], Listener]) -> None:
    hears = listener()
    made, call_id = answered(Broken(), hears)
    way(made.gateway, call_id, 0.75, "helpful", "nearly", source="user")
    ((feedback, record),) = hears.heard
    assert record is made.gateway.decision(call_id)
    assert (feedback.deployment, feedback.score) == ("a", 0.75)
    (row,) = made.ledger.feedback(call_id)
    assert (row["name"], row["score"], row["comment"], row["source"]) == ("helpful", 0.75, "nearly", "user")


@ways
@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan"), "good", None])
def test_a_score_is_between_0_and_1(way: Way, score: Any) -> None:
    made, call_id = answered()
    with pytest.raises(ValueError, match="from 0"):
        way(made.gateway, call_id, score)
    assert made.ledger.feedback() == []


def test_a_thumb_is_a_score() -> None:
    made, call_id = answered()
    assert made.gateway.feedback(call_id, True).score == 1.0


@ways
def test_a_call_that_nobody_can_know_is_refused(way: Way) -> None:
    made, _ = answered()
    with pytest.raises(UnknownCall, match="nothing is known of a call 'frist'"):
        way(made.gateway, "frist", 1)


def gateway_on(path: Path, *plugins: object) -> Gateway:
    return Gateway(
        [Deployment(id="a", alias="fast", provider="scripted", model="m", price=PRICE)],
        transport=ScriptedProvider({"a": ["hello"] * 3}, default=None),
        ledger=SqlLedger(f"sqlite:///{path}"),
        plugins=plugins,
    )


@ways
def test_a_call_of_another_process_is_found_in_the_books(way: Way, tmp_path: Path) -> None:
    there, hears = gateway_on(tmp_path / "books.db"), Listener()
    there.complete("fast", "hi", call_id="theirs")
    there.close()
    here = gateway_on(tmp_path / "books.db", hears)
    way(here, "theirs", 1)
    ((feedback, record),) = hears.heard
    assert (feedback.deployment, record) == ("a", None)
    here.close()


@ways
def test_feedback_may_be_earlier_than_its_call(way: Way, tmp_path: Path) -> None:
    here = gateway_on(tmp_path / "books.db")
    assert way(here, "to come", 1).deployment is None
    (row,) = here.services.ledger.feedback("to come")
    assert row["score"] == 1.0
    here.close()


def test_feedback_that_is_given_twice_is_kept_once() -> None:
    made, call_id = answered()
    for _ in range(2):
        made.gateway.feedback(call_id, 1, id="thumb-7")
    assert len(made.ledger.feedback()) == 1


@ways
def test_feedback_that_cannot_be_written_is_not_lost_in_silence(way: Way) -> None:
    class Full(MemoryLedger):
        def add_feedback(self, feedback: Feedback) -> None:
            raise StorageError("full")

    hears = Listener()
    made = scene({"a": ["hello"]}, hears)
    made.gateway.complete("fast", "hi", call_id="first")
    full = Gateway(ledger=Full(), plugins=[hears])
    full._remember(made.gateway.decisions[-1])
    with pytest.raises(StorageError, match="full"):
        way(full, "first", 1)
    assert hears.heard == []
