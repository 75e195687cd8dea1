"""Where data may not go it never arrives: looked at on the server's side of the socket.

Worlds are made at random: deployments with regions, terms and classes of data declared or not;
policies, rules, targets, budgets, experiments, shadows, sessions kept where a cache is warm, callers
whose tags narrow, calls that are repeated; providers that fail. Every request that arrives at a
provider, and every answer, kept ones included, is compared with what an oracle says of it, which
knows nothing but the configuration as it was written.
"""

from __future__ import annotations

import ast
import asyncio
import logging
import os
import random
import re
import time
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any, Final, TypeVar

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import litellm
import pytest
from langchain_core.caches import InMemoryCache
from langchain_llmgate import ChatLLMGate
from litellm.caching.caching import Cache
from litellm_llmgate import register

import llmgate_plugins
from llmgate_plugins import ConfigurationError, Context, Gateway, Request, hookimpl, use_context
from llmgate_plugins.ledger import MemoryLedger
from llmgate_plugins.limits import Limits as Times
from llmgate_plugins.testing import Fault, ProviderSimulator
from llmgate_plugins.types import Message

litellm.disable_aiohttp_transport = True

REGIONS: Final = (None, None, "eu", "eu", "us", "ap")
TERMS: Final = ("no_retention", "no_training", "hipaa")
CLASSES: Final = ("public", "pii", "health")
TEAMS: Final = ("search", "ads", None)
PLACES: Final = 6
FAULTS: Final = (
    "rate_limit",
    "overloaded",
    "server",
    "reset",
    "authentication",
    "empty",
    "cut",
    "permission",
)
FACES: Final = ("complete", "stream", "acomplete", "astream")
TAGS: Final = {"place": "there"}
LONG: Final = "These are the rules of the house, which are the same for everybody. " * 80
"""A beginning that providers cache, so that calls are kept where it is warm."""
WORLDS: Final = 150
CAMPAIGN: Final = 5_000
HOSTS: Final = 6
ROUTERS: Final = range(5, 12)

Raw = Mapping[str, Any]
T = TypeVar("T")


class Hedges:
    """Sends each attempt a second time, elsewhere, at once."""

    @hookimpl
    def limit_attempt(self) -> Times:
        return Times(hedge_after=0.001)


class Impatient:
    """Does not wait for a rate limit that has a minute to go."""

    @hookimpl
    def admit_request(self, request: Request) -> Request:
        return request.replace(timeout=1.0)


class Hurried:
    """Does not wait between two attempts."""

    def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.001))

    async def asleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.001))


# ---------------------------------------------------------------- worlds


