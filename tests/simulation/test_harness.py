"""Each check of the simulation catches what it is there for: a bug is planted, and found."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from llmgate_plugins import Attempt, Call, Chunk, Deployment, Drop, Gateway, Outcome, Request, hookimpl
from llmgate_plugins.decisions import Skip
from llmgate_plugins.plugins import ContextConstraints, Failover, Limits
from llmgate_plugins.plugins.health import Health
from llmgate_plugins.services import Grant, Lease, Refusal, Reservation, Services, Settlement, Unseeded
from llmgate_plugins.testing.simulation import Options, Result, Stage, build_gateway, simulate
from llmgate_plugins.testing.simulation.audit import AuditedLedger, AuditedState

Build = Callable[[Stage], Gateway]


def catches(build: Build, invariant: str, seeds: Sequence[int] = range(60)) -> bool:
    """Whether a violation of this invariant is found in any of the seeds, and no plugin just raises."""
    return any(one.invariant == invariant for seed in seeds for one in simulate(seed, build=build).violations)


def test_without_a_bug_nothing_is_found() -> None:
    assert [simulate(seed).violations for seed in range(8)] == [()] * 8


# ------------------------------------------------------------ books


class Forgetful(AuditedLedger):
    """Loses the rows of second attempts."""

    def open_attempt(self, intent: Any) -> None:
        if intent.number != 2:
            super().open_attempt(intent)


class Careless(AuditedLedger):
    """Does not write down how some attempts ended."""

    def settle_attempt(self, call_id: str, number: int, settlement: Settlement) -> bool:
        return number > 1 or super().settle_attempt(call_id, number, settlement)


@pytest.mark.parametrize(("kind", "invariant"), [(Forgetful, "I1"), (Careless, "I2")])
def test_a_ledger_that_loses_something(kind: type[AuditedLedger], invariant: str) -> None:
    assert catches(lambda stage: build_gateway(stage, ledger=kind(stage.journal)), invariant)


def test_an_attempt_that_is_sent_twice() -> None:
    class Eager:
        def __init__(self, inner: Any) -> None:
            self.inner = inner
            self.aopen, self.meter, self.send, self.open = inner.aopen, inner.meter, inner.send, inner.open

        async def asend(self, attempt: Attempt, request: Request) -> Any:
            try:
                return await self.inner.asend(attempt, request)
            except ConnectionError:
                return await self.inner.asend(attempt, request)
            except Exception:
                return await self.inner.asend(attempt, request)

    assert catches(lambda stage: build_gateway(stage, transport=Eager(stage.providers)), "I1")


def test_a_plugin_that_settles_again() -> None:
    class Twice:
        @hookimpl(trylast=True)
        def end_attempt(self, attempt: Attempt, outcome: Outcome, services: Services) -> None:
            if outcome.status == "error":
                services.ledger.settle_attempt(attempt.call_id, attempt.number, Settlement(status="error"))

    assert catches(lambda stage: build_gateway(stage, plugins=[Twice()]), "I2")


class Generous(AuditedState):
    """Holds more than the limit allows."""

    def reserve(
        self, reservations: Sequence[Reservation], *, ttl: float, id: str | None = None
    ) -> Grant | Refusal | Unseeded:
        raised = [replace(one, limit=one.limit * 100) for one in reservations]
        answer = super().reserve(raised, ttl=ttl, id=id)
        for one in reservations:
            self.look(one)
        return answer


class Lenient(AuditedState):
    """Counts less than was spent."""

    def settle(self, lease: Lease, actual: Mapping[str, int]) -> bool:
        return super().settle(lease, {key: amount // 2 for key, amount in actual.items()})


@pytest.mark.parametrize(("kind", "invariant"), [(Generous, "I3"), (Lenient, "I4")])
def test_a_state_that_counts_wrongly(kind: type[AuditedState], invariant: str) -> None:
    assert catches(lambda stage: build_gateway(stage, state=kind(stage.clock, stage.journal)), invariant)


def test_a_hold_that_is_never_given_back() -> None:
    class Keeps(Limits):
        @hookimpl
        def end_attempt(self, attempt: Attempt, outcome: Outcome, call: Call, services: Services) -> Any:
            if outcome.status != "cancelled":
                return super().end_attempt(attempt, outcome, call, services)
            return None

    def build(stage: Stage) -> Gateway:
        own = Keeps(stage.world.limits)
        return build_gateway(stage, plugins=[own], without=(Limits,))

    assert catches(build, "I4")


# ------------------------------------------------------------ sending


def test_a_failover_that_tries_too_often() -> None:
    def build(stage: Stage) -> Gateway:
        return build_gateway(stage, plugins=[Failover(max_attempts=20, retry_floor=1e6, retry_share=1e6)])

    assert catches(build, "I5")


def test_a_gateway_that_does_not_mind_regions() -> None:
    assert catches(lambda stage: build_gateway(stage, without=(ContextConstraints,)), "I6")


class Blind(Health):
    """Knows who is ill, and says nothing."""

    @hookimpl
    def narrow_deployments(
        self, deployments: Sequence[Deployment], call: Call, services: Services
    ) -> Drop | None:
        return None

    @hookimpl
    def begin_attempt(self, attempt: Attempt, call: Call, services: Services) -> Skip | None:
        return None


class Crowding(Health):
    """Lets everybody probe at once."""

    @hookimpl
    def narrow_deployments(
        self, deployments: Sequence[Deployment], call: Call, services: Services
    ) -> Drop | None:
        drop = super().narrow_deployments(deployments=deployments, call=call, services=services)
        left = {} if drop is None else {name: why for name, why in drop.reasons.items() if why != "probing"}
        return Drop(left) if left else None

    @hookimpl
    def begin_attempt(self, attempt: Attempt, call: Call, services: Services) -> Skip | None:
        skip = super().begin_attempt(attempt, call, services)
        return None if skip is not None and skip.reason == "probing" else skip


@pytest.mark.parametrize(("kind", "invariant"), [(Blind, "I6"), (Crowding, "I7")])
def test_health_that_keeps_nobody_out(kind: type[Health], invariant: str) -> None:
    def build(stage: Stage) -> Gateway:
        return build_gateway(stage, plugins=[kind()], without=(Health,))

    assert catches(build, invariant)


def test_a_plugin_that_takes_longer_than_the_call_has() -> None:
    class Slow:
        @hookimpl
        async def begin_attempt(self, attempt: Attempt) -> None:
            await asyncio.sleep(20.0)

    assert catches(lambda stage: build_gateway(stage, plugins=[Slow()]), "I8")


# ------------------------------------------------------------ what the caller gets


class Splicing:
    """A transport that puts a word of its own into some answers."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.asend, self.meter, self.send, self.open = inner.asend, inner.meter, inner.send, inner.open

    async def aopen(self, attempt: Attempt, request: Request) -> AsyncIterator[Chunk]:
        async for chunk in self.inner.aopen(attempt, request):
            yield replace(chunk, text=f"well, {chunk.text}") if chunk.text else chunk


