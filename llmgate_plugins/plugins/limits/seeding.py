"""Tells a state that has just begun, or has lost everything, what the books say was used before."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Final

from llmgate_plugins.errors import StorageError
from llmgate_plugins.plugins.holds import SETTLED
from llmgate_plugins.plugins.limits.counts import Count
from llmgate_plugins.plugins.pending import arrived
from llmgate_plugins.services import OpenIntent, Seed, Services, Standing, Unseeded
from llmgate_plugins.state import MemoryState
from llmgate_plugins.windows import Rolling

__all__ = ["Seeding", "held_by", "used_of", "where_of"]

UNSETTLED: Final = 3_660.0
"""Seconds that an attempt under way is thought to last if its row does not say: the longest there is."""


class Seeding:
    """Reads the books once for each count of which the state asks, however many calls wait for it."""

    def __init__(self) -> None:
        self._under_way: dict[str, Future[None]] = {}

    def wait(self, unseeded: Unseeded, services: Services) -> float:
        """Seconds until the books can be believed; by the state's clock alone.

        The memory of this process admits nobody before it has asked, and so need not wait.
        """
        if isinstance(services.state, MemoryState):
            return 0.0
        return min(SETTLED, max(0.0, unseeded.since + SETTLED - unseeded.now))

    async def seed(self, unseeded: Unseeded, counts: Mapping[str, Count], services: Services) -> None:
        """Hand the state what the books say of these windows.

        Raises:
            StorageError: The books cannot be read, or the state cannot be told.
        """
        wanted, others = [], []
        for reservation, start, end in unseeded.windows:
            mine: Future[None] = Future()
            other = self._under_way.setdefault(reservation.key, mine)
            if other is mine:
                wanted.append((counts[reservation.key], start, end))
            else:
                others.append(other)
        try:
            if wanted:
                await _gather(services)
                seeds = [await _seed(*one, services) for one in wanted]
                await arrived(services.state.seed(seeds))
        finally:
            for count, _, _ in wanted:
                self._under_way.pop(count.key).set_result(None)
        for one in others:  # whoever reads for us may fail; then we ask the state again, and read ourselves
            await asyncio.wrap_future(one)


async def _gather(services: Services) -> None:
    """Have rows that the database has not taken yet brought into the books, before these are read.

    The memory of this process has counted its own; for what others may have left it does not deny.

    Raises:
        StorageError: They could not be, and several processes share the state.
    """
    ledger, alone = services.ledger, isinstance(services.state, MemoryState)
    gather = getattr(ledger, "gather", None)
    if gather is None or (alone and getattr(ledger, "away", False)):
        return
    try:
        await arrived(gather())
    except StorageError:
        if not alone:
            raise


def where_of(count: Count) -> dict[str, str | None]:
    """What of the ledger's attempts -> value, of what is counted together."""
    return {scope.column: value for scope, value in zip(count.rule.scopes, count.values, strict=True)}


async def _seed(count: Count, start: float, end: float, services: Services) -> Seed:
    rule, where = count.rule, where_of(count)
    part = rule.window.part if isinstance(rule.window, Rolling) else None
    standing = await arrived(
        services.ledger.standing(where, since=start, until=end, part=part, shadow_calls=rule.shadow_calls)
    )
    return Seed(
        key=count.key,
        window=rule.window,
        start=start,
        spent=tuple(used_of(count, standing)) if rule.window is not None else (),
        open={f"{one.call_id}:{one.number}": held_by(count, one) for one in standing.open},
    )


def used_of(count: Count, standing: Standing) -> Iterable[tuple[float, int]]:
    """(Unix time, amount) of what the books say was used."""
    place = {"requests": 1, "tokens": 2, "budget": 3}[count.rule.kind]
    for used in standing.used:
        yield used[0], int(used[place])


def held_by(count: Count, one: OpenIntent) -> tuple[int, int, float]:
    """(held, what it counts as if nobody settles it, until when) of an attempt under way."""
    expires = one.expires if one.expires is not None else one.at + UNSETTLED
    if count.rule.kind == "budget":
        holds = count.rule.mode != "soft"
        return (max(one.reserve, one.estimate) if holds else 0), one.estimate, expires
    if count.rule.kind == "tokens":
        return (one.reserve_tokens if count.rule.mode != "soft" else 0), 0, expires
    return 1, (1 if count.rule.kind == "requests" else 0), expires
