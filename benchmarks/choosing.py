"""Choosing among ten thousand deployments beside choosing among ten, by a policy of each kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any

from benchmarks.core import ASKED, Instant
from benchmarks.harness import Case, Suite
from llmgate_plugins import Attempt, Context, Deployment, Gateway, Message, Outcome, Price, Request, Usage
from llmgate_plugins.experiments import Arm, Experiment
from llmgate_plugins.plugins import Experiments, Policies
from llmgate_plugins.plugins.observations import observations_of

__all__ = ["suites"]

FEW, MANY = 10, 10_000
MODELS = 5
TEAMS = 8
CALLERS = [
    Context(tenant=f"tenant{n % 3}", team=f"team{n}", user=f"user{n}", feature="search", data_class="pii")
    for n in range(TEAMS)
]
PLAIN = (Request(model="fast", messages=ASKED),)
LENGTHS = [
    Request(
        model="fast", messages=(Message(role="user", content="word " * words),), params={"max_tokens": 50}
    )
    for words in (10, 300, 2_000)
]
TALKS = [
    Request(
        model="fast",
        messages=(Message(role="system", content="These are the rules of the house. " * 200), *ASKED),
        session=f"session{number}",
    )
    for number in range(TEAMS)
]
FREE = {"free": {}, "european": {"region": ["eu"]}, "careful": {"terms": ["no_training"]}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One way to choose.

    Attributes:
        policies: Name -> what it says, as in `llmgate.yaml`.
        rules: Which of them a call is under, likewise.
        experiments: What calls take part in.
        requests: What is asked, in turn.
    """

    policies: Mapping[str, Any] = field(default_factory=dict)
    rules: Sequence[Mapping[str, Any]] = ()
    experiments: Sequence[Experiment] = ()
    requests: Sequence[Request] = PLAIN

    def plugins(self) -> list[object]:
        """Made anew for each gateway: what they remember is of its deployments."""
        experiments: list[object] = [Experiments(self.experiments)] if self.experiments else []
        policies: list[object] = [Policies(self.policies, self.rules)] if self.policies else []
        return experiments + policies


def default(requests: Sequence[Request] = PLAIN, **policy: Any) -> Kind:
    """All calls under one policy."""
    return Kind(policies={"default": policy}, requests=requests)


def _halves(**changed: Any) -> Experiment:
    """Half of the users are treated as ever."""
    return Experiment(
        name="e", arms=[Arm(name="control", weight=0.5), Arm(name="other", weight=0.5, **changed)]
    )