class World:
    """A configuration, who calls, and how the providers are."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.draw = draw = random.Random(seed)
        self.deployments = [self._deployment(place) for place in range(draw.randint(2, PLACES))]
        self.policies: dict[str, Any] = {f"p{number}": self._policy() for number in range(3)}
        self.policies["cheap"] = {"prefer": draw.choice(["cheapest", "fastest", "weighted"])}
        if draw.random() < 0.5:
            self.policies["default"] = self._policy()
        if draw.random() < 0.4:  # nested: what the outer one asks for holds inside
            targets = [{"policy": "p1", "weight": 0.5}, {"policy": "cheap", "weight": 0.5}]
            self.policies["p0"] = {**self.policies["p0"], "targets": targets}
        self.rules = [
            {"when": {"team": team}, "use": draw.choice(["p0", "p1", "p2", "cheap"])}
            for team in draw.sample(["search", "ads"], draw.randint(0, 2))
        ]
        self.tagged = draw.choice([None, "p0", "p1", "p2"])
        """The policy that calls with the callers' tag are under besides."""
        self.contexts = [self._context() for _ in range(3)]
        self.hedges = draw.random() < 0.3

    def _deployment(self, place: int) -> dict[str, Any]:
        draw = self.draw
        info: dict[str, Any] = {"id": f"d{place}", "weight": draw.choice([1, 2])}
        region = draw.choice(REGIONS)
        if region is not None:
            info["region"] = region
        if draw.random() < 0.5:
            info["data_classes"] = draw.sample(CLASSES, draw.randint(1, 3))
        if draw.random() < 0.6:
            info["terms"] = draw.sample(TERMS, draw.randint(1, 3))
        return {"alias": draw.choice(["fast", "fast", "strong"]) if place else "fast", "info": info}

    def _policy(self) -> dict[str, Any]:
        draw = self.draw
        require: dict[str, Any] = {}
        regions = sorted({one["info"]["region"] for one in self.deployments if "region" in one["info"]})
        terms = sorted({term for one in self.deployments for term in one["info"].get("terms", ())})
        if regions and draw.random() < 0.5:  # nobody can configure what no deployment declares
            require["region"] = draw.choice([draw.choice(regions), regions[:2]])
        if terms and draw.random() < 0.3:
            require["terms"] = [draw.choice(terms)]
        if draw.random() < 0.2:
            require["cleared"] = True
        if draw.random() < 0.3:
            require["ignore"] = [draw.choice(self.deployments)["info"]["id"]]
        policy = {"require": require, "prefer": draw.choice(["cheapest", "weighted", "fastest"])}
        if draw.random() < 0.5:
            policy["sticky"] = draw.choice(["session", "prefix"])
        return policy

    def _context(self) -> dict[str, Any]:
        draw = self.draw
        known = {
            "team": draw.choice(TEAMS),
            "region": draw.choice([None, None, "eu", "us", "moon"]),
            "data_class": draw.choice([None, None, *CLASSES]),
            "policy": draw.choice([None, None, None, "p0", "p2"]),
            "user": f"u{draw.randrange(9)}",
            "session": draw.choice([None, "s1", "s1"]),
        }
        return {name: value for name, value in known.items() if value is not None}

    def config(self, addresses: Mapping[str, str]) -> dict[str, Any]:
        draw = self.draw
        config: dict[str, Any] = {
            "model_list": [
                {
                    "model_name": one["alias"],
                    "litellm_params": {
                        "model": "openai/gpt-4o-mini",
                        "api_key": "sk-simulated",
                        "api_base": addresses[one["info"]["id"]],
                    },
                    "model_info": one["info"],
                }
                for one in self.deployments
            ],
            "policies": self.policies,
            "rules": [{"when": {"tag:place": "there"}, "use": self.tagged}, *self.rules]
            if self.tagged
            else self.rules,
            "ledger": "memory",
        }
        if any(one["alias"] == "strong" for one in self.deployments):
            config["router_settings"] = {"fallbacks": [{"fast": ["strong"]}]}
        if draw.random() < 0.4:  # a budget that is passed at once moves calls to another policy
            spent = {"scope": "global", "limit": "0.000001 USD/day", "on_exhausted": {"policy": "cheap"}}
            config["budgets"] = [spent]
        if draw.random() < 0.4:
            arms = [{"name": "a", "weight": 0.5}, {"name": "b", "weight": 0.5, "policy": "cheap"}]
            config["experiments"] = {"tone": {"by": "user", "arms": arms}}
        if draw.random() < 0.5:
            config["shadow"] = [{"policy": "cheap"}, {"to": draw.choice(self.deployments)["info"]["id"]}]
            config["shadow_policy"] = {"policy": "p2"}
        return config

    def wound(self, providers: Mapping[str, Any]) -> None:
        """Make some of the providers fail."""
        for one in self.deployments:
            if self.draw.random() < 0.6:
                fault = Fault(self.draw.choice(FAULTS))
                providers[one["info"]["id"]].fail_rate(self.draw.choice([0.3, 0.7, 1.0]), fault)


# ---------------------------------------------------------------- the oracle