class Chatty(Gateway):
    """Has something to add after the end of a stream."""

    def astream(self, *args: Any, **kwargs: Any) -> Any:
        return _More(super().astream(*args, **kwargs))


class _More:
    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.over = 0
        self.aclose = inner.aclose

    def __aiter__(self) -> _More:
        return self

    async def __anext__(self) -> Chunk:
        try:
            return await anext(self.inner)
        except StopAsyncIteration:
            self.over += 1
            if self.over == 2:
                return Chunk(text="by the way")
            raise


def test_an_answer_that_nobody_gave() -> None:
    assert catches(lambda stage: build_gateway(stage, transport=Splicing(stage.providers)), "I9")


def test_words_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmgate_plugins.testing.simulation.run.Gateway", Chatty)
    assert catches(build_gateway, "I9")


def test_a_plugin_that_never_forgives() -> None:
    class Grudge:
        def __init__(self) -> None:
            self.failed: dict[str, str] = {}

        @hookimpl
        def end_attempt(self, attempt: Attempt, outcome: Outcome) -> None:
            if outcome.status == "error":
                self.failed[attempt.deployment.id] = "grudge"

        @hookimpl
        def narrow_deployments(self) -> Drop | None:
            return Drop(dict(self.failed)) if self.failed else None

    assert catches(lambda stage: build_gateway(stage, plugins=[Grudge()]), "I10")


