"""Streams: failing over before the commit point, a typed error after it, readers who leave."""

from __future__ import annotations

import asyncio
import gc

import pytest
from support.faces import ask, every_stream
from support.gateways import scene
from support.plugins import AsyncWitness, Witness

from llmgate_plugins import ProviderError, StreamInterrupted
from llmgate_plugins.testing import Stream


@every_stream
def test_chunks_arrive_in_order_and_the_books_are_settled(face: str) -> None:
    s = scene({"a": [Stream("one ", "two ", "three")]})
    told = ask(face, s.gateway)
    assert told.text == "one two three"
    assert told.record.attempts[0][1].first_token is not None
    assert told.record.attempts[0][1].finish_reason == "stop"
    assert s.books_balance()


@every_stream
def test_a_stream_fails_over_before_its_first_content(face: str) -> None:
    s = scene({"a": [Stream(then=ProviderError("reset", code="connection"))], "b": [Stream("fine")]})
    told = ask(face, s.gateway)
    assert told.text == "fine"
    assert told.statuses == ["error", "success"]
    assert s.provider.opened == s.provider.closed


@every_stream
def test_an_empty_stream_is_a_failure_not_an_answer(face: str) -> None:
    s = scene({"a": [Stream(finish_reason=None)], "b": [Stream("fine")]})
    told = ask(face, s.gateway)
    assert told.text == "fine"
    assert told.record.attempts[0][1].failure.error_class == "empty_response"


@every_stream
def test_after_the_first_content_a_broken_stream_ends_with_a_typed_error(face: str) -> None:
    cause = ProviderError("cut", code="connection")
    s = scene({"a": [Stream("half an ", "ans", then=cause)], "b": [Stream("never")]})
    told = ask(face, s.gateway)
    assert told.text == "half an ans"
    assert isinstance(told.error, StreamInterrupted)
    assert told.error.partial == "half an ans"
    assert told.error.__cause__ is cause
    assert s.sent == ["a"]
    assert told.record.cost > 0
    assert told.record.attempts[0][1].usage.estimated
    assert s.books_balance()


@every_stream
def test_a_stream_cut_without_a_finish_reason_is_no_silent_success(face: str) -> None:
    s = scene({"a": [Stream("half", finish_reason=None)]})
    told = ask(face, s.gateway)
    assert isinstance(told.error, StreamInterrupted)
    assert told.record.attempts[0][1].failure.error_class == "truncated"


@every_stream
def test_a_reader_who_leaves_is_still_booked_for_what_was_delivered(face: str) -> None:
    witness, slow = Witness(), AsyncWitness()
    s = scene({"a": [Stream("aaaa", "bbbb", "cccc")]}, witness, slow)
    told = ask(face, s.gateway, take=2)
    assert told.text == "aaaabbbb"
    assert told.record.status == "abandoned"
    assert witness.heard[-2:] == ["end_attempt a abandoned", "end_call abandoned"]
    assert slow.heard[-2:] == ["end_attempt abandoned", "end_call abandoned"]
    outcome = told.record.attempts[0][1]
    assert outcome.usage.estimated
    assert outcome.usage.output == 2
    assert s.provider.opened == s.provider.closed
    assert s.books_balance()


def test_a_reader_who_forgets_to_close_is_booked_when_the_stream_is_collected() -> None:
    s = scene({"a": [Stream("a", "b", "c")]})
    for _ in s.gateway.stream("fast", "hi"):
        break
    gc.collect()
    assert s.gateway.decisions[-1].status == "abandoned"
    assert s.books_balance()


def test_a_cancelled_reader_is_settled_with_async_plugins_although_the_task_is_cancelled() -> None:
    async def main() -> None:
        from llmgate_plugins.testing import Hang

        slow = AsyncWitness()
        s = scene({"a": [Stream("a", "b", Hang())]}, slow)
        got: list[str] = []

        async def read() -> None:
            async for chunk in s.gateway.astream("fast", "hi"):
                got.append(chunk.text)

        task = asyncio.create_task(read())
        while len(got) < 2:
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert slow.heard[-2:] == ["end_attempt cancelled", "end_call cancelled"]
        assert s.gateway.decisions[-1].status == "cancelled"
        assert s.provider.opened == s.provider.closed
        assert s.books_balance()

    asyncio.run(main())


@every_stream
def test_the_time_is_over_in_the_middle_of_a_dripping_stream(face: str) -> None:
    from llmgate_plugins import DeadlineExceeded
    from llmgate_plugins.testing.steps import Pause

    s = scene({"a": [Stream("a", Pause(4.0), "b", Pause(4.0), "c", Pause(4.0), "d")]}, deadline=10.0)
    told = ask(face, s.gateway)
    assert isinstance(told.error, StreamInterrupted)
    assert isinstance(told.error.__cause__, DeadlineExceeded)
    assert told.error.partial.startswith("ab")
    assert s.books_balance()
