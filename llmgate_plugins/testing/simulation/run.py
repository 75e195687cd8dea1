"""One simulated run: a world from a seed, a gateway in it, and whether every promise held."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from llmgate_plugins.gateway import Gateway
from llmgate_plugins.plugins import Failover, Limits, Patience, default_plugins
from llmgate_plugins.testing.simulation.audit import AuditedLedger, AuditedState, Witness
from llmgate_plugins.testing.simulation.callers import Callers
from llmgate_plugins.testing.simulation.door import Door
from llmgate_plugins.testing.simulation.invariants import check_at_rest
from llmgate_plugins.testing.simulation.journal import Journal
from llmgate_plugins.testing.simulation.options import Options, Result
from llmgate_plugins.testing.simulation.provider import SimulatedProviders
from llmgate_plugins.testing.simulation.world import World, draw_world
from llmgate_plugins.virtual_time import (
    Deadlock,
    LoopClock,
    LoopSleeper,
    VirtualLoop,
    run_virtually,
)

__all__ = ["Build", "Stage", "build_gateway", "simulate"]

DEADLINE: Final = 600.0
"""Seconds for calls that name no deadline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What a gateway in a simulated world is built from."""

    seed: int
    world: World
    journal: Journal
    clock: LoopClock
    sleeper: LoopSleeper
    state: AuditedState
    ledger: AuditedLedger
    providers: SimulatedProviders
    witness: Witness


Build = Callable[[Stage], Gateway]
"""Makes the gateway that is tried out. It should have the stage's witness as its first plugin."""


def build_gateway(
    stage: Stage,
    *,
    plugins: Iterable[object] = (),
    without: tuple[type, ...] = (),
    **services: object,
) -> Gateway:
    """The gateway with all that ships switched on: the built-in plugins and a budget per team.

    Args:
        stage: What it is built from.
        plugins: Run after the witness and before all others; a built-in plugin of the same
            kind is left out.
        without: Kinds of plugins that are left out.
        services: In place of the stage's own: transport, state, ledger, sleeper ...
    """
    world, plugins = stage.world, tuple(plugins)
    given = {
        "transport": stage.providers,
        "fallbacks": world.fallbacks,
        "deadline": DEADLINE,
        "clock": stage.clock,
        "sleeper": stage.sleeper,
        "random": random.Random(f"gateway/{stage.seed}"),  # noqa: S311 - not for cryptography
        "state": stage.state,
        "ledger": stage.ledger,
    }
    kinds = (*map(type, plugins), *without)
    shipped = _built_in(world)
    used = [stage.witness, *plugins, *(one for one in shipped if not isinstance(one, kinds))]
    return Gateway(world.deployments, plugins=used, defaults=False, **(given | services))  # type: ignore[arg-type]


def _built_in(world: World) -> Iterator[object]:
    """What every gateway has, in its order, with the numbers that this world is about."""
    for plugin in default_plugins():
        if isinstance(plugin, Limits):
            yield Limits(world.limits)
        elif isinstance(plugin, Failover):
            yield Failover(retry_floor=world.retry_floor)
        elif isinstance(plugin, Patience) and world.hedging:
            yield Patience(hedge=0.05)
        else:
            yield plugin


def simulate(seed: int, options: Options | None = None, *, build: Build = build_gateway) -> Result:
    """Run the world of a seed to its end and check every invariant.

    First everything that can go wrong does, then all heals, and twice the longest ejection
    later every call must succeed. The same seed and options give the same trace.

    Args:
        seed: Decides everything that the options leave open.
        options: The knobs; default: `Options()`.
        build: Makes the gateway, to try out another one, or to plant a bug.
    """
    options = options or Options()
    world = draw_world(seed, options)
    run = _Run(seed, options, world, build)
    try:
        run_virtually(run.main, seed=seed, noise=options.noise)
    except Deadlock as error:
        run.journal.violated("stuck", str(error))
    journal = run.journal
    return Result(
        seed=seed,
        options=options,
        violations=tuple(journal.violations),
        trace_hash=journal.digest(),
        calls=dict(sorted(run.statuses().items())),
        sent=run.sent(),
        seconds=journal.now(),
        trace=journal.lines() if options.trace else (),
    )


class _Run:
    def __init__(self, seed: int, options: Options, world: World, build: Build) -> None:
        self._seed = seed
        self._options = options
        self._world = world
        self._build = build
        self._callers: Callers | None = None
        self._providers: SimulatedProviders | None = None
        self.journal: Journal

    def statuses(self) -> Mapping[str, int]:
        return {} if self._callers is None else self._callers.statuses

    def sent(self) -> int:
        return 0 if self._providers is None else self._providers.sent

    async def main(self, loop: VirtualLoop) -> None:
        journal = self.journal = Journal(loop.time)
        clock = LoopClock(loop)
        providers = self._providers = SimulatedProviders(self._world, journal, self._seed)
        stage = Stage(
            seed=self._seed,
            world=self._world,
            journal=journal,
            clock=clock,
            sleeper=LoopSleeper(),
            state=AuditedState(clock, journal),
            ledger=AuditedLedger(journal),
            providers=providers,
            witness=Witness(journal),
        )
        gateway = self._build(stage)
        plugins = [plugin for _, plugin in gateway.plugins]
        door = Door(journal, loop.time, plugins, gateway.deployments)
        providers.door = stage.witness.door = door
        callers = self._callers = Callers(gateway, providers, stage.witness, journal)
        workers = [loop.create_task(callers.work(plans)) for plans in self._world.plans]
        done, _ = await asyncio.wait(workers)
        for worker in done:
            worker.result()
        check_at_rest(stage, gateway, door)
        left = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        journal.check(not left, "leak", lambda: f"{len(left)} tasks are left over")
