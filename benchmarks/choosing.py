"""Choosing among ten thousand deployments beside choosing among ten, by a policy of each kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.core import ASKED, Instant
from benchmarks.harness import Case, Suite
from llmgate_plugins import Attempt, Context, Deployment, Gateway, Outcome, Price, Request, Usage
from llmgate_plugins.plugins import Policies, Policy
from llmgate_plugins.plugins.observations import observations_of

__all__ = ["suites"]

FEW, MANY = 10, 10_000
MODELS = 5
KINDS = {
    "no policy": None,
    "ordered": Policy(prefer="ordered"),
    "weighted": Policy(prefer="weighted"),
    "cheapest": Policy(prefer="cheapest"),
    "fastest": Policy(prefer="fastest"),
    "most reliable": Policy(prefer="most_reliable"),
    "balanced": Policy(prefer="balanced"),
    "weights": Policy(prefer={"cheapest": 0.6, "fastest": 0.4}),
    "cheapest within a p95": Policy(prefer="cheapest", p95=2.0),
    "cheapest in a region": Policy(prefer="cheapest", region=["eu"]),
}


def among(many: int, policy: Policy | None) -> Gateway:
    """A gateway of so many deployments, of five models at five prices in two regions."""
    group = [
        Deployment(
            id=str(number),
            alias="fast",
            provider="openai",
            model=f"m{number % MODELS}",
            price=Price(input=150_000_000 * (1 + number % MODELS), output=600_000_000),
            region=("eu", "us")[number % 2],
            weight=1.0 + number % 3,
        )
        for number in range(many)
    ]
    gateway = Gateway(
        group, transport=Instant(), plugins=[Policies({"default": policy})] if policy is not None else []
    )
    _used_before(gateway, group)
    return gateway


def _used_before(gateway: Gateway, group: list[Deployment]) -> None:
    """What is remembered of a deployment is made when it first serves: here each has."""
    store = observations_of(gateway.services)
    call = gateway.admit(Request(model="fast"))
    gateway.dismiss(call)
    for one in group:
        attempt = Attempt(call_id="", number=1, deployment=one, alias="fast", reason="first", started=0.0)
        outcome = Outcome(status="success", latency=1.0, usage=Usage(input=12, output=3))
        store.begin_attempt(attempt, call)
        store.end_attempt(attempt, outcome, Context(feature="search"), call, gateway.services)


def suites() -> list[Suite]:
    return [
        Suite(
            name=f"choosing, {name}",
            unit="call",
            cases=tuple(
                Case(name=f"{many:,} deployments", run=_calls(among(many, policy))) for many in (FEW, MANY)
            ),
            targets={f"{MANY:,} deployments": (f"{FEW:,} deployments", 1.2)},
        )
        for name, policy in KINDS.items()
    ]


def _calls(gateway: Gateway) -> Callable[[int], Any]:
    context = Context(feature="search")

    def run(calls: int) -> None:
        for _ in range(calls):
            gateway.complete("fast", ASKED, context=context)

    return run
