"""The core over a transport that answers at once: what the engine and plugins themselves cost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from benchmarks.harness import Case, Suite
from llmgate_plugins import (
    Attempt,
    Chunk,
    Deployment,
    Gateway,
    Message,
    Price,
    ProviderError,
    Request,
    Response,
    Usage,
    hookimpl,
)
from llmgate_plugins.meters import ChunkMeter
from llmgate_plugins.plugins import (
    Budget,
    Capabilities,
    ContextConstraints,
    Failover,
    Fastest,
    Health,
    InOrder,
    LedgerAccounting,
    Limits,
    Observations,
    Policies,
    Policy,
    RateLimits,
    RequestLimit,
    Telemetry,
    TokenLimit,
    Weighted,
    default_plugins,
)
from llmgate_plugins.windows import Calendar, Rolling

__all__ = ["CHUNKS", "suites", "working_plugins"]

CHUNKS = 100
LIMITS = {
    "engine alone": 25.0,
    "ten plugins at work": 25.0,
    "ten simple six-hook plugins": 25.0,
}
ASKED = (Message(role="user", content="What is the capital of France?"),)


class Instant:
    """Answers what it was given to answer, without doing anything."""

    whole = Response.of("Paris.", usage=Usage(input=12, output=3))
    pieces = (
        *(Chunk(text="word ") for _ in range(CHUNKS - 1)),
        Chunk(finish_reason="stop", usage=Usage(input=12, output=CHUNKS)),
    )

    def send(self, attempt: Attempt, request: Request) -> Response:
        return self.whole

    async def asend(self, attempt: Attempt, request: Request) -> Response:
        return self.whole

    def open(self, attempt: Attempt, request: Request) -> Iterator[Chunk]:
        return iter(self.pieces)

    async def aopen(self, attempt: Attempt, request: Request) -> AsyncIterator[Chunk]:
        for piece in self.pieces:
            yield piece

    def meter(self, attempt: Attempt, request: Request) -> ChunkMeter:
        return ChunkMeter()


class Bystander:
    """Implements six hooks and does a little in each, as simple plugins do."""

    def __init__(self, number: int) -> None:
        self.name = f"bystander-{number}"
        self.calls = self.failures = self.spent = 0

    @hookimpl
    def admit_request(self, request: Request) -> None:
        if len(request.messages) > 1000:
            raise ValueError

    @hookimpl
    def narrow_deployments(self, deployments: Sequence[Deployment]) -> None:
        return None

    @hookimpl
    def rank_deployments(self, deployments: Sequence[Deployment]) -> None:
        return None

    @hookimpl
    def begin_attempt(self, attempt: Attempt) -> None:
        self.calls += 1

    @hookimpl
    def end_attempt(self, outcome: Any) -> None:
        self.failures += not outcome.ok

    @hookimpl
    def end_call(self, record: Any) -> None:
        self.spent += 1


class Refusing(Instant):
    """Two deployments have a key that is no good; the others answer at once."""

    def send(self, attempt: Attempt, request: Request) -> Response:
        if attempt.deployment.id in ("0", "1"):
            raise ProviderError("no such key", status=401)
        return self.whole


def among(many: int) -> Gateway:
    """A gateway of so many deployments, of which two are ejected."""
    price = Price(input=150_000_000, output=600_000_000)
    group = [
        Deployment(id=str(number), alias="fast", provider="openai", model="gpt-4o-mini", price=price)
        for number in range(many)
    ]
    return Gateway(group, transport=Refusing())


def deployments() -> list[Deployment]:
    price = Price(input=150_000_000, output=600_000_000)
    return [
        Deployment(
            id=f"openai-{region}",
            alias="fast",
            provider="openai",
            model="gpt-4o-mini",
            region=region,
            price=price,
            capabilities=frozenset({"tools", "vision"}),
        )
        for region in ("us", "eu", "asia")
    ]


def ten_at_work() -> list[object]:
    """Policy, region, ranking, budget, limit, health, ledger and telemetry, with what they go by."""
    return [
        Telemetry(),
        ContextConstraints(),
        Capabilities(),
        Policies({"default": Policy(prefer="cheapest", region=["us", "eu"])}),
        RateLimits(),
        Health(),
        Failover(),
        Observations(),
        Limits([Budget("team", 10**15, Calendar("day")), RequestLimit("global", 10**9, 60.0)]),
        LedgerAccounting(),
    ]


def working_plugins() -> list[object]:
    """All that are built in, and a policy, a budget and three rankings more: nineteen."""
    return [
        Policies({"default": Policy(prefer="cheapest")}),
        Capabilities(),
        Limits([Budget(scope="team", limit=10**15, window=86_400)]),
        Fastest(),
        Weighted(),
        InOrder(),
    ]


def three_limits() -> Limits:
    """Money per team, tokens per user, requests in all: in windows of three kinds."""
    return Limits(
        [
            Budget("team", 10**15, Calendar("day")),
            TokenLimit("user", 10**12, Rolling(60.0)),
            RequestLimit("global", 10**9, 60.0),
        ]
    )


def suites() -> list[Suite]:
    limited = {
        "built-in plugins": Gateway(deployments(), transport=Instant()),
        "and three limits": Gateway(deployments(), transport=Instant(), plugins=[three_limits()]),
    }
    gateways = {
        "engine alone": Gateway(deployments(), transport=Instant(), defaults=False),
        "built-in plugins": Gateway(deployments(), transport=Instant()),
        "ten plugins at work": Gateway(
            deployments(), transport=Instant(), defaults=False, plugins=ten_at_work()
        ),
        "nineteen at work": Gateway(deployments(), transport=Instant(), plugins=working_plugins()),
        "ten simple six-hook plugins": Gateway(
            deployments(), transport=Instant(), defaults=False, plugins=[Bystander(n) for n in range(10)]
        ),
    }
    return [
        telemetry(),
        Suite(
            name="core, complete",
            unit="call",
            cases=tuple(Case(name=name, run=_complete(one)) for name, one in gateways.items()),
            limits_us=LIMITS,
        ),
        Suite(
            name="core, acomplete",
            unit="call",
            cases=tuple(Case(name=name, run=_acomplete(one)) for name, one in gateways.items()),
            limits_us=LIMITS,
        ),
        Suite(
            name="core, stream",
            unit="chunk",
            cases=(
                Case(name="bare iterator", run=_bare, per=CHUNKS),
                *(Case(name=name, run=_stream(one), per=CHUNKS) for name, one in gateways.items()),
            ),
            limits_us={"ten plugins at work": 2.0, "nineteen at work": 2.0},
        ),
        Suite(
            name="core, three limits in memory",
            unit="call",
            cases=tuple(Case(name=name, run=_complete(one)) for name, one in limited.items()),
        ),
        Suite(
            name="core, two of many ejected",
            unit="call",
            cases=tuple(
                Case(name=f"{many:,} deployments", run=_complete(among(many))) for many in (10, 10_000)
            ),
            targets={"10,000 deployments": ("10 deployments", 1.2)},
        ),
    ]


def telemetry() -> Suite:
    """What telling OpenTelemetry costs a call: with nobody there, unsampled, and heard in full."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    others = [plugin for plugin in default_plugins() if not isinstance(plugin, Telemetry)]

    def gateway(*plugins: Telemetry) -> Gateway:
        return Gateway(deployments(), transport=Instant(), defaults=False, plugins=[*plugins, *others])

    def meters() -> MeterProvider:
        return MeterProvider([InMemoryMetricReader()])

    told = {
        "without telemetry": gateway(),
        "no SDK": gateway(Telemetry()),
        "SDK, not sampled": gateway(Telemetry(tracer_provider=TracerProvider(sampler=ALWAYS_OFF))),
        "SDK, spans": gateway(Telemetry(tracer_provider=TracerProvider())),
        "SDK, spans with events": gateway(Telemetry(tracer_provider=TracerProvider(), attempts="events")),
        "SDK, metrics": gateway(Telemetry(meter_provider=meters())),
        "SDK, spans and metrics": gateway(
            Telemetry(tracer_provider=TracerProvider(), meter_provider=meters())
        ),
    }
    return Suite(
        name="telemetry, complete",
        unit="call",
        cases=tuple(Case(name=name, run=_complete(one)) for name, one in told.items()),
        added_us={"no SDK": ("without telemetry", 4.0)},
    )


def _complete(gateway: Gateway) -> Any:
    def run(calls: int) -> None:
        for _ in range(calls):
            gateway.complete("fast", ASKED)

    return run


def _acomplete(gateway: Gateway) -> Any:
    async def run(calls: int) -> None:
        for _ in range(calls):
            await gateway.acomplete("fast", ASKED)

    return run


def _stream(gateway: Gateway) -> Any:
    def run(calls: int) -> None:
        for _ in range(calls):
            for _chunk in gateway.stream("fast", ASKED):
                pass

    return run


def _bare(calls: int) -> None:
    transport = Instant()
    for _ in range(calls):
        for _chunk in transport.open(None, None):  # type: ignore[arg-type]
            pass
