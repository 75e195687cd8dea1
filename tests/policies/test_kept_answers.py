"""Constraints of anybody's making hold for answers that were kept: in plain calls and in LangChain's cache.

Of LiteLLM, see `tests/litellm/test_cache.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_llmgate import ChatLLMGate
from support.faces import STREAMS, ask, every_face
from support.gateways import deployment, scene
from support.langchain_faces import ENTRANCES
from support.langchain_leaves import fake
from support.named_calls import named
from support.plugins import NotThere, NotThereSays

from llmgate_plugins import Gateway, HookFailed, Request, RequestDenied, Response, hookimpl
from llmgate_plugins.plugins.idempotency import Idempotency
from llmgate_plugins.testing import Fault, ScriptedProvider, Stream
from llmgate_plugins.types import Message

KINDS = pytest.mark.parametrize("kind", [NotThere, NotThereSays])
US_THEN_EU = ["made in the us", "made in the eu"]


def two_places(*plugins: object) -> tuple[Gateway, ScriptedProvider]:
    provider = ScriptedProvider({"us": ["made in the us"] * 9, "eu": ["made in the eu"] * 9})
    return Gateway([deployment("us"), deployment("eu")], plugins=plugins, transport=provider), provider


def sent(provider: ScriptedProvider) -> list[str]:
    return [where for where, _ in provider.sent]


# ---------------------------------------------------------------- calls made again under their id


@every_face
@KINDS
def test_a_repeat_is_made_again_where_a_plugin_keeps_it_from_whoever_answered(
    face: str, kind: type[NotThere]
) -> None:
    plugin = kind("us")
    gateway, provider = two_places(plugin)
    told = []
    for plugin.on in (False, True, True, False):
        told.append(ask(face, named(gateway)).text)
    assert told == ["made in the us", *["made in the eu"] * 3]
    assert sent(provider) == ["us", "eu"], "and what was made there is kept in place of the first"
    notes = [record.notes.get("answers") for record in gateway.decisions]
    assert notes == [
        None,
        ["the answer of Idempotency was made by us, which may not serve this call"],
        None,
        None,
    ]


@pytest.mark.parametrize("face", STREAMS)
def test_an_answer_that_one_began_and_another_ended_was_made_by_both(face: str) -> None:
    plugin = NotThere("us")
    broken = Stream("begun in the us", then=Fault("connection"))
    ended: list[Any] = [lambda _: Stream(", ended in the eu"), "made in the eu"]
    provider = ScriptedProvider({"us": [broken] * 3, "eu": ended})
    places = [deployment("us"), deployment("eu", capabilities=frozenset({"assistant_prefill"}))]
    gateway = named(Gateway(places, plugins=[plugin], transport=provider))
    asked = Request(model="fast", messages=(Message(role="user", content="Where?"),), on_break="resume")
    told = []
    for plugin.on in (False, False, True):
        told.append(ask(face, gateway, asked).text)
    assert told == [*["begun in the us, ended in the eu"] * 2, "made in the eu"]
    assert sent(provider) == ["us", "eu", "eu"]
    (note,) = gateway.decisions[-1].notes["answers"]
    assert note == "the answer of Idempotency was made by us, which may not serve this call"


@every_face
def test_what_is_dropped_for_its_state_alone_has_its_answers_given_out(face: str) -> None:
    plugin = NotThere("us", passing=True)
    gateway, provider = two_places(plugin)
    for plugin.on in (False, True):
        assert ask(face, named(gateway)).text == "made in the us"
    assert sent(provider) == ["us"]


def test_what_was_answered_by_one_that_is_ejected_now_is_not_sent_again() -> None:
    s = scene({"a": ["one", *[ConnectionError("down")] * 30], "b": ["other"] * 30}, Idempotency())
    assert ask("sync", named(s.gateway)).text == "one"
    while not any("a" in record.selections[0].dropped for record in s.gateway.decisions if record.selections):
        ask("sync", s.gateway)
    assert ask("sync", named(s.gateway)).text == "one"


@pytest.mark.parametrize(("constrained", "text"), [(False, "made in the us"), (True, "made in the eu")])
def test_of_one_that_is_no_longer_configured_an_answer_counts_where_nothing_is_ruled_out(
    constrained: bool, text: str
) -> None:
    gateway, _ = two_places()
    ask("sync", named(gateway))
    plugin = NotThere("asia")
    plugin.on = constrained
    provider = ScriptedProvider({"eu": ["made in the eu"]})
    later = Gateway(
        [deployment("eu"), deployment("asia")],
        plugins=[plugin],
        transport=provider,
        state=gateway.services.state,
    )
    assert ask("sync", named(later)).text == text


@every_face
def test_a_repeat_that_a_constraint_denies_is_denied(face: str) -> None:
    class Denies(NotThere):
        @hookimpl
        def narrow_deployments(self) -> None:
            if self.on:
                raise RequestDenied("not now")

    plugin = Denies("us")
    gateway, provider = two_places(plugin)
    ask(face, named(gateway))
    plugin.on = True
    assert isinstance(ask(face, named(gateway)).error, RequestDenied)
    assert sent(provider) == ["us"]


# ---------------------------------------------------------------- a plugin's own cache


class Remembers:
    """The whole of a cache: what was said once is said again."""

    def __init__(self, *, tells: bool = True) -> None:
        self.tells = tells
        self.kept: Response | None = None

    @hookimpl
    def admit_request(self) -> Response | None:
        return self.kept

    @hookimpl
    def review_response(self, response: Response) -> None:
        if self.kept is None:
            by = response.deployment_id if self.tells else None
            self.kept = Response(source=Message(role="assistant", content=response.text), deployment_id=by)


@every_face
def test_a_plugins_answer_that_names_who_made_it_passes_the_same_constraints(face: str) -> None:
    plugin = NotThere("us")
    gateway, provider = two_places(Remembers(), plugin)
    told = []
    for plugin.on in (False, False, True, False):
        told.append(ask(face, gateway).text)
    assert told == ["made in the us", "made in the us", "made in the eu", "made in the us"]
    assert sent(provider) == ["us", "eu"]
    assert gateway.decisions[-1].denied_by == "Remembers"


def test_one_that_names_nobody_is_the_plugins_own_word() -> None:
    plugin = NotThere("us")
    gateway, _ = two_places(Remembers(tells=False), plugin)
    for plugin.on in (False, True):
        assert ask("sync", gateway).text == "made in the us"


# ---------------------------------------------------------------- LangChain's cache


@pytest.fixture
def cache() -> Iterator[None]:
    set_llm_cache(InMemoryCache())
    yield
    set_llm_cache(None)


@pytest.mark.usefixtures("cache")
@KINDS
@pytest.mark.parametrize("entrance", ["invoke", "ainvoke", "batch", "abatch"])
def test_langchains_cache_has_answers_apart_for_whom_a_plugin_keeps_from_a_deployment(
    entrance: str, kind: type[NotThere]
) -> None:
    us, eu = fake("us", pieces=("made in the us",)), fake("eu", pieces=("made in the eu",))
    first, _ = ChatLLMGate.from_models({"fast": [us, eu]}).gateway.deployments
    plugin = kind(first)
    gate = ChatLLMGate.from_models({"fast": [us, eu]}, plugins=[plugin])
    told = []
    for plugin.on in (False, True) * 2:
        told.append(ENTRANCES[entrance](gate, "hello").text)
    assert told == US_THEN_EU * 2
    assert (len(us.asked), len(eu.asked)) == (1, 1)


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("error", [RequestDenied("not now"), ValueError("it is broken")])
@pytest.mark.parametrize("entrance", ["invoke", "ainvoke"])
def test_a_constraint_that_fails_stops_the_call_also_where_an_answer_is_kept(
    entrance: str, error: Exception
) -> None:
    class Fails:
        @hookimpl
        def narrow_deployments(self) -> None:
            if gate.gateway.decisions:
                raise error

    gate = ChatLLMGate.from_models({"fast": [fake()]}, plugins=[Fails()])
    ENTRANCES[entrance](gate, "hello")
    with pytest.raises((RequestDenied, HookFailed)):
        ENTRANCES[entrance](gate, "hello")
    status = "denied" if isinstance(error, RequestDenied) else "error"
    assert [record.status for record in gate.gateway.decisions] == ["success", status]
