"""Stickiness: kept where the cache is warm, only where that saves more than it costs, never at any price."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.faces import ask, every_face
from support.gateways import deployment

from llmgate_plugins import Context, Deployment, Gateway, Message, Price, Request, StorageError, Usage
from llmgate_plugins.plugins import Policies
from llmgate_plugins.policies import Sticky
from llmgate_plugins.state import MemoryState
from llmgate_plugins.testing import Fault, ScriptedProvider, Slow, VirtualClock, VirtualSleeper

CACHES = Price(input=3_000_000_000, cached_input=300_000_000, output=15_000_000_000)
"""3 US dollars per million tokens, a tenth of it from the cache."""
LONG = "word " * 2_000
"""Some 2,500 tokens."""
SESSION = Context(session="s1", user="ada")


class Remembering(MemoryState):
    """Knows what was put under which key."""

    def __init__(self, clock: VirtualClock | None = None) -> None:
        super().__init__(clock=clock)
        self.put_under: list[str] = []

    def put(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        self.put_under.append(key)
        super().put(key, value, ttl=ttl)

    @property
    def sticky(self) -> dict[str, bytes]:
        """What is kept now."""
        kept = {key: self.get(key) for key in dict.fromkeys(self.put_under) if key.startswith("sticky:")}
        return {key: value for key, value in kept.items() if value is not None}


class World:
    """A gateway whose only policy keeps calls together."""

    def __init__(
        self,
        policy: dict[str, Any],
        script: dict[str, Any] | None = None,
        deployments: list[Deployment] | None = None,
        *,
        cached: int = 2_000,
        state: Any = None,
    ) -> None:
        those = deployments or [deployment(id, price=CACHES) for id in "abc"]
        self.clock = VirtualClock()
        self.sleeper = VirtualSleeper(self.clock)
        self.state = Remembering(self.clock) if state is None else state
        self.provider = ScriptedProvider(
            {one.id: ["hello"] for one in those} | (script or {}),
            default=None,
            usage=lambda request, _: usage_of(request, cached),
            sleeper=self.sleeper,
        )
        self.gateway = Gateway(
            those,
            plugins=[Policies({"default": {"sticky": Sticky(), **policy}})],
            transport=self.provider,
            clock=self.clock,
            sleeper=self.sleeper,
            state=self.state,
        )

    def served(self, context: Context = SESSION, text: str = LONG, face: str = "sync", **words: Any) -> str:
        """Who serves one more call."""
        told = ask(face, self.gateway, asking(text, **words), context=context)
        assert told.error is None
        return told.record.served_by or ""

    def is_warm(self, id: str, tokens: int = 2_500) -> None:
        """As if this deployment had served the session's last call."""
        self.served()
        *_, key = self.state.sticky
        self.state.put(key, f'["{id}", {tokens}]'.encode(), ttl=300.0)


def usage_of(request: Request, cached: int) -> Usage:
    read = sum(len(one.text) for one in request.messages) // 4
    return Usage(input=read - min(cached, read), cached_input=min(cached, read), output=20)


def asking(text: str = LONG, system: str = "", **fields: Any) -> Request:
    said = [Message(role="system", content=system)] if system else []
    return Request(model="fast", messages=(*said, Message(role="user", content=text)), **fields)


@every_face
def test_calls_of_a_session_stay_together(face: str) -> None:
    world = World({"prefer": "weighted"})
    assert len({world.served(face=face) for _ in range(12)}) == 1
    assert len({world.served(Context(session=f"s{at}"), face=face) for at in range(30)}) == 3


def test_the_record_says_what_is_saved() -> None:
    world = World({"prefer": "weighted"})
    first = world.served()
    assert world.served() == first
    (selection,) = world.gateway.decisions[-1].selections
    assert selection.reason.startswith(f"kept at {first}, whose cache saves about $0.00")
    facts = selection.state[first]
    assert facts["warm_tokens"] == 2_500  # what was asked before and is asked again
    assert facts["saved_usd"] == pytest.approx(2_500 * 0.5 * 2.7e-6)


