"""A call that is made again under the same id: answered once, sent once, booked once."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.faces import STREAMS, ask, every_face
from support.gateways import deployment, scene
from support.named_calls import named
from support.patience import PATIENCE, auntil, until
from support.plugins import Admit, Review

from llmgate_plugins import (
    Context,
    DeadlineExceeded,
    Gateway,
    ProviderError,
    Request,
    RequestDenied,
    Response,
    ResponseRejected,
)
from llmgate_plugins.errors import StorageError
from llmgate_plugins.plugins import Policies
from llmgate_plugins.plugins.idempotency import Idempotency
from llmgate_plugins.plugins.idempotency.turns import GO_AHEAD, Turn, Turns, Waiting
from llmgate_plugins.state import MemoryState
from llmgate_plugins.testing import FACES, PluginContract, ScriptedProvider, Slow
from llmgate_plugins.types import Message, ToolCall, Usage

BAD = ProviderError("no", status=400)


def calls(s: Any) -> list[tuple[str, str]]:
    return [(row["call_id"], row["status"]) for row in s.ledger.calls()]


# ---------------------------------------------------------------- one after the other


@every_face
@pytest.mark.parametrize("first", ["sync", "astream"])
def test_a_repeat_gets_the_first_answer_and_sends_nothing(first: str, face: str) -> None:
    s = scene({"a": ["one", "two"]}, Idempotency())
    assert ask(first, named(s.gateway)).text == "one"
    told = ask(face, named(s.gateway))
    assert (told.text, told.error) == ("one", None)
    assert s.sent == ["a"]


@every_face
def test_an_answer_is_not_told_where_it_could_not_have_been_made(face: str) -> None:
    """The same id, the same caller, the same request; but a tag has it under a stricter policy."""
    deployments = [deployment("us", region="us"), deployment("eu", region="eu")]
    policies = Policies(
        {"default": {"prefer": "ordered"}, "european": {"region": ["eu"]}},
        rules=[{"when": {"tag:place": "eu"}, "use": "european"}],
    )
    provider = ScriptedProvider({"us": ["made in the us"], "eu": ["made in the eu"]})
    gateway = Gateway(deployments, plugins=[policies], transport=provider)
    request = Request(model="fast", messages=(Message(role="user", content="hello"),))
    european = request.replace(tags={"place": "eu"})
    told = [ask(face, named(gateway), one).text for one in (request, european, request, european)]
    assert told == ["made in the us", "made in the eu"] * 2
    assert [where for where, _ in provider.sent] == ["us", "eu"]


@every_face
def test_a_change_of_preference_keeps_what_was_answered(face: str) -> None:
    state = MemoryState()
    for prefer in ("ordered", "cheapest"):
        policies = Policies({"default": {"prefer": prefer, "region": ["eu"]}})
        gateway = Gateway(
            [deployment("eu", region="eu")],
            plugins=[policies],
            transport=ScriptedProvider({"eu": [prefer]}),
            state=state,
        )
        assert ask(face, named(gateway)).text == "ordered"


@every_face
def test_a_repeat_is_free_and_booked_as_answered(face: str) -> None:
    s = scene({"a": ["one"]}, Idempotency())
    spent = ask(face, named(s.gateway)).record.cost
    told = ask(face, named(s.gateway))
    assert spent > 0
    assert (told.record.cost, told.record.usage.total) == (0, 0)
    assert (told.record.status, told.record.denied_by) == ("answered", "Idempotency")
    assert calls(s) == [("ID", "success"), ("ID#2", "answered")]
    assert sum(row["cost_nano_usd"] for row in s.ledger.attempts()) == spent
    assert s.books_balance()


@every_face
def test_calls_without_an_id_of_the_applications_own_are_all_sent(face: str) -> None:
    s = scene({"a": ["one", "two"]}, Idempotency())
    assert [ask(face, s.gateway).text for _ in range(2)] == ["one", "two"]


@every_face
def test_another_id_is_another_call(face: str) -> None:
    s = scene({"a": ["one", "two"]}, Idempotency())
    assert [ask(face, named(s.gateway, id)).text for id in ("X", "Y")] == ["one", "two"]


@every_face
def test_the_same_id_with_another_request_is_denied(face: str) -> None:
    s = scene({"a": ["one"]}, Idempotency())
    ask(face, named(s.gateway), prompt="hello")
    told = ask(face, named(s.gateway), prompt="good bye")
    assert isinstance(told.error, RequestDenied)
    assert told.error.code == "call_id_reused"
    assert "'ID'" in str(told.error)
    assert s.sent == ["a"]
    assert calls(s) == [("ID", "success"), ("ID#2", "denied")]
    assert ask(face, named(s.gateway), prompt="hello").text == "one"  # and the first is still there


@every_face
def test_a_first_call_that_failed_is_not_repeated_but_made_again(face: str) -> None:
    s = scene({"a": [BAD, "two"]}, Idempotency())
    assert isinstance(ask(face, named(s.gateway)).error, ProviderError)
    assert ask(face, named(s.gateway)).text == "two"
    assert ask(face, named(s.gateway)).text == "two"
    assert s.sent == ["a", "a"]
    assert calls(s) == [("ID", "error"), ("ID#2", "success"), ("ID#3", "answered")]
    assert [(row["call_id"], row["number"]) for row in s.ledger.attempts()] == [("ID", 1), ("ID#2", 1)]
    assert s.books_balance()


@every_face
def test_an_answer_that_a_policy_rejected_is_not_kept(face: str) -> None:
    rejects = [True]

    def reject(_: Response) -> None:
        if rejects.pop() if rejects else False:
            raise ResponseRejected("not this")

    s = scene({"a": ["one", "two"]}, Idempotency(), Review(reject))
    assert isinstance(ask(face, named(s.gateway)).error, ResponseRejected)
    assert ask(face, named(s.gateway)).text == "two"


def test_an_answer_is_kept_as_it_was_reviewed() -> None:
    s = scene({"a": ["secret"]}, Review(lambda answer: Response.of("***", model=answer.model)), Idempotency())
    assert [s.gateway.complete("fast", "hi", call_id="ID").text for _ in range(2)] == ["***", "***"]
    assert s.sent == ["a"]


@every_face
def test_an_id_counts_until_its_window_is_over(face: str) -> None:
    s = scene({"a": ["one", "two"]}, Idempotency(window=60.0))
    ask(face, named(s.gateway))
    s.clock.advance(59.0)
    assert ask(face, named(s.gateway)).text == "one"
    s.clock.advance(2.0)
    assert ask(face, named(s.gateway)).text == "two"
    assert [id for id, _ in calls(s)] == ["ID", "ID#2", "ID#3"]


@every_face
@pytest.mark.parametrize(
    "fact",
    [name for name in Context.__dataclass_fields__ if name not in ("priority", "extra", "policy", "region")],
)
def test_nobody_reads_the_answer_of_another(face: str, fact: str) -> None:
    s = scene({"a": ["for A", "for B"]}, Idempotency())
    one, other = Context(**{fact: "A"}), Context(**{fact: "B"})
    assert ask(face, named(s.gateway), context=one).text == "for A"
    assert ask(face, named(s.gateway), context=other).text == "for B"
    assert ask(face, named(s.gateway), context=one).text == "for A"
    assert s.books_balance()


def test_the_same_id_of_another_tenant_is_no_conflict_and_has_rows_of_its_own() -> None:
    s = scene({"a": ["for A", "for B"]}, Idempotency())
    s.gateway.complete("fast", "mine", call_id="ID", context=Context(tenant="A"))
    s.gateway.complete("fast", "yours", call_id="ID", context=Context(tenant="B", extra={"k": "v"}))
    assert calls(s) == [("ID", "success"), ("ID#2", "success")]
    assert len(s.ledger.attempts()) == 2


def test_more_urgent_is_not_somebody_else() -> None:
    s = scene({"a": ["one"]}, Idempotency())
    for priority in (0, 3):
        s.gateway.complete("fast", "hi", call_id="ID", context=Context(priority=priority))
    assert s.sent == ["a"]


@pytest.mark.parametrize("face", ["sync", "stream"])
def test_tools_usage_and_the_reason_to_stop_come_back(face: str) -> None:
    asked = Response(
        source=Message(
            role="assistant",
            content="thinking é \ud83d",
            tool_calls=(
                ToolCall(id="1", name="look", arguments='{"q": 1}'),
                ToolCall(id="2", name="x", index=1),
            ),
        ),
        usage=Usage(input=5, output=7, cached_input=1),
        finish_reason="tool_calls",
        model="served",
    )
    s = scene({"a": [asked]}, Idempotency())
    s.gateway.complete("fast", "hi", call_id="ID")
    if face in STREAMS:
        (again,) = list(s.gateway.stream("fast", "hi", call_id="ID"))
        told = again.tool_calls
    else:
        again = s.gateway.complete("fast", "hi", call_id="ID")
        told = again.message.tool_calls
    assert told == asked.message.tool_calls
    assert (again.text, again.usage, again.model) == (asked.text, asked.usage, "served")
    assert again.finish_reason == "tool_calls"


def test_an_answer_too_long_is_not_kept() -> None:
    s = scene({"a": ["x" * 500, "two"]}, Idempotency(largest=500))
    assert [s.gateway.complete("fast", "hi", call_id="ID").text for _ in range(2)] == ["x" * 500, "two"]
    assert calls(s) == [("ID", "success"), ("ID#2", "success")]


def test_what_json_cannot_say_is_not_kept() -> None:
    odd = Response(
        source=Message(role="assistant", content=({"type": "text", "text": "a", "raw": object()},))
    )
    s = scene({"a": ["never sent"]}, Review(lambda _: odd), Idempotency())
    for _ in range(2):
        assert s.gateway.complete("fast", "hi", call_id="ID").text == "a"
    assert s.sent == ["a", "a"]


def test_in_memory_the_oldest_answers_are_forgotten() -> None:
    plugin = Idempotency(memory=2_000)
    s = scene({"a": ["x" * 500]}, plugin)
    for number in range(50):
        s.gateway.complete("fast", "hi", call_id=f"ID{number}")
    assert len(s.state._values) < 4
    s.gateway.complete("fast", "hi", call_id="ID49")
    assert len(s.sent) == 50
    s.gateway.complete("fast", "hi", call_id="ID0")
    assert len(s.sent) == 51


def test_operations_without_a_text_run_again_and_are_booked_apart() -> None:
    s = scene({"a": ["one", "two"]}, Idempotency())
    request = Request(model="fast", operation="embedding")
    assert [s.gateway.complete(request, call_id="ID").text for _ in range(2)] == ["one", "two"]
    assert [id for id, _ in calls(s)] == ["ID", "ID#2"]


@pytest.mark.parametrize("options", [{"window": 0}, {"window": float("nan")}, {"largest": 0}, {"memory": -1}])
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Idempotency(**options)


# ---------------------------------------------------------------- what is the same request


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    s = scene({"a": ["ok"]}, Idempotency())
    for request in (one, other):
        fields = {"model": "fast", "messages": (Message(role="user", content="hi"),), **request}
        try:
            s.gateway.complete(Request(**fields), call_id="ID")
        except RequestDenied:
            return False
    return True


class Schema:
    """A class to answer in."""


class Other:
    """Another."""


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({"params": {"a": 1, "b": 2}}, {"params": {"b": 2, "a": 1}}, True),
        ({"params": {"a": 1}}, {"params": {"a": 1.0}}, False),
        ({"params": {"a": 1}}, {"params": {"a": "1"}}, False),
        ({"params": {"a": ["x", "y"]}}, {"params": {"a": ["xy"]}}, False),
        ({"params": {"a": ["x"], "b": []}}, {"params": {"a": [], "b": ["x"]}}, False),
        ({"params": {"a": None}}, {"params": {}}, False),
        ({"params": {"f": Schema}}, {"params": {"f": Schema}}, True),
        ({"params": {"f": Schema()}}, {"params": {"f": Schema()}}, True),
        ({"params": {"f": Schema}}, {"params": {"f": Other}}, False),
        ({"params": {"a": b"x"}}, {"params": {"a": "x"}}, False),
        ({"stream": False}, {"stream": True}, True),
        ({"tags": {"a": "1"}}, {"tags": {"a": "2"}}, True),
        ({"timeout": 5.0}, {"timeout": 9.0}, True),
        ({"messages": (Message(role="user", content="hi"),) * 2}, {}, False),
        ({"messages": (Message(role="system", content="hi"),)}, {}, False),
        ({"messages": (Message(role="user", content=({"type": "text", "text": "hi"},)),)}, {}, False),
        ({"messages": (Message(role="tool", content="hi", tool_call_id="1"),)},
         {"messages": (Message(role="tool", content="hi", tool_call_id="2"),)}, False),
    ],
)  # fmt: skip
def test_a_request_is_the_same_when_it_asks_the_same(
    one: dict[str, Any], other: dict[str, Any], expected: bool
) -> None:
    assert same(one, other) is expected


# ---------------------------------------------------------------- at the same time


class Held:
    """A sleeper to which a second is a repeat: it sleeps until so many wait, or until it is let go."""

    def __init__(self, plugin: Idempotency) -> None:
        self.let_go = threading.Event()
        self._turns = plugin._turns._turns

    def waiting(self) -> int:
        return sum(len(turn.waiting) for turn in list(self._turns.values()))

    def sleep(self, repeats: float) -> None:
        time.sleep(0.001)  # a moment for others in any case
        until(lambda: self.waiting() >= repeats or self.let_go.is_set())

    async def asleep(self, repeats: float) -> None:
        await auntil(lambda: self.waiting() >= repeats or self.let_go.is_set())


FOR_EVER = 99
"""More than ever wait: a provider that takes so long answers when it is let go."""


def real(script: list[Any], plugin: Idempotency | None = None, **options: Any) -> Gateway:
    """On the machine's own clock, since these wait for one another; see `Held` for what is slow."""
    plugin = plugin or Idempotency()
    provider = ScriptedProvider({"a": script}, sleeper=Held(plugin))
    return Gateway([deployment("a")], transport=provider, plugins=[plugin], **options)