def test_health_that_never_lets_anybody_back() -> None:
    def build(stage: Stage) -> Gateway:
        own = Health(ejection=1e6, most_ejection=1e7, hard_ejection=1e6, most_quick=1e6)
        return build_gateway(stage, plugins=[own], without=(Health,))

    assert catches(build, "I10")


def test_a_plugin_with_dice_of_its_own() -> None:
    class Gambler:
        @hookimpl
        def rank_deployments(self, deployments: Sequence[Deployment]) -> Sequence[Deployment]:
            return sorted(deployments, key=lambda _: random.random())

    build = partial(build_gateway, plugins=[Gambler()])
    options = Options(deployments=6)
    assert simulate(1, options, build=build).trace_hash != simulate(1, options, build=build).trace_hash


# ------------------------------------------------------------ what must never be


def test_a_task_that_is_left_over() -> None:
    class Litter:
        def __init__(self) -> None:
            self.tasks: list[asyncio.Task[None]] = []

        @hookimpl
        def end_call(self) -> None:
            if len(self.tasks) < 3:
                self.tasks.append(asyncio.get_running_loop().create_task(asyncio.sleep(1e6)))

    assert catches(lambda stage: build_gateway(stage, plugins=[Litter()]), "leak")


def test_a_stream_that_is_left_open() -> None:
    class Leaking(Splicing):
        async def aopen(self, attempt: Attempt, request: Request) -> AsyncIterator[Chunk]:
            stream = self.inner.aopen(attempt, request)
            kept.append(stream)
            async for chunk in stream:
                yield chunk

    kept: list[Any] = []
    assert catches(lambda stage: build_gateway(stage, transport=Leaking(stage.providers)), "leak")
    kept.clear()


def test_a_call_that_waits_for_ever() -> None:
    class Asleep:
        async def asleep(self, seconds: float) -> None:
            await asyncio.get_running_loop().create_future()

    assert catches(lambda stage: build_gateway(stage, sleeper=Asleep()), "stuck")


def test_a_plugin_that_raises() -> None:
    class Broken:
        @hookimpl
        def end_attempt(self, outcome: Outcome) -> None:
            if outcome.status == "error":
                raise KeyError("planted")

    result = crashed(lambda stage: build_gateway(stage, plugins=[Broken()]))
    assert "Broken failed in end_attempt: KeyError: 'planted'" in str(result.violations[0])


def test_an_error_that_no_provider_raised() -> None:
    class Odd(Splicing):
        async def aopen(self, attempt: Attempt, request: Request) -> AsyncIterator[Chunk]:
            raise ZeroDivisionError("planted")
            yield Chunk()

    result = crashed(lambda stage: build_gateway(stage, transport=Odd(stage.providers)))
    assert "ZeroDivisionError: planted" in str(result.violations[0])


def crashed(build: Build) -> Result:
    for seed in range(20):
        result = simulate(seed, build=build)
        if not result.ok:
            assert result.violations[0].invariant == "crash"
            return result
    raise AssertionError("nothing was found")


def test_a_call_that_ends_twice() -> None:
    class Echo:
        def __init__(self, witness: Any) -> None:
            self.witness = witness

        @hookimpl
        def end_call(self, record: Any, call: Call) -> None:
            self.witness.end_call(record, call)

    build = lambda stage: build_gateway(stage, plugins=[Echo(stage.witness)])  # noqa: E731
    assert catches(build, "end")


def test_a_plugin_that_swallows_a_cancellation() -> None:
    class Stubborn:
        @hookimpl
        async def begin_attempt(self, attempt: Attempt) -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.5)

    assert catches(lambda stage: build_gateway(stage, plugins=[Stubborn()]), "cancel")
