"""What comes back from a streamed call is LiteLLM's kind of stream, and each has its one row."""

from __future__ import annotations

import asyncio
import gc

import litellm
import pytest
from litellm.litellm_core_utils.streaming_handler import CustomStreamWrapper
from litellm.llms.anthropic.chat.handler import ModelResponseIterator
from litellm_llmgate import LiteLLMTransport
from support.litellm_routers import HELLO, ends, entry, registered, rows, text_of
from support.patience import PATIENCE, auntil

from llmgate_plugins import Gateway, StreamInterrupted, hookimpl
from llmgate_plugins.secrets import Secret
from llmgate_plugins.testing import Fault, Reply
from llmgate_plugins.types import Deployment, Endpoint, Response
from llmgate_plugins.usage import estimate_tokens

STORY = "Once upon a time there was a gateway that never lost a row."


async def chunks_of(sync: bool, router, model="fast", **params) -> list:
    if sync:
        return list(router.completion(model, HELLO, stream=True, **params))
    return [chunk async for chunk in await router.acompletion(model, HELLO, stream=True, **params)]


async def read_into(seen: list, sync: bool, router) -> None:
    if sync:
        seen.extend(router.completion("fast", HELLO, stream=True))  # keeps what came before an error
        return
    async for chunk in await router.acompletion("fast", HELLO, stream=True):
        seen.append(chunk)


def telling(sim, name="one"):
    provider = sim.provider(name)
    provider.reply(STORY)
    return provider


@pytest.mark.parametrize("sync", [False, True])
async def test_a_stream_is_litellms_kind_and_ends_with_a_reason(sim, sync):
    router, _ = registered([entry("fast", "one", telling(sim))])
    if sync:
        stream = router.completion("fast", HELLO, stream=True)
        chunks = list(stream)
    else:
        stream = await router.acompletion("fast", HELLO, stream=True)
        chunks = [chunk async for chunk in stream]
    assert isinstance(stream, CustomStreamWrapper)
    assert text_of(chunks) == STORY
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert stream._hidden_params["model_id"] == "one"
    assert stream._hidden_params["llmgate"]["deployment"] == "one"
    assert "x-litellm-model-group" in stream._hidden_params["additional_headers"]


@pytest.mark.parametrize("sync", [False, True])
async def test_usage_is_asked_for_and_kept_out_of_the_callers_sight(sim, sync):
    provider = telling(sim)
    router, registration = registered([entry("fast", "one", provider)])
    chunks = await chunks_of(sync, router)
    assert provider.requests[0].body["stream_options"] == {"include_usage": True}
    assert all(getattr(chunk, "usage", None) is None for chunk in chunks)
    assert chunks[-1]._hidden_params["usage"].completion_tokens > 0  # where LiteLLM keeps it
    (row,) = rows(registration)
    assert not row["estimated"]
    assert row["cost_nano_usd"] > 0


@pytest.mark.parametrize("sync", [False, True])
async def test_usage_that_litellm_has_counted_itself_is_an_estimate(sim, sync):
    provider = telling(sim)
    provider.fail_always(Fault("no_usage"))
    router, registration = registered([entry("fast", "one", provider)])
    await chunks_of(sync, router)
    (row,) = rows(registration)
    assert (row["status"], row["estimated"]) == ("success", True)
    assert row["cost_nano_usd"] > 0


@pytest.mark.parametrize("sync", [False, True])
async def test_a_caller_who_asks_for_usage_gets_it(sim, sync):
    router, registration = registered([entry("fast", "one", telling(sim))])
    chunks = await chunks_of(sync, router, stream_options={"include_usage": True})
    assert chunks[-1].usage.completion_tokens == rows(registration)[0]["output_tokens"] > 0


@pytest.mark.parametrize("sync", [False, True])
async def test_an_anthropic_stream_is_served_and_booked_as_well(sim, sync):
    provider = telling(sim)
    model = "anthropic/claude-haiku-4-5"
    router, registration = registered([entry("fast", "one", provider, model=model)])
    assert text_of(await chunks_of(sync, router)) == STORY
    (row,) = rows(registration)
    assert (row["provider"], row["status"], row["estimated"]) == ("anthropic", "success", False)
    assert row["cost_nano_usd"] > 0