def held(gateway: Gateway) -> Held:
    provider = gateway.transport
    assert isinstance(provider, ScriptedProvider)
    assert isinstance(provider._sleeper, Held)
    return provider._sleeper


def sent(gateway: Gateway) -> int:
    provider = gateway.transport
    assert isinstance(provider, ScriptedProvider)
    return len(provider.sent)


def in_threads(gateway: Gateway, *work: Callable[[], Any]) -> list[Any]:
    """What each gave or raised; the others begin when the first is with the provider."""
    out: list[Any] = [None] * len(work)

    def run(index: int) -> None:
        try:
            out[index] = work[index]()
        except BaseException as error:
            out[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(work))]
    for thread in threads:
        thread.start()
        until(lambda: sent(gateway))
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    return out


@every_face
def test_repeats_in_other_threads_wait_for_the_first(face: str) -> None:
    gateway = real([Slow(4, "one"), "two"])
    told = in_threads(gateway, *[lambda: ask(face, named(gateway))] * 5)
    assert [one.text for one in told] == ["one"] * 5
    assert sent(gateway) == 1
    rows = gateway.services.ledger.calls()
    assert sorted(row["call_id"] for row in rows) == ["ID", "ID#2", "ID#3", "ID#4", "ID#5"]
    assert sorted(row["status"] for row in rows) == ["answered"] * 4 + ["success"]


