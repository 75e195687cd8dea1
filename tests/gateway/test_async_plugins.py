"""`async def` implementations work on every face, sync calls included."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

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
from llmgate_plugins._driving import time_limits


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


@every_face
@pytest.mark.parametrize("pending", [lambda: asyncio.sleep(30), Future])
def test_a_plugin_that_never_answers_fails_with_the_calls_time(
    face: str, pending: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hung:
        @hookimpl
        def admit_request(self) -> Any:
            return pending()

    monkeypatch.setattr(time_limits, "PLUGIN_GRACE", 0.05)
    world = scene({"a": ["ok"]}, Hung(), deadline=0.05)
    told = ask(face, world.gateway)
    assert isinstance(told.error, HookFailed)
    assert isinstance(told.error.__cause__, TimeoutError)
    assert (world.sent, told.record.denied_by) == ([], "Hung")


@every_face
def test_a_plugin_that_hangs_while_the_books_are_settled_holds_up_only_itself(
    face: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hung:
        @hookimpl
        def end_attempt(self) -> Any:
            return Future()

    monkeypatch.setattr(time_limits, "PLUGIN_GRACE", 0.05)
    world = scene({"a": ["ok"]}, Hung(), deadline=0.05)
    told = ask(face, world.gateway)
    assert told.text == "ok"
    assert [problem[:2] for problem in told.record.problems] == [("Hung", "end_attempt")]
    assert world.books_balance()