@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize("kind", ["cut", "truncated", "reset_midstream", "error_event"])
async def test_a_stream_that_breaks_after_content_ends_with_an_error_that_has_the_text(sim, kind, sync):
    one, two = telling(sim, "one"), telling(sim, "two")
    for provider in (one, two):
        provider.fail_always(Fault(kind, after=3))
    router, registration = registered(
        [entry("fast", "one", one), entry("fast", "two", two)],
    )
    seen = []
    with pytest.raises(litellm.APIConnectionError) as caught:
        await read_into(seen, sync, router)
    assert isinstance(caught.value, StreamInterrupted)
    assert caught.value.partial == text_of(seen) != ""
    assert not any(chunk.choices[0].finish_reason for chunk in seen if chunk.choices)
    (row,) = rows(registration)
    assert row["status"] == "error"
    assert row["output_tokens"] > 0
    assert row["estimated"]
    assert len(one.requests) + len(two.requests) == 1


@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize(
    "kind", ["empty", "html", "truncated", "error_event", "reset_midstream", "done_only"]
)
async def test_a_stream_that_breaks_before_content_is_failed_over_unseen(sim, kind, sync):
    broken, whole = telling(sim, "broken"), telling(sim, "whole")
    broken.fail_always(Fault(kind, after=0))

    class BrokenFirst:
        @hookimpl
        def rank_deployments(self, deployments):
            return sorted(deployments, key=lambda deployment: deployment.id)

    router, registration = registered(
        [entry("fast", "broken", broken), entry("fast", "whole", whole)],
        BrokenFirst(),
        fallbacks=[{"fast": ["whole"]}],
    )
    assert text_of(await chunks_of(sync, router)) == STORY
    assert ends(registration) == [("broken", "error"), ("whole", "success")]


async def test_a_reader_who_closes_is_booked_as_abandoned(sim):
    router, registration = registered([entry("fast", "one", telling(sim))])
    stream = await router.acompletion("fast", HELLO, stream=True)
    await anext(stream)
    await stream.aclose()
    (row,) = rows(registration)
    assert (row["status"], row["estimated"]) == ("abandoned", True)
    assert row["cost_nano_usd"] > 0


@pytest.mark.parametrize("failed_over", [False, True])
async def test_a_reader_who_drops_the_stream_is_booked_as_abandoned(sim, failed_over):
    one, dead = telling(sim), sim.provider("dead")
    dead.fail_always(Fault("server"))
    entries = [entry("fast", "one", one)]
    if failed_over:
        entries.append(entry("fast", "dead", dead, weight=1_000_000))
    router, registration = registered(entries)
    stream = await router.acompletion("fast", HELLO, stream=True)
    await anext(stream)
    del stream
    gc.collect()
    booked = [("dead", "error")] * failed_over + [("one", "abandoned")]
    await auntil(lambda: ends(registration) == booked)


def test_a_sync_reader_who_leaves_is_booked_as_abandoned(sim):
    router, registration = registered([entry("fast", "one", telling(sim))])
    stream = router.completion("fast", HELLO, stream=True)
    next(stream)
    stream.close()
    assert ends(registration) == [("one", "abandoned")]


async def test_a_cancelled_task_is_booked_as_cancelled_before_and_after_the_first_chunk(sim):
    slow = telling(sim)
    router, registration = registered([entry("fast", "one", slow)])
    for stream in (False, True):
        slow.pace(first=2 * PATIENCE)
        before = len(slow.requests)
        task = asyncio.ensure_future(router.acompletion("fast", HELLO, stream=stream))
        await auntil(lambda before=before: len(slow.requests) > before)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    slow.pace(piece=0.3)
    texts = []

    async def read():
        async for chunk in await router.acompletion("fast", HELLO, stream=True):
            texts.append(text_of([chunk]))

    task = asyncio.ensure_future(read())
    await auntil(lambda: "".join(texts))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [status for _, status in ends(registration)] == ["cancelled"] * 3