async def test_repeats_in_one_event_loop_wait_for_the_first() -> None:
    gateway = real([Slow(3, "one"), "two"])

    async def stream() -> str:
        async with aclosing(gateway.astream("fast", "hello", call_id="ID")) as chunks:
            return "".join([chunk.text async for chunk in chunks])

    async def whole() -> str:
        return (await gateway.acomplete("fast", "hello", call_id="ID")).text

    assert await asyncio.gather(whole(), stream(), whole(), stream()) == ["one"] * 4
    assert sent(gateway) == 1


def test_a_thread_and_a_loop_wait_for_each_other() -> None:
    gateway = real([Slow(len(FACES) - 1, "one"), "two"])
    told = in_threads(gateway, *[lambda face=face: ask(face, named(gateway)) for face in FACES])
    assert [one.text for one in told] == ["one"] * len(FACES)
    assert sent(gateway) == 1


@every_face
def test_if_the_first_fails_one_that_waits_goes_ahead(face: str) -> None:
    gateway = real([Slow(3, BAD), Slow(2, "two"), "three"])
    told = in_threads(gateway, *[lambda: ask(face, named(gateway))] * 4)
    assert sorted(one.text for one in told) == ["", "two", "two", "two"]
    assert sent(gateway) == 2
    keys = [(row["call_id"], row["number"]) for row in gateway.services.ledger.attempts()]
    assert len(keys) == len(set(keys)) == 2


