"""Gateways over a scripted provider on a virtual clock: no network, no waiting."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llmgate_plugins import Deployment, Gateway, Price
from llmgate_plugins.ledger import MemoryLedger
from llmgate_plugins.state import MemoryState
from llmgate_plugins.testing import ScriptedProvider, VirtualClock, VirtualSleeper

__all__ = ["PRICE", "Scene", "deployment", "scene"]

PRICE = Price(
    input=1_000_000, cached_input=500_000, cache_write=1_000_000, output=2_000_000, reasoning=2_000_000
)
"""One nano-dollar per input token, two per output token: sums are easy to check."""


def deployment(id: str, alias: str = "fast", **fields: Any) -> Deployment:
    fields.setdefault("provider", "scripted")
    fields.setdefault("model", f"model-{id}")
    fields.setdefault("price", PRICE)
    return Deployment(id=id, alias=alias, **fields)


class Scene:
    """A gateway and everything around it that a test looks at."""

    def __init__(
        self,
        script: Mapping[str, Sequence[Any]],
        plugins: Iterable[object] = (),
        deployments: Iterable[Deployment] | None = None,
        seed: int = 0,
        **options: Any,
    ) -> None:
        self.clock = VirtualClock()
        self.sleeper = VirtualSleeper(self.clock)
        self.provider = ScriptedProvider(script, default=None, sleeper=self.sleeper)
        self.ledger = MemoryLedger()
        self.state = MemoryState(clock=self.clock)
        self.gateway = Gateway(
            deployments if deployments is not None else [deployment(id) for id in script],
            plugins=plugins,
            transport=self.provider,
            clock=self.clock,
            sleeper=self.sleeper,
            random=random.Random(seed),
            state=options.pop("state", self.state),
            ledger=self.ledger,
            **options,
        )

    @property
    def sent(self) -> list[str]:
        return [id for id, _ in self.provider.sent]

    def books_balance(self) -> bool:
        """Every attempt has one settled row, every call one, and the sums agree."""
        attempts, calls = self.ledger.attempts(), self.ledger.calls()
        keys = [(row["call_id"], row["number"]) for row in attempts]
        ids = [row["call_id"] for row in calls]
        return (
            len(keys) == len(set(keys))
            and len(ids) == len(set(ids))
            and all(row["status"] != "intent" for row in attempts)
            and {row["call_id"] for row in attempts} <= set(ids)
            and sum(row["cost_nano_usd"] for row in attempts) == sum(row["cost_nano_usd"] for row in calls)
        )


def scene(script: Mapping[str, Sequence[Any]], *plugins: object, **options: Any) -> Scene:
    return Scene(script, plugins, **options)