def may_arrive(world: World, context: Raw, id: str, *, tagged: bool = False) -> bool:
    """Whether a request of this caller may be seen at this deployment, by the configuration as written.

    What holds whatever else applies: the context's own bounds, the policy that the application
    names or the rules choose, and besides the one that the caller's tag chooses. Targets,
    budgets, experiments and shadows may only narrow that further.
    """
    (info,) = (one["info"] for one in world.deployments if one["info"]["id"] == id)
    region, data_class = info.get("region"), context.get("data_class")
    if "region" in context and region != context["region"]:
        return False
    cleared = info.get("data_classes")
    if data_class is not None and cleared is not None and data_class not in cleared:
        return False
    names = [_policy_of(world, context)]
    if tagged and world.tagged is not None and "policy" not in context:
        names.append(world.tagged)
    return all(_allows(world.policies.get(name, {}), info, data_class) for name in names)


def _allows(policy: Raw, info: Raw, data_class: str | None) -> bool:
    region, cleared, require = info.get("region"), info.get("data_classes"), policy.get("require", {})
    wanted = require.get("region")
    if wanted is not None and region not in ([wanted] if isinstance(wanted, str) else wanted):
        return False
    if require.get("cleared") and (cleared is None or data_class not in cleared):
        return False
    if info["id"] in require.get("ignore", ()):
        return False
    return set(require.get("terms", ())) <= set(info.get("terms", ()))


def _policy_of(world: World, context: Raw) -> str:
    if "policy" in context:
        return str(context["policy"])
    for rule in world.rules:
        if context.get("team") == rule["when"]["team"]:
            return str(rule["use"])
    return "default"


# ---------------------------------------------------------------- looking on


@pytest.fixture(scope="module")
def simulator() -> Iterator[ProviderSimulator]:
    with ProviderSimulator(seed=5) as running:
        yield running
    _runner.close()


@pytest.fixture(autouse=True)
def _in_silence() -> Iterator[None]:
    """Everything fails here, thousands of times; to write that down takes longer than to do it."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


class Watch:
    """The providers' side: what arrived where, and by whom it was asked for."""

    def __init__(self, simulator: ProviderSimulator, world: World) -> None:
        _played[world.seed] = world
        self.providers = {f"d{place}": simulator.provider(f"place-{place}") for place in range(PLACES)}
        for id, one in self.providers.items():
            one.heal()
            one.reply(f"made at {id}")
            one.requests.clear()
        self.misplaced: list[tuple[str, int, Raw]] = []
        self.addresses = {id: one.openai_base_url for id, one in self.providers.items()}
        world.wound(self.providers)

    def strays(self) -> list[tuple[str, int, Raw]]:
        """(deployment, world, context) of every request that may not be where it is.

        One that was on its way when its world ended is looked at in the next.
        """
        found = []
        for id, provider in self.providers.items():
            for request in list(provider.requests):
                world, context, tagged = _caller(request.body)
                if not may_arrive(world, context, id, tagged=tagged):
                    found.append((id, world.seed, context))
        return found + self.misplaced

    def answered(self, world: World, number: int, text: str, *, tagged: bool) -> None:
        """Somebody was given this answer, wherever it was kept since it was made."""
        made = re.search(r"made at (d\d)", text)
        if made and not may_arrive(world, world.contexts[number], made[1], tagged=tagged):
            self.misplaced.append((made[1], world.seed, {**world.contexts[number], "tagged": tagged}))

    @property
    def arrived(self) -> int:
        return sum(len(one.requests) for one in self.providers.values())


_played: Final[dict[int, World]] = {}


def _caller(body: Any) -> tuple[World, Raw, bool]:
    """Who asked, in which world, with a tag or not: the last words of the prompt say it."""
    seed, number, tagged = str(body["messages"][-1]["content"]).split()[-3:]
    world = _played[int(seed)]
    return world, world.contexts[int(number)], tagged == "tagged"


def prompt(world: World, number: int, told: str = "untagged") -> str:
    """What a caller says. Repeats say the same with a tag and without ("either")."""
    return f"this is of {world.seed} {number} {told}"


