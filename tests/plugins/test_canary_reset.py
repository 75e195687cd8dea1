"""A canary that was taken back begins anew when somebody says so: in one process, in many, in a Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from support.gateways import Scene, deployment, scene
from support.rollouts import ARMS, GOOD, Traffic, bad, canary

from llmgate_plugins import Context, StorageError
from llmgate_plugins.experiments import Arm, Course, Experiment, Stage
from llmgate_plugins.insight.canaries import canary_of
from llmgate_plugins.plugins import Experiments
from llmgate_plugins.state import MemoryState
from llmgate_plugins.state.redis import RedisState
from llmgate_plugins.testing import Fault

STAGES = (Stage(share=0.3, seconds=3600, calls=50), Stage(share=0.5, seconds=3600))
FAILS = bad(fails=1.0)
SUBJECT = f"canary@{canary(STAGES).version}"
LOOK = 5
"""Seconds after which a process has looked, with a call every second."""


@pytest.fixture(params=["memory", "redis"])
def state(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "memory":
        yield MemoryState()
        return
    state = RedisState(request.getfixturevalue("redis_server").url)
    yield state
    state.close()


def taken_back(state: Any, processes: int = 3) -> Traffic:
    """Traffic through processes all of which know that the canary was taken back."""
    traffic = Traffic(canary(STAGES), processes=processes, state=state)
    traffic.until_over(FAILS)
    list(traffic.run(processes * (LOOK + 1), lambda _: GOOD))
    assert {course.status for course in traffic.courses} == {"rolled_back"}
    return traffic


def reset_by_somebody(traffic: Traffic) -> Course:
    """In a process of its own, as the command line does."""
    return canary_of([Experiments([traffic.experiment])], "canary").reset(traffic.state)


def test_whoever_resets_it_is_told_how_it_had_ended(state: Any) -> None:
    ended = reset_by_somebody(taken_back(state))
    assert (ended.status, ended.stage, ended.round) == ("rolled_back", 0, 0)
    assert "in trouble" in ended.why


def test_processes_that_run_begin_anew_when_they_look_and_a_new_one_with_them(state: Any) -> None:
    traffic = taken_back(state)
    reset_by_somebody(traffic)
    traffic.plugins.append(Experiments([traffic.experiment]))
    arms = list(traffic.run(4 * (LOOK + 1), lambda _: GOOD))
    assert {(one.round, one.stage, one.status) for one in traffic.courses} == {(1, 0, "running")}
    arms += traffic.run(200, lambda _: GOOD)
    assert "candidate" in arms


def test_it_gets_through_when_it_is_good_now(state: Any) -> None:
    traffic = taken_back(state, processes=2)
    reset_by_somebody(traffic)
    list(traffic.run(20, lambda _: GOOD))
    traffic.clock.advance(3600)
    list(traffic.run(250, lambda _: GOOD))
    assert traffic.courses[0].stage == 1


def test_it_is_taken_back_again_and_told_again(state: Any) -> None:
    traffic = taken_back(state)
    reset_by_somebody(traffic)
    list(traffic.run(4 * LOOK, lambda _: GOOD))
    traffic.until_over(FAILS)
    list(traffic.run(4 * LOOK, lambda _: GOOD))
    assert {(one.round, one.status) for one in traffic.courses} == {(1, "rolled_back")}
    told = [(one.subject, one.resolved) for one in traffic.heard.told if one.kind == "canary_rolled_back"]
    assert told.count((SUBJECT, False)) == 1
    assert told.count((f"{SUBJECT}#2", False)) == 1
    assert (SUBJECT, True) in told  # whoever told of the first time tells that it is over


def test_what_a_process_still_counts_of_the_last_round_does_nothing_to_this_one(state: Any) -> None:
    traffic = Traffic(canary(STAGES), processes=2, state=state)
    asleep = traffic.plugins[1]
    list(traffic.run(30, lambda _: GOOD))
    awake = traffic.plugins = traffic.plugins[:1]
    traffic.until_over(FAILS)
    assert asleep.standing()[0][1].status == "running"
    reset_by_somebody(traffic)
    list(traffic.run(2 * LOOK, lambda _: GOOD))
    traffic.plugins = [asleep]
    list(traffic.run(LOOK + 1, lambda _: GOOD))
    traffic.plugins = [*awake, asleep]
    list(traffic.run(4 * LOOK, lambda _: GOOD))
    (_, course, counts), *_ = asleep.standing()
    assert (course.round, course.status) == (1, "running")
    assert all(one.troubled <= 1 for one in counts.values())  # not what took it back


def test_it_begins_with_the_first_stage_however_far_it_had_come() -> None:
    traffic = Traffic(canary(STAGES))
    list(traffic.run(3_700, lambda _: GOOD))
    assert traffic.courses[0].stage == 1
    traffic.until_over(FAILS)
    (rollout,) = traffic.plugins[0].rollouts
    ended: Any = rollout.reset(traffic.state)
    assert (ended.stage, rollout.course.stage) == (1, 0)
    assert rollout.share == STAGES[0].share


def test_a_round_outlasts_a_state_that_was_emptied(redis_server: Any) -> None:
    state = RedisState(redis_server.url)
    traffic = taken_back(state)
    reset_by_somebody(traffic)
    list(traffic.run(4 * LOOK, lambda _: GOOD))
    redis_server.flush()
    list(traffic.run(4 * LOOK, lambda _: GOOD))
    traffic.plugins.append(Experiments([traffic.experiment]))
    list(traffic.run(4 * LOOK, lambda _: GOOD))
    assert {(one.round, one.status) for one in traffic.courses} == {(1, "running")}
    state.close()


def test_one_that_was_not_taken_back_is_not_reset() -> None:
    traffic = Traffic(canary((Stage(share=0.5, seconds=60, calls=20),)))
    with pytest.raises(ValueError, match="was not taken back: as it is defined now, no call of it has been"):
        reset_by_somebody(traffic)
    list(traffic.run(20, lambda _: GOOD))
    with pytest.raises(ValueError, match="was not taken back: it is in stage 1 of 1"):
        reset_by_somebody(traffic)
    traffic.until_over(lambda _: GOOD)
    with pytest.raises(ValueError, match="was not taken back: it is through all stages"):
        reset_by_somebody(traffic)


def test_a_second_reset_finds_nothing_to_do(state: Any) -> None:
    traffic = taken_back(state)
    reset_by_somebody(traffic)
    with pytest.raises(ValueError, match="was not taken back: it was reset already"):
        reset_by_somebody(traffic)


def test_names_that_are_no_canarys_are_told_with_those_there_are() -> None:
    plain = Experiment(name="plain", arms=[ARMS[0], Arm(name="b", model="new", weight=1.0)])
    plugins = [Experiments([plain])]
    with pytest.raises(ValueError, match="there is no experiment 'canry'; there are: plain"):
        canary_of(plugins, "canry")
    with pytest.raises(ValueError, match="there is no experiment 'plain'; there are none here"):
        canary_of([], "plain")
    with pytest.raises(ValueError, match="experiment 'plain' has no stages"):
        canary_of(plugins, "plain")


def test_nothing_is_said_to_be_reset_while_the_state_is_away(fresh_redis: Any) -> None:
    state = RedisState(f"{fresh_redis.url}?timeout=200ms")
    traffic = taken_back(state)
    fresh_redis.kill()
    with pytest.raises(StorageError, match="is not reset"):
        reset_by_somebody(traffic)
    state.close()


def failing(state: Any) -> Scene:
    """A gateway whose canary was taken back."""
    made = scene(
        {"old": ["fine"] * 200, "bad": [Fault("server")] * 200},
        Experiments([canary(STAGES)]),
        deployments=[deployment("old", "fast"), deployment("bad", "new")],
        state=state,
    )
    for at in range(200):
        try:
            made.gateway.complete("fast", "hi", context=Context(user=f"u{at}"))
        except Exception:  # the candidate's
            continue
        finally:
            made.clock.advance(1.0)
    return made


@pytest.mark.parametrize("face", ["sync", "async"])
def test_a_gateway_resets_its_canary_and_begins_at_once(state: Any, face: str) -> None:
    gateway = failing(state).gateway
    if face == "sync":
        ended = gateway.reset_experiment("canary")
    else:
        ended = asyncio.run(gateway.areset_experiment("canary"))
    assert ended.status == "rolled_back"
    (result,) = gateway.experiments()
    assert result.canary is not None
    assert (result.canary["status"], result.canary["round"], result.canary["share"]) == ("running", 2, 0.3)
    with pytest.raises(ValueError, match="was not taken back"):
        gateway.reset_experiment("canary")
