"""`async def` implementations work on every face, sync calls included."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from support.faces import ask, every_face
from support.gateways import scene
from support.plugins import AsyncWitness

from llmgate_plugins import (
    Deployment,
    HookFailed,
    ProviderError,
    Ranking,
    Request,
    RequestDenied,
    Response,
    hookimpl,
)


@every_face
def test_all_hooks_may_be_async_and_none_is_no_opinion(face: str) -> None:
    witness = AsyncWitness()
    s = scene({"a": [ProviderError("x", status=503)], "b": ["fine"]}, witness)
    assert ask(face, s.gateway).text == "fine"
    assert witness.heard == [
        "admit_request",
        "narrow_deployments",
        "rank_deployments",
        "begin_attempt",
        "end_attempt error",
        "recover_attempt",
        "begin_attempt",
        "end_attempt success",
        "review_response",
        "end_call success",
    ]


@every_face
def test_an_async_plugin_denies_and_breaks_like_any_other(face: str) -> None:
    class Guard:
        @hookimpl
        async def admit_request(self, request: Request) -> None:
            await asyncio.sleep(0)
            raise RequestDenied("no") if request.messages[0].text == "bad" else ValueError("bug")

    s = scene({"a": ["x"]}, Guard())
    assert isinstance(ask(face, s.gateway, prompt="bad").error, RequestDenied)
    assert isinstance(ask(face, s.gateway, prompt="good").error, HookFailed)
    assert s.sent == []


@every_face
def test_an_answer_may_come_from_a_thread_as_a_future(face: str) -> None:
    with ThreadPoolExecutor(1) as pool:

        class Ranker:
            @hookimpl
            def rank_deployments(self, deployments: Sequence[Deployment]) -> Future[Ranking]:
                return pool.submit(lambda: Ranking(tuple(reversed(deployments))))

        s = scene({"a": ["a"], "b": ["b"]}, Ranker())
        assert ask(face, s.gateway).text == "b"


def test_an_async_plugin_in_a_sync_call_sees_the_callers_context_variables() -> None:
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")

    class Greeter:
        @hookimpl
        async def admit_request(self, request: Request) -> Response:
            return Response.of(f"hello {who.get()}")

    s = scene({"a": ["x"]}, Greeter())
    who.set("ada")
    assert s.gateway.complete("fast", "hi").text == "hello ada"


def test_a_sync_call_inside_a_running_loop_works_with_async_plugins() -> None:
    s = scene({"a": ["fine"]}, AsyncWitness())

    async def main() -> str:
        return s.gateway.complete("fast", "hi").text

    assert asyncio.run(main()) == "fine"


def test_an_async_plugin_may_itself_make_a_sync_call() -> None:
    inner = scene({"a": ["inner"]}, AsyncWitness())

    class Nested:
        @hookimpl
        async def admit_request(self, request: Request) -> Response:
            return Response.of(inner.gateway.complete("fast", "hi").text)

    s = scene({"a": ["x"]}, Nested())
    assert s.gateway.complete("fast", "hi").text == "inner"


@pytest.mark.parametrize("pending", [False, True])
def test_sync_plugins_cost_no_effects(pending: bool) -> None:
    from llmgate_plugins._engine.effects import Await
    from llmgate_plugins._engine.pipeline import admit

    class Sync:
        @hookimpl
        def admit_request(self, request: Request) -> Request:
            return request

    s = scene({"a": ["x"]}, AsyncWitness() if pending else Sync())
    departures = s.gateway._departures
    call = departures.call(Request(model="fast"), None, None, None)
    effects = list(admit(departures.flight(call, None)))
    for effect in effects:
        effect.answer.close()
    assert [type(effect) for effect in effects] == ([Await] if pending else [])