def test_if_all_fail_each_has_gone_ahead_once_and_none_waits_for_ever() -> None:
    plugin = Idempotency()
    gateway = real([Slow(waiting, BAD) for waiting in (4, 3, 2, 1, 0)], plugin)
    told = in_threads(gateway, *[lambda: ask("sync", named(gateway))] * 5)
    assert all(isinstance(one.error, ProviderError) for one in told)
    assert sent(gateway) == 5
    assert len(plugin._turns) == 0


async def test_if_the_first_is_cancelled_one_that_waits_goes_ahead() -> None:
    plugin = Idempotency()
    gateway = real([Slow(FOR_EVER, "one"), "two"], plugin)
    first = asyncio.create_task(gateway.acomplete("fast", "hello", call_id="ID"))
    await auntil(lambda: sent(gateway))
    second = asyncio.create_task(gateway.acomplete("fast", "hello", call_id="ID"))
    await auntil(held(gateway).waiting)
    first.cancel()
    assert (await asyncio.wait_for(second, PATIENCE)).text == "two"
    assert first.cancelled() or isinstance(first.exception(), asyncio.CancelledError)
    assert len(plugin._turns) == 0


async def test_one_that_waits_may_be_cancelled_and_the_rest_go_on() -> None:
    plugin = Idempotency()
    gateway = real([Slow(FOR_EVER, BAD), "two"], plugin)
    tasks = [asyncio.create_task(gateway.acomplete("fast", "hello", call_id="ID")) for _ in range(4)]
    await auntil(lambda: held(gateway).waiting() == 3)
    tasks[1].cancel()
    await auntil(tasks[1].done)
    held(gateway).let_go.set()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(done[0], ProviderError)
    assert isinstance(done[1], asyncio.CancelledError)
    assert [one.text for one in done[2:]] == ["two", "two"]
    assert sent(gateway) == 2
    assert {row["status"] for row in gateway.services.ledger.calls()} == {
        "error",
        "cancelled",
        "success",
        "answered",
    }
    assert len(plugin._turns) == 0