@pytest.mark.parametrize("sync", [False, True])
async def test_a_plugins_answer_comes_as_a_stream_of_litellms_kind(sim, sync):
    one = sim.provider("one")

    class Known:
        @hookimpl
        def admit_request(self, request):
            return Response.of("I knew that.")

    router, registration = registered([entry("fast", "one", one)], Known())
    chunks = await chunks_of(sync, router)
    assert text_of(chunks) == "I knew that."
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert litellm.stream_chunk_builder(chunks).choices[0].message.content == "I knew that."
    whole = router.completion("fast", HELLO) if sync else await router.acompletion("fast", HELLO)
    assert whole.choices[0].message.content == "I knew that."
    assert whole.usage.total_tokens == 0
    assert (len(one.requests), rows(registration)) == (0, [])
    assert [record.status for record in registration.gateway.decisions] == ["answered"] * 2


@pytest.mark.parametrize("sync", [False, True])
async def test_tool_calls_are_streamed_whole(sim, sync):
    router, registration = registered([entry("fast", "one", sim.provider("one"))])
    tool = {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather in a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
    params = {"tools": [tool], "tool_choice": {"type": "function", "function": {"name": "weather"}}}
    chunks = await chunks_of(sync, router, **params)
    (call,) = litellm.stream_chunk_builder(chunks).choices[0].message.tool_calls
    assert call.function.name == "weather"
    assert ends(registration) == [("one", "success")]


@pytest.mark.parametrize("sync", [False, True])
async def test_a_stream_that_breaks_while_the_model_thinks_is_booked_at_its_thoughts(sim, sync):
    provider = sim.provider("one")
    provider.reply(Reply(text="42", reasoning="What may that be? " * 40))
    provider.fail_always(Fault("cut", after=20))
    router, registration = registered([entry("fast", "one", provider)])
    seen: list = []
    with pytest.raises(StreamInterrupted):
        await read_into(seen, sync, router)
    thoughts = "".join(getattr(chunk.choices[0].delta, "reasoning_content", "") or "" for chunk in seen)
    (row,) = rows(registration)
    assert (row["output_tokens"], row["estimated"]) == (estimate_tokens(len(thoughts)), True)
    assert thoughts


def plain(entry) -> Gateway:
    params = entry["litellm_params"]
    provider, model = params["model"].split("/")
    endpoint = Endpoint(base_url=params["api_base"], api_key=Secret(params["api_key"]))
    one = Deployment(id="one", alias="fast", provider=provider, model=model, endpoint=endpoint)
    return Gateway([one], transport=LiteLLMTransport())


@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
@pytest.mark.parametrize("host", ["router", "plain"])
async def test_lines_of_a_stream_that_is_left_are_closed_at_once_and_not_by_the_garbage_collector(
    sim, monkeypatch, sync, host
) -> None:
    """A collector that closes them may do so while httpcore's lock is held, and for ever."""
    read, begun = [], ModelResponseIterator.__init__

    def begin(self, *args, **kwargs) -> None:
        begun(self, *args, **kwargs)
        read.append(self)

    monkeypatch.setattr(ModelResponseIterator, "__init__", begin)
    telling(sim)
    claude = entry("fast", "one", sim.provider("one"), model="anthropic/claude-haiku-4-5")
    gate = registered([claude])[0] if host == "router" else plain(claude)
    gc.disable()
    try:
        if sync:
            stream = (
                gate.completion("fast", HELLO, stream=True) if host == "router" else gate.stream("fast", "Hi")
            )
            next(iter(stream))
            stream.close()
        else:
            stream = (
                gate.acompletion("fast", HELLO, stream=True)
                if host == "router"
                else gate.astream("fast", "Hi")
            )
            stream = await stream if host == "router" else stream
            await anext(aiter(stream))
            await stream.aclose()
        (one,) = read
        lines = one.streaming_response
        frame = lines.gi_frame if sync else lines.ag_frame
        assert frame is None or one._response is None  # since 1.109 LiteLLM may close and forget it
    finally:
        gc.enable()