def test_what_the_cache_does_not_do_is_learned() -> None:
    """A provider that reports no cached tokens saves nothing, whatever its price list says."""
    world = World({"prefer": "weighted"}, cached=0)
    saved = []
    for _ in range(8):
        served = world.served()
        saved.append(world.gateway.decisions[-1].selections[0].state.get(served, {}).get("saved_usd", 0.0))
    assert saved[1] > 2.5 * saved[-1]


def priced(factor: float) -> Price:
    return Price(
        input=round(CACHES.input * factor),
        cached_input=round(CACHES.cached_input * factor),
        output=round(CACHES.output * factor),
    )


@pytest.mark.parametrize(
    ("prefer", "dearer", "stays"),
    [("cheapest", 1.1, True), ("cheapest", 3.0, False), ("ordered", 1.0, False)],
)
def test_it_stays_only_where_the_saving_outweighs_the_preference(
    prefer: str, dearer: float, stays: bool
) -> None:
    good, warm = deployment("good", price=priced(1)), deployment("warm", price=priced(dearer))
    world = World({"prefer": prefer}, deployments=[good, warm])
    world.is_warm("warm")
    assert world.served() == ("warm" if stays else "good")


@pytest.mark.parametrize(("second", "stays"), [(0.001, True), (0.1, False)])
def test_seconds_are_exchanged_for_dollars(second: float, stays: bool) -> None:
    """Half a second more for a third of a cent less."""
    script = {"good": [Slow(0.5, "hello")], "warm": [Slow(1.0, "hello")]}
    those = [deployment(id, price=CACHES) for id in ("good", "warm")]
    world = World({"prefer": "fastest", "sticky": Sticky(second=second)}, script, those)
    for at in range(40):  # until both are known
        world.served(Context(session=f"other {at}"))
    world.is_warm("warm")
    assert (world.served() == "warm") is stays


def test_a_short_prompt_is_not_kept() -> None:
    world = World({"prefer": "weighted"})
    assert len({world.served(text="hi") for _ in range(40)}) == 3


def test_who_fails_is_left_and_not_come_back_to() -> None:
    those = [deployment(id, price=CACHES) for id in "ab"]
    world = World({"prefer": "ordered"}, {"a": ["hello", Fault("server"), "hello"]}, those)
    assert world.served() == "a"
    told = ask("sync", world.gateway, asking(), context=SESSION)
    assert told.tried == ["a", "b"]
    assert [value[:4] for value in world.state.sticky.values()] == [b'["b"']


def test_a_failure_of_the_caller_changes_nothing() -> None:
    world = World({"prefer": "ordered"}, {"a": ["hello", Fault("invalid_request")]})
    world.served()
    told = ask("sync", world.gateway, asking(), context=SESSION)
    assert told.error is not None
    assert len(world.state.sticky) == 1


def test_it_is_over_when_nobody_has_asked_for_a_while() -> None:
    world = World({"prefer": "ordered", "sticky": Sticky(idle=60.0)})
    world.served()
    assert world.state.sticky
    world.clock.advance(61.0)
    assert not world.state.sticky


@pytest.mark.parametrize(("provider", "seconds"), [("anthropic", 300), ("openai", 600), ("another", 300)])
def test_providers_keep_caches_for_their_own_time(provider: str, seconds: int) -> None:
    world = World({"prefer": "ordered"}, deployments=[deployment("a", provider=provider, price=CACHES)])
    world.served()
    world.clock.advance(seconds - 1)
    assert world.state.sticky
    world.clock.advance(2)
    assert not world.state.sticky


def test_an_excluded_deployment_is_not_revived() -> None:
    those = [deployment(region, price=CACHES, region=region) for region in ("eu", "us")]
    world = World({"prefer": "weighted", "region": ["eu"]}, deployments=those)
    world.is_warm("us")
    assert world.served() == "eu"