async def test_a_turn_handed_to_one_that_is_cancelled_in_that_moment_goes_to_the_next() -> None:
    plugin = Idempotency()
    gateway = real([Slow(FOR_EVER, "one"), "two"], plugin)
    tasks = [asyncio.create_task(gateway.acomplete("fast", "hello", call_id="ID")) for _ in range(3)]
    await auntil(lambda: held(gateway).waiting() == 2)
    (turn,) = plugin._turns._turns.values()
    plugin._turns.hand_on(turn)  # to the second ...
    tasks[1].cancel()  # ... which is cancelled before it can take it
    assert (await asyncio.wait_for(tasks[2], PATIENCE)).text == "two"
    for task in tasks[:2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("face", STREAMS)
def test_if_the_reader_of_the_first_stream_leaves_one_that_waits_goes_ahead(face: str) -> None:
    from llmgate_plugins.testing.scripted import Stream
    from llmgate_plugins.testing.steps import Pause

    gateway = real([Stream("a", Pause(1), "b"), "two"])
    told = in_threads(
        gateway,
        lambda: ask(face, named(gateway), take=1),
        lambda: ask(face, named(gateway)),
    )
    assert (told[0].text, told[1].text) in {("a", "two"), ("a", "ab")}
    assert sent(gateway) == 2


@every_face
def test_nobody_waits_longer_than_his_own_deadline(face: str) -> None:
    gateway = real([Slow(FOR_EVER, "one"), "two"])

    def second() -> Any:
        message = (Message(role="user", content="hello"),)
        told = ask(face, named(gateway), Request(model="fast", messages=message, timeout=0.1))
        held(gateway).let_go.set()
        return told

    told = in_threads(gateway, lambda: ask(face, named(gateway)), second)
    assert told[0].text == "one"
    assert isinstance(told[1].error, DeadlineExceeded)
    assert sent(gateway) == 1


def test_a_call_whose_caller_never_came_back_is_waited_for_until_its_deadline_only() -> None:
    gateway = real(["one"], deadline=0.2)
    message = (Message(role="user", content="hello"),)
    begun = time.monotonic()
    gateway.admit(Request(model="fast", messages=message), call_id="ID")  # and that was all
    assert gateway.complete("fast", "hello", call_id="ID", deadline=2 * PATIENCE).text == "one"
    assert 0.1 < time.monotonic() - begun < PATIENCE


def test_an_admitted_call_that_is_dismissed_makes_room() -> None:
    s = scene({"a": ["one"]}, Idempotency())
    message = (Message(role="user", content="hello"),)
    call = s.gateway.admit(Request(model="fast", messages=message), call_id="ID")
    s.gateway.dismiss(call)
    assert s.gateway.complete("fast", "hello", call_id="ID").text == "one"


def test_the_same_id_with_another_request_is_denied_while_the_first_is_under_way() -> None:
    gateway = real([Slow(FOR_EVER, "one")])

    def another() -> Any:
        told = ask("async", named(gateway), prompt="other")
        held(gateway).let_go.set()
        return told

    told = in_threads(gateway, lambda: ask("sync", named(gateway)), another)
    assert told[0].text == "one"
    assert told[1].error.code == "call_id_reused"


@every_face
def test_a_later_policy_that_denies_the_first_makes_room(face: str) -> None:
    denies = [True]

    def deny(_: Request) -> None:
        if denies and denies.pop():
            raise RequestDenied("not now")

    s = scene({"a": ["one"]}, Idempotency(), Admit(deny))
    assert isinstance(ask(face, named(s.gateway)).error, RequestDenied)
    assert ask(face, named(s.gateway)).text == "one"


# ---------------------------------------------------------------- state that is shared


class Remote:
    """State in another process, as far as a plugin can see: every answer has to be waited for."""

    def __init__(self, fails: bool = False) -> None:
        self.inner, self.fails = MemoryState(), fails

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **more: Any) -> Any:
            await asyncio.sleep(0)
            if self.fails and name in {"get", "put", "add"}:
                raise StorageError("the state cannot be reached")
            return getattr(self.inner, name)(*args, **more)

        return call