def asked(
    gateway: Gateway,
    face: str,
    world: World,
    number: int,
    *,
    tagged: bool = False,
    call_id: str | None = None,
) -> str:
    """The answer's text; empty if there is none."""
    told = "either" if call_id is not None else "tagged" if tagged else "untagged"
    request = Request(
        model="fast",
        messages=(
            Message(role="system", content=LONG),
            Message(role="user", content=prompt(world, number, told)),
        ),
        tags=TAGS if tagged else {},
    )
    given: dict[str, Any] = {"context": Context(**world.contexts[number]), "call_id": call_id}
    try:
        if face == "complete":
            return gateway.complete(request, **given).text
        if face == "stream":
            return "".join(chunk.text for chunk in gateway.stream(request, **given))
        return in_one_loop(_asked(gateway, face, request, given))
    except Exception:
        return ""


_runner: Final = asyncio.Runner()
"""One event loop for all worlds, so that clients can be used again."""


def in_one_loop(work: Coroutine[Any, Any, T]) -> T:
    return _runner.run(work)


async def _asked(gateway: Gateway, face: str, request: Request, given: Mapping[str, Any]) -> str:
    if face == "acomplete":
        return (await gateway.acomplete(request, **given)).text
    return "".join([chunk.text async for chunk in gateway.astream(request, **given)])


def worlds(
    simulator: ProviderSimulator, seeds: Iterable[int], transport: Any = None
) -> Iterator[tuple[World, Watch, dict[str, Any], Gateway]]:
    """Those of these worlds whose configuration is accepted: a policy that nobody can serve is refused."""
    for seed in seeds:
        world = World(seed)
        watch = Watch(simulator, world)
        config = world.config(watch.addresses)
        plugins = [Impatient(), *([Hedges()] if world.hedges else [])]
        named = {} if transport is None else {"transport": transport}
        with suppress(ConfigurationError):
            gateway = Gateway.from_config(
                config, plugins=plugins, ledger=MemoryLedger(), sleeper=Hurried(), **named
            )
            yield world, watch, config, gateway
            gateway.follow_ups.wait(30)
            strays = watch.strays()
            assert not strays, f"up to world {seed}: {strays[:3]}"
            transport = transport or gateway.transport  # its clients are used again
            gateway.follow_ups.close()
            gateway.alerts.close()


@dataclass
class Played:
    """How many worlds were played, and what happened in them.

    Attributes:
        arrived: Requests at providers.
        stuck: Selections that were kept where a cache is warm.
        repeated: Calls that got an answer which had been kept.
    """

    worlds: int = 0
    arrived: int = 0
    stuck: int = 0
    repeated: int = 0


def run(simulator: ProviderSimulator, seeds: Iterable[int]) -> Played:
    """Play these worlds."""
    told = Played()
    for world, watch, _, gateway in worlds(simulator, seeds):
        for number in range(len(world.contexts)):
            named = f"call-{number}" if world.draw.random() < 0.5 else None
            for face in world.draw.sample(FACES, 3):
                tagged = world.draw.random() < 0.5
                text = asked(gateway, face, world, number, tagged=tagged, call_id=named)
                watch.answered(world, number, text, tagged=tagged)
        gateway.follow_ups.wait(30)
        told.worlds += 1
        told.arrived += watch.arrived
        for record in gateway.decisions:
            told.stuck += any(one.reason.startswith("kept at") for one in record.selections)
            told.repeated += record.status == "answered"
    return told


def test_nothing_arrives_where_it_may_not(simulator: ProviderSimulator) -> None:
    told = run(simulator, range(WORLDS))
    assert told.worlds > WORLDS / 2
    assert told.arrived > told.worlds
    assert told.stuck > 5
    assert told.repeated > 5


@pytest.mark.campaign
def test_nothing_arrives_where_it_may_not_in_five_thousand_worlds(simulator: ProviderSimulator) -> None:
    told = run(simulator, islice(count(1_000), 2 * CAMPAIGN))
    assert told.worlds >= CAMPAIGN
    assert told.arrived > told.worlds


