"""Scripted providers in process, on a virtual clock."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from support.patience import PATIENCE

from llmgate_plugins.classification import classify
from llmgate_plugins.errors import ProviderError
from llmgate_plugins.meters import ChunkMeter
from llmgate_plugins.testing import (
    Fault,
    Hang,
    Pause,
    ScriptedProvider,
    Slow,
    Stream,
    VirtualClock,
    VirtualSleeper,
)
from llmgate_plugins.types import Attempt, Chunk, Deployment, Message, Request, Response, ToolCall, Usage

REQUEST = Request(model="fast", messages=(Message(role="user", content="Hi there"),))


def attempt(deployment: str = "a", deadline: float | None = None) -> Attempt:
    made = Deployment(id=deployment, alias="fast", provider="scripted", model=f"model-{deployment}")
    return Attempt(
        call_id="c", number=1, deployment=made, alias="fast", reason="first", started=0.0, deadline=deadline
    )


class Face:
    """The four ways to ask, told once: in a thread or in an event loop."""

    def __init__(self, in_loop: bool) -> None:
        self.in_loop = in_loop

    def send(self, provider: ScriptedProvider, to: Attempt) -> Response:
        return asyncio.run(provider.asend(to, REQUEST)) if self.in_loop else provider.send(to, REQUEST)

    def read(self, provider: ScriptedProvider, to: Attempt, into: list[Chunk], most: int = 99) -> None:
        if not self.in_loop:
            stream = provider.open(to, REQUEST)
            while len(into) < most and (chunk := next(stream, None)) is not None:
                into.append(chunk)
            stream.close()  # type: ignore[attr-defined]
            return

        async def read() -> None:
            stream: Any = provider.aopen(to, REQUEST)
            try:
                while len(into) < most and (chunk := await anext(stream, None)) is not None:
                    into.append(chunk)
            finally:
                await stream.aclose()

        asyncio.run(read())

    def text(self, provider: ScriptedProvider, to: Attempt) -> str:
        chunks: list[Chunk] = []
        self.read(provider, to, chunks)
        return "".join(chunk.text for chunk in chunks)


@pytest.fixture(params=[False, True], ids=["thread", "loop"])
def face(request: pytest.FixtureRequest) -> Face:
    return Face(request.param)


def test_each_deployment_follows_its_own_script_and_then_the_default(face: Face) -> None:
    provider = ScriptedProvider({"a": ["one", "two"], "b": ["other"]}, default="later")
    said = [face.send(provider, attempt(name)).text for name in ("a", "b", "a", "a", "b", "c")]
    assert said == ["one", "other", "two", "later", "later", "later"]
    assert [name for name, _ in provider.sent] == ["a", "b", "a", "a", "b", "c"]
    assert provider.sent[0][1] is REQUEST
    assert provider.attempts("a") == 3


def test_without_a_default_the_last_step_repeats(face: Face) -> None:
    provider = ScriptedProvider({"a": ["one", Fault("server")]}, default=None)
    assert face.send(provider, attempt()).text == "one"
    for _ in range(2):
        with pytest.raises(ProviderError):
            face.send(provider, attempt())
    assert face.send(provider, attempt("unscripted")).text == "ok"


def test_a_text_is_streamed_word_by_word_with_its_usage_at_the_end(face: Face) -> None:
    provider = ScriptedProvider({"a": ["one two "]})
    chunks: list[Chunk] = []
    face.read(provider, attempt(), chunks)
    assert [chunk.text for chunk in chunks] == ["one", " two", " ", ""]
    assert chunks[-1].finish_reason == "stop"
    assert chunks[-1].usage == Usage(input=5, output=2)
    assert {chunk.model for chunk in chunks} == {"model-a"}
    whole = face.send(provider, attempt())
    assert (whole.finish_reason, whole.model, whole.deployment_id) == ("stop", "model-a", "a")


def test_a_response_is_answered_as_it_is_whole_and_streamed(face: Face) -> None:
    call = ToolCall(id="1", name="f", arguments='{"x": 1}')
    answer = Response(
        source=Message(role="assistant", content="Look:", tool_calls=(call,)),
        usage=Usage(input=3, reasoning=4),
        model="served",
    )
    provider = ScriptedProvider(default=answer)
    got = face.send(provider, attempt())
    assert (got.text, got.message.tool_calls, got.finish_reason) == ("Look:", (call,), "tool_calls")
    assert (got.usage, got.model) == (Usage(input=3, reasoning=4), "served")
    assert face.text(provider, attempt()) == "Look:"


def test_a_broken_stream_gives_its_pieces_and_then_its_error(face: Face) -> None:
    error = ConnectionResetError("gone")
    provider = ScriptedProvider({"a": [Stream("x", "y", then=error), Stream(then=Fault("overloaded"))]})
    chunks: list[Chunk] = []
    with pytest.raises(ConnectionResetError) as caught:
        face.read(provider, attempt(), chunks)
    assert caught.value is error
    assert [chunk.text for chunk in chunks] == ["x", "y"]
    chunks.clear()
    with pytest.raises(ProviderError):
        face.read(provider, attempt(), chunks)
    assert chunks == []
    assert provider.opened == provider.closed == ["a", "a"]


def test_a_stream_ends_with_a_reason_unless_it_is_truncated(face: Face) -> None:
    steps = [Stream("x"), Stream("x", finish_reason="length"), Stream("x", finish_reason=None)]
    provider = ScriptedProvider({"a": steps})
    assert [face.send(provider, attempt()).finish_reason for _ in steps] == ["stop", "length", None]


def test_a_stream_can_drip_and_stall(face: Face) -> None:
    clock = VirtualClock()
    sleeper = VirtualSleeper(clock)
    steps = [Stream("x", Pause(2.0), Chunk(text="y")), Stream("x", Hang(cap=0.01))]
    provider = ScriptedProvider({"a": steps}, sleeper=sleeper)
    assert face.text(provider, attempt()) == "xy"
    assert sleeper.slept == [2.0]
    chunks: list[Chunk] = []
    with pytest.raises(TimeoutError):
        face.read(provider, attempt(), chunks)
    assert [chunk.text for chunk in chunks] == ["x"]


def test_a_reader_who_leaves_closes_the_stream(face: Face) -> None:
    provider = ScriptedProvider({"a": ["one two three"]})
    face.read(provider, attempt(), [], most=1)
    assert provider.opened == provider.closed == ["a"]


def test_slowness_passes_on_the_virtual_clock(face: Face) -> None:
    clock = VirtualClock()
    sleeper = VirtualSleeper(clock)
    provider = ScriptedProvider({"a": [Slow(30.0, "late")]}, sleeper=sleeper)
    begun = clock.monotonic()
    assert face.send(provider, attempt()).text == "late"
    assert (sleeper.slept, clock.monotonic() - begun) == ([30.0], 30.0)


def test_usage_can_be_set_left_out_or_computed(face: Face) -> None:
    assert face.send(ScriptedProvider(usage=Usage(input=9)), attempt()).usage == Usage(input=9)
    assert face.send(ScriptedProvider(usage=None), attempt()).usage is None
    counted: Callable[[Request, str], Usage] = lambda _, text: Usage(output=len(text))  # noqa: E731
    assert face.send(ScriptedProvider(usage=counted), attempt()).usage == Usage(output=2)


def test_a_step_can_depend_on_the_request(face: Face) -> None:
    provider = ScriptedProvider(default=lambda request: request.messages[-1].text.upper())
    assert face.send(provider, attempt()).text == "HI THERE"


KINDS = [
    ("rate_limit", 429, "rate_limit_exceeded", "rate_limit"),
    ("quota", 429, "insufficient_quota", "quota"),
    ("overloaded", 503, "server_is_overloaded", "overloaded"),
    ("server", 500, "server_error", "server"),
    ("bad_gateway", 502, "server_error", "server"),
    ("authentication", 401, "invalid_api_key", "authentication"),
    ("permission", 403, "model_not_allowed", "permission"),
    ("not_found", 404, "model_not_found", "model_not_found"),
    ("invalid_request", 400, "invalid_request_error", "invalid_request"),
    ("context_length", 400, "context_length_exceeded", "context_length"),
    ("content_policy", 400, "content_policy_violation", "content_policy"),
    ("timeout", 408, "timeout", "timeout"),
    ("connection", None, "connection", "connection"),
]


@pytest.mark.parametrize(("kind", "status", "code", "error_class"), KINDS)
def test_a_fault_is_an_error_that_is_classified_as_what_it_is(
    kind: Any, status: int | None, code: str, error_class: str
) -> None:
    provider = ScriptedProvider(default=Fault(kind, retry_after=2))
    with pytest.raises(ProviderError) as caught:
        provider.send(attempt(), REQUEST)
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert classify(caught.value).error_class == error_class
    if status is not None:
        assert caught.value.headers == {"retry-after": "2"}
    with pytest.raises(ProviderError) as again:
        provider.send(attempt(), REQUEST)
    assert again.value is not caught.value  # so that notes do not gather


@pytest.mark.parametrize(
    "step",
    [Fault("cut"), Slow(1, Fault("html")), Stream("x", then=Fault("malformed"))],
    ids=lambda step: type(step).__name__,
)
def test_a_fault_of_the_wire_is_refused_when_the_script_is_written(step: Any) -> None:
    with pytest.raises(ValueError, match=r"needs a wire: use ProviderSimulator, or Stream"):
        ScriptedProvider({"a": ["fine", step]})


async def test_a_hanging_provider_can_be_cancelled() -> None:
    task = asyncio.create_task(ScriptedProvider(default=Hang()).asend(attempt(), REQUEST))
    await asyncio.sleep(0.01)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_hanging_provider_holds_a_thread_no_longer_than_its_cap(face: Face) -> None:
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        face.send(ScriptedProvider(default=Hang(cap=0.05)), attempt())
    assert 0.04 <= time.monotonic() - begun < PATIENCE


def test_a_hanging_provider_can_be_released() -> None:
    provider = ScriptedProvider(default=Hang())
    threading.Timer(0.02, provider.release).start()
    with pytest.raises(TimeoutError, match="a did not answer"):
        provider.send(attempt(), REQUEST)


def test_a_hanging_provider_ends_at_the_deadline_of_a_virtual_clock() -> None:
    clock = VirtualClock()
    provider = ScriptedProvider(default=Hang(), clock=clock, sleeper=VirtualSleeper(clock))
    deadline = clock.monotonic() + 500
    with pytest.raises(TimeoutError):
        provider.send(attempt(deadline=deadline), REQUEST)
    assert clock.monotonic() == deadline


def test_each_step_is_taken_once_by_many_threads() -> None:
    provider = ScriptedProvider({"a": [str(n) for n in range(200)]})
    with ThreadPoolExecutor(16) as pool:
        said = list(pool.map(lambda _: provider.send(attempt(), REQUEST).text, range(200)))
    assert sorted(said, key=int) == [str(n) for n in range(200)]


# ---------------------------------------------------------------- clock


async def test_virtual_sleep_moves_both_clocks_and_lets_others_run() -> None:
    clock = VirtualClock(time=100.0, monotonic=1.0)
    sleeper = VirtualSleeper(clock)
    others: list[str] = []
    task = asyncio.create_task(_note(others))
    await sleeper.asleep(2.5)
    assert others == ["ran"]
    await task
    sleeper.sleep(0.5)
    assert (clock.monotonic(), clock.time(), sleeper.slept) == (4.0, 103.0, [2.5, 0.5])


async def _note(others: list[str]) -> None:
    others.append("ran")


def test_time_does_not_go_back_but_the_wall_clock_can_jump() -> None:
    clock = VirtualClock(time=100.0, monotonic=1.0)
    with pytest.raises(ValueError, match="time does not go back"):
        clock.advance(-1)
    with pytest.raises(ValueError, match="time does not go back"):
        clock.advance(float("nan"))
    clock.jump(-50)
    assert (clock.monotonic(), clock.time()) == (1.0, 50.0)


# ---------------------------------------------------------------- meter


def test_a_meter_puts_a_stream_together() -> None:
    meter = ChunkMeter()
    fed = [
        Chunk(model="m-1"),
        Chunk(reasoning="hm"),
        Chunk(text="Hel"),
        Chunk(text="lo"),
        Chunk(tool_calls=(ToolCall(id="1", name="f", arguments='{"x"', index=0),)),
        Chunk(tool_calls=(ToolCall(id="2", name="g", arguments="", index=1),)),
        Chunk(tool_calls=(ToolCall(id="", name="", arguments=": 1}", index=0),), model="m-2"),
        Chunk(usage=Usage(input=1)),
        Chunk(finish_reason="tool_calls", usage=Usage(input=2)),
    ]
    assert [meter.feed(chunk) for chunk in fed] == [False, True, True, True, True, True, True, False, False]
    assert (meter.text, meter.model, meter.usage, meter.finish_reason) == (
        "Hello",
        "m-1",
        Usage(input=2),
        "tool_calls",
    )
    assert meter.message() == Message(
        role="assistant",
        content="Hello",
        tool_calls=(
            ToolCall(id="1", name="f", arguments='{"x": 1}', index=0),
            ToolCall(id="2", name="g", arguments="{}", index=1),
        ),
    )


def test_an_empty_meter_knows_nothing() -> None:
    meter = ChunkMeter()
    assert (meter.text, meter.model, meter.usage, meter.finish_reason) == ("", None, None, None)
    assert not meter.complete
    assert meter.message() == Message(role="assistant", content="")


# ---------------------------------------------------------------- a given beginning


def given(beginning: str) -> Attempt:
    return replace(attempt(), prefill=beginning)


def test_an_empty_text_is_an_empty_answer(face: Face) -> None:
    tools = Response(source=Message(role="assistant", tool_calls=(ToolCall(id="c", name="f"),)))
    provider = ScriptedProvider({"a": ["", "words", tools]})
    assert [face.send(provider, attempt()).empty for _ in range(3)] == [True, False, False]


def test_an_answer_that_begins_as_given_goes_on_after_it(face: Face) -> None:
    whole = Response.of("one two three")
    cut = Stream("one t", Pause(0.0), "wo", Chunk(text=" three"))
    provider = ScriptedProvider({"a": ["one two three", whole, cut, lambda _: Slow(0.0, "one two three")]})
    for _ in range(4):
        chunks: list[Chunk] = []
        face.read(provider, given("one two"), chunks)
        assert "".join(chunk.text for chunk in chunks) == " three"
        assert chunks[-1].finish_reason == "stop"


def test_any_other_answer_is_the_continuation(face: Face) -> None:
    provider = ScriptedProvider({"a": [" three", Stream(" th", "ree")]})
    assert [face.send(provider, given("one two")).text for _ in range(2)] == [" three", " three"]