@every_face
def test_another_process_sees_the_answer(face: str) -> None:
    shared: Any = Remote()
    one, other = real(["one"], state=shared), real(["two"], state=shared)
    assert ask(face, named(one)).text == "one"
    told = ask(face, named(other))
    assert (told.text, told.record.call_id) == ("one", "ID#2")
    assert sent(other) == 0


def test_what_another_version_kept_is_not_read() -> None:
    shared: Any = Remote()
    gateway = real(["one", "two", "three"], state=shared)
    gateway.complete("fast", "hello", call_id="ID")
    (key,) = shared.inner._values._values
    for kept in (b"{}", b"\xff", b"[1]", json.dumps({"version": 99}).encode()):
        shared.inner.put(key, kept)
        gateway.complete("fast", "hello", call_id="ID")
        shared.inner.delete(key)
    assert sent(gateway) == 5


@every_face
def test_state_that_cannot_be_reached_stops_no_call(face: str) -> None:
    plugin = Idempotency()
    unreachable: Any = Remote(fails=True)
    gateway = real(["one", "two"], plugin, state=unreachable)
    assert [ask(face, named(gateway)).text for _ in range(2)] == ["one", "two"]
    assert len(plugin._turns) == 0


async def test_those_who_wait_are_told_also_when_the_answer_could_not_be_kept() -> None:
    unreachable: Any = Remote(fails=True)
    gateway = real([Slow(1, "one"), "two"], state=unreachable)
    both = await asyncio.gather(*(gateway.acomplete("fast", "hello", call_id="ID") for _ in range(2)))
    assert [one.text for one in both] == ["one", "one"]