def test_an_undeclared_region_is_never_eligible(simulator: ProviderSimulator) -> None:
    world = World(1)
    for one in world.deployments:
        one["info"].pop("region", None)
    world.contexts = [{"region": "eu"}, {"region": "us", "policy": "cheap"}, {"region": "moon"}]
    world.policies = {"cheap": {"prefer": "cheapest"}}
    watch = Watch(simulator, world)
    config = {"model_list": world.config(watch.addresses)["model_list"], "policies": world.policies}
    gateway = Gateway.from_config(config, ledger=MemoryLedger())
    for number in range(len(world.contexts)):
        for face in FACES:
            asked(gateway, face, world, number)
    assert watch.arrived == 0
    gateway.close()


def test_the_oracle_would_notice(simulator: ProviderSimulator) -> None:
    """With the filters out of the way requests stray, and are seen to."""
    strays = 0
    for seed in range(12):
        world = World(seed)
        watch = Watch(simulator, world)
        config = {"model_list": world.config(watch.addresses)["model_list"]}
        gateway = Gateway.from_config(config, ledger=MemoryLedger())
        contexts, world.contexts = world.contexts, [{} for _ in world.contexts]
        for number in range(len(contexts)):
            asked(gateway, "complete", world, number)
        world.contexts = contexts
        strays += len(watch.strays())
        gateway.close()
    assert strays > 5


# ---------------------------------------------------------------- hosts


def test_nor_by_way_of_langchain(simulator: ProviderSimulator) -> None:
    for world, watch, _, gateway in worlds(simulator, range(HOSTS)):
        model = ChatLLMGate(gateway=gateway, model="fast", cache=InMemoryCache())
        for number, context in enumerate(world.contexts):
            for tagged in (False, True, False):
                config: Any = {"metadata": TAGS if tagged else {}}
                with use_context(Context(**context)), suppress(Exception):  # as above
                    text = model.invoke(prompt(world, number, "either"), config).text
                    watch.answered(world, number, text, tagged=tagged)
                with use_context(Context(**context)), suppress(Exception):
                    list(model.stream(prompt(world, number, "tagged" if tagged else "untagged"), config))


def test_nor_by_way_of_a_litellm_router(
    simulator: ProviderSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def everybody(router: Any, world: World, watch: Watch) -> None:
        for number, context in enumerate(world.contexts):
            messages = [{"role": "user", "content": prompt(world, number, "either")}]
            for stream, tagged in ((False, False), (False, True), (True, False), (True, True)):
                named = {"metadata": dict(TAGS)} if tagged else {}
                with use_context(Context(**context)), suppress(Exception):  # as above
                    answer = await router.acompletion("fast", messages, stream=stream, **named)
                    if stream:
                        chunks = [chunk async for chunk in answer if chunk.choices]
                        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
                    else:
                        text = answer.choices[0].message.content
                    watch.answered(world, number, text, tagged=tagged)
                await asyncio.sleep(0.02)  # LiteLLM keeps an answer after it has given it

    monkeypatch.setattr(litellm, "cache", Cache())
    for world, watch, config, gateway in worlds(simulator, ROUTERS):
        settings = config.get("router_settings", {})
        router = litellm.Router(
            model_list=config["model_list"], num_retries=1, cache_responses=True, **settings
        )
        register(router, gateway)
        in_one_loop(everybody(router, world, watch))


# ---------------------------------------------------------------- who may send at all


def test_only_the_drivers_send_and_only_what_was_selected() -> None:
    """Whoever wants a model asked (a guard, a judge, a warmer of caches) has to go through the gateway.

    Guards and caches that come later pass the same filter if they call the gateway
    (`Gateway.complete`, `Call.follow_up`); a transport of their own would be found here.
    """
    package = Path(llmgate_plugins.__file__).parent
    senders = set()
    for path in package.rglob("*.py"):
        relative = str(path.relative_to(package))
        if relative.startswith(("testing", "transports", "cli")):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = node.func.value
                if node.func.attr in ("send", "asend", "open", "aopen") and _is_transport(owner):
                    senders.add(relative)
    assert senders == {"_driving/drivers.py"}


def _is_transport(owner: ast.expr) -> bool:
    return isinstance(owner, ast.Name | ast.Attribute) and "transport" in ast.unparse(owner)