def test_calls_of_one_prefix_stay_together_whoever_asks() -> None:
    world = World({"prefer": "weighted", "sticky": Sticky(by="prefix")})
    assert len({world.served(Context(user=str(at)), "hi", system=LONG) for at in range(20)}) == 1
    assert len({world.served(Context(), "hi", system=f"{at} {LONG}") for at in range(30)}) == 3


def test_who_asks_is_part_of_a_session() -> None:
    """An id that the host has from its caller leads nobody to another's session."""
    world = World({"prefer": "weighted"})
    for user in ("ada", "bob"):
        world.served(Context(user=user), session="guessed")
    assert len(world.state.sticky) == 2


def test_nothing_of_a_prompt_is_kept() -> None:
    world = World({"prefer": "weighted", "sticky": Sticky(by="prefix")})
    secret = "my secret " + LONG
    served = world.served(text="hi", system=secret)
    ((key, value),) = world.state.sticky.items()
    assert len(key) == len("sticky:") + 32
    assert value == f'["{served}", {len(secret) >> 2}]'.encode()


def test_processes_share_what_is_warm() -> None:
    state = Remembering()
    one, other = (World({"prefer": "weighted"}, state=state) for _ in range(2))
    first = one.served()
    assert {other.served() for _ in range(9)} == {first}


@pytest.mark.parametrize("face", ["sync", "async"])
def test_a_state_that_answers_later_is_waited_for(face: str) -> None:
    class Later(Remembering):
        def get(self, key: str) -> Any:
            async def later() -> bytes | None:
                await asyncio.sleep(0)
                return MemoryState.get(self, key)

            return later()

    world = World({"prefer": "weighted"}, state=Later())
    assert len({world.served(face=face) for _ in range(9)}) == 1


def test_only_so_many_sessions_are_remembered_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmgate_plugins.plugins.stickiness.MOST_KEPT", 5)
    world = World({"prefer": "weighted"})
    for at in range(9):
        world.served(Context(session=str(at)))
    assert len(world.state.sticky) == 5


def test_the_configuration_says_it_in_a_word() -> None:
    gateway = Gateway.from_config(
        {
            "model_list": [
                {"model_name": "fast", "litellm_params": {"model": "openai/gpt-4o-mini", "api_key": "k"}}
            ],
            "policies": {
                "default": {"sticky": "session"},
                "long": {"sticky": {"by": "prefix", "idle": "10m"}},
            },
        }
    )
    (policies,) = (one for _, one in gateway.plugins if isinstance(one, Policies))
    assert policies.policies["default"].sticky == Sticky()
    assert policies.policies["long"].sticky == Sticky(by="prefix", idle=600.0)


def test_in_a_large_group_the_warm_one_is_scored_though_the_call_looked_at_others() -> None:
    those = [deployment(f"d{at}", price=priced(1 + at / 10_000)) for at in range(300)]
    world = World({"prefer": "cheapest"}, deployments=those)
    world.is_warm("d250")
    assert world.served() == "d250"


def test_a_goal_that_it_misses_is_not_outweighed() -> None:
    """The cheaper one is warm, and too slow for the goal."""
    those = [deployment("slow", price=priced(1)), deployment("quick", price=priced(1.2))]
    script = {"slow": [Slow(5.0, "hello")], "quick": [Slow(0.5, "hello")]}
    world = World({"prefer": "cheapest", "p95": 1.0}, script, those)
    for at in range(60):
        world.served(Context(session=f"other {at}"))
    world.is_warm("slow")
    assert world.served() == "quick"


def test_a_state_that_is_down_leaves_the_policys_order() -> None:
    class Down(Remembering):
        def get(self, key: str) -> Any:
            raise StorageError("down")

    world = World({"prefer": "ordered"}, state=Down())
    assert {world.served() for _ in range(3)} == {"a"}
    assert world.gateway.decisions[-1].problems == []