KINDS = {
    "no policy": Kind(),
    # preferences
    "ordered": default(prefer="ordered"),
    "weighted": default(prefer="weighted"),
    "cheapest": default(prefer="cheapest"),
    "fastest": default(prefer="fastest"),
    "most reliable": default(prefer="most_reliable"),
    "balanced": default(prefer="balanced"),
    "weights": default(prefer={"cheapest": 0.6, "fastest": 0.4}),
    # goals
    "cheapest within a p95": default(prefer="cheapest", p95=2.0),
    "fastest with a success rate": default(prefer="fastest", p99=5.0, success=0.99),
    # constraints
    "cheapest in a region": default(prefer="cheapest", region=["eu"]),
    "one provider, some ignored": default(prefer="cheapest", provider=["openai"], ignore=["openai/m0"]),
    "only some models": default(prefer="fastest", only=[f"openai/m{n}" for n in range(1, MODELS)]),
    "a class of data": default(prefer="cheapest", data_class=["pii"], cleared=True),
    "most price of tokens": default(prefer="cheapest", max_price={"input": 0.7}),
    "most price of a call": default(LENGTHS, prefer="cheapest", max_price={"call": 0.01}),
    "terms": default(prefer="cheapest", terms=["no_retention"]),
    "capabilities": default(prefer="cheapest", capabilities=["tools"]),
    "context fit": default(LENGTHS, prefer="cheapest", context_fit=True),
    "all constraints at once": default(  # what is left of ten is four
        LENGTHS,
        prefer="cheapest",
        region=["eu"],
        terms=["no_retention"],
        cleared=True,
        max_price={"input": 0.7, "call": 0.01},
        context_fit=True,
        capabilities=["tools"],
    ),
    # targets
    "targets in order": Kind(
        policies={"default": {"targets": [{"policy": "european"}, {"policy": "free"}]}, **FREE}
    ),
    "nested targets by weight": Kind(
        policies={
            "default": {
                "prefer": "cheapest",
                "by": "user",
                "targets": [{"policy": "inner", "weight": 0.7}, {"policy": "careful", "weight": 0.3}],
            },
            "inner": {"targets": [{"policy": "european"}, {"only": ["openai/m1"]}]},
            **FREE,
        }
    ),
    # rules
    "a hundred rules": Kind(
        policies={"default": {"prefer": "cheapest"}, **FREE},
        rules=[
            *({"when": {"team": f"other{n}", "feature": "search"}, "use": "careful"} for n in range(100)),
            {"when": {"team": [f"team{n}" for n in range(TEAMS)]}, "use": "european"},
        ],
    ),
    "ten rules in CEL": Kind(
        policies={"default": {"prefer": "cheapest"}, **FREE},
        rules=[
            *(
                {"when": f'context.team == "other{n}" && context.data_class == "pii"', "use": "careful"}
                for n in range(9)
            ),
            {
                "when": 'context.team.startsWith("team") && context.feature in ["search", "chat"]',
                "use": "european",
            },
        ],
    ),
    # experiments
    "an experiment on parameters": Kind(
        policies={"default": {"prefer": "cheapest"}},
        experiments=[_halves(params={"temperature": 1.0})],
    ),
    "an experiment on policies": Kind(
        policies={"default": {"prefer": "cheapest"}, **FREE}, experiments=[_halves(policy="european")]
    ),
    # stickiness
    "sticky sessions": default(TALKS, prefer="cheapest", sticky={"by": "session"}),
    "sticky prompts": default(TALKS, prefer="balanced", sticky={"by": "prefix"}),
}


def among(many: int, kind: Kind) -> Gateway:
    """A gateway of so many deployments, of five models at five prices.

    Nine of ten fit any one constraint on what is declared, so that what is left of ten is not so
    much less to prefer among than what is left of ten thousand.
    """
    group = [
        Deployment(
            id=str(number),
            alias="fast",
            provider="openai",
            model=f"m{number % MODELS}",
            price=Price(
                input=150_000_000 * (1 + number % MODELS), output=600_000_000, cached_input=75_000_000
            ),
            region="us" if number % 10 == 1 else "eu",
            weight=1.0 + number % 3,
            context_window=2_000 if number % 10 == 2 else 128_000,
            capabilities=frozenset(() if number % 10 == 3 else {"tools"}),
            terms=frozenset({"no_training"} if number % 10 == 4 else {"no_training", "no_retention"}),
            data_classes=None if number % 10 == 5 else frozenset({"pii", "public"}),
        )
        for number in range(many)
    ]
    gateway = Gateway(group, transport=Instant(), plugins=kind.plugins())
    _used_before(gateway, group)
    return gateway


def _used_before(gateway: Gateway, group: list[Deployment]) -> None:
    """What is remembered of a deployment is made when it first serves: here each has."""
    store = observations_of(gateway.services)
    call = gateway.admit(Request(model="fast"), context=CALLERS[0])
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
            cases=tuple(Case(name=f"{many:,} deployments", run=_calls(many, kind)) for many in (FEW, MANY)),
            targets={f"{MANY:,} deployments": (f"{FEW:,} deployments", 1.2)},
        )
        for name, kind in KINDS.items()
    ]


def _calls(many: int, kind: Kind) -> Callable[[int], Any]:
    made: list[tuple[Gateway, Any]] = []  # when it is first asked for: all of them at once are many

    def run(calls: int) -> None:
        if not made:
            made.append((among(many, kind), cycle(zip(cycle(kind.requests), CALLERS, strict=False))))
        gateway, turns = made[0]
        for request, context in islice(turns, calls):
            gateway.complete(request, context=context)

    return run