async def test_nobody_is_let_through_between_an_answer_and_its_being_kept() -> None:
    class SlowToKeep(Remote):
        def put(self, *args: Any, **more: Any) -> Awaitable[None]:
            async def later() -> None:
                await asyncio.sleep(0.1)
                self.inner.put(*args, **more)

            return later()

    shared: Any = SlowToKeep()
    gateway = real(["one", "two"], state=shared)
    first = asyncio.create_task(gateway.acomplete("fast", "hello", call_id="ID"))
    await asyncio.sleep(0.05)
    assert (await gateway.acomplete("fast", "hello", call_id="ID")).text == "one"
    assert (await first).text == "one"
    assert sent(gateway) == 1


def test_nothing_of_the_prompt_is_kept() -> None:
    s = scene({"a": ["one"]}, Idempotency())
    s.gateway.complete("fast", "a very private question", call_id="ID", context=Context(user="somebody"))
    kept = repr(s.state._values._values)
    assert "one" in kept
    assert "private" not in kept
    assert "somebody" not in kept


def test_many_threads_repeat_many_calls_and_each_is_sent_once() -> None:
    gateway = real([Slow(0, "ok")] * 200)
    work = [lambda n=n: ask("sync", named(gateway, f"ID{n % 10}")) for n in range(60)]
    told = in_threads(gateway, *work)
    assert {one.text for one in told} == {"ok"}
    assert sent(gateway) == 10
    assert len({row["call_id"] for row in gateway.services.ledger.calls()}) == 60


class TestContract(PluginContract):
    def make_plugin(self) -> Idempotency:
        return Idempotency()


class Queue(RuleBasedStateMachine):
    """Whoever comes, leaves, answers or fails, in any order: one goes ahead, and nobody is forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = Turns()
        self.leads: Turn | None = None
        self.waiting: list[Waiting] = []

    @rule()
    def another_comes(self) -> None:
        place = self.turns.come("key", "same", now=0.0, until=10.0)
        assert place is not None
        assert isinstance(place, Turn) is (self.leads is None)
        if isinstance(place, Turn):
            self.leads = place
        else:
            self.waiting.append(place)

    @precondition(lambda self: self.leads is not None)
    @rule()
    def another_request_comes(self) -> None:
        assert self.turns.come("key", "other", now=0.0, until=10.0) is None

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def one_leaves(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.waiting) - 1))
        self.turns.leave(self.waiting.pop(index))

    @precondition(lambda self: self.leads is not None)
    @rule()
    def it_is_answered(self) -> None:
        assert self.leads is not None
        self.turns.answer(self.leads, b"answer")
        assert [one.told.result(0) for one in self.waiting] == [b"answer"] * len(self.waiting)
        self.leads, self.waiting = None, []

    @precondition(lambda self: self.leads is not None)
    @rule(leaves_at_once=st.booleans())
    def it_fails(self, leaves_at_once: bool) -> None:
        assert self.leads is not None
        self.turns.hand_on(self.leads)
        while self.waiting and self.waiting[0].told.done():
            next_one = self.waiting.pop(0)
            assert next_one.told.result(0) == GO_AHEAD
            if not leaves_at_once:
                self.turns.take_over(next_one.turn, 10.0)
                self.leads = next_one.turn
                return
            self.turns.leave(next_one)
            leaves_at_once = False
        self.leads = None
        assert not self.waiting

    @invariant()
    def none_is_kept_for_nothing(self) -> None:
        assert len(self.turns) == (self.leads is not None)
        told = [one for one in self.waiting if one.told.done()]
        assert not told


TestQueue = Queue.TestCase
