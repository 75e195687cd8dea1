"""Answers from another thread: waited for in threads and tasks, told once, whoever comes first."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from support.patience import until

from llmgate_plugins.promises import All, Promise, tell


def said(value: Any = None, error: BaseException | None = None) -> tuple[Any, BaseException | None]:
    return value, error


def later(*answers: tuple[Promise[Any], tuple[Any, BaseException | None]]) -> threading.Timer:
    timer = threading.Timer(0.02, tell, (answers,))
    timer.start()
    return timer


def test_a_thread_waits_for_the_answer_or_the_error_in_its_place() -> None:
    good: Promise[int] = Promise()
    bad: Promise[int] = Promise()
    assert not good.done()
    later((good, said(7)), (bad, said(error=ValueError("no"))))
    assert (good.result(timeout=30), good.exception()) == (7, None)
    with pytest.raises(ValueError, match="no"):
        bad.result(timeout=30)
    assert isinstance(bad.exception(), ValueError)


def test_a_thread_does_not_wait_longer_than_it_says() -> None:
    promise: Promise[int] = Promise()
    with pytest.raises(TimeoutError):
        promise.result(timeout=0.01)
    with pytest.raises(TimeoutError):
        promise.exception(timeout=-1)
    promise.set_result(1)
    assert promise.result(timeout=0) == 1


def test_the_first_answer_counts() -> None:
    promise: Promise[int] = Promise()
    promise.set_result(1)
    promise.set_result(2)
    promise.set_exception(ValueError())
    assert promise.result() == 1


def test_whoever_asks_to_be_told_is_told_once_now_or_later_and_may_raise(
    caplog: pytest.LogCaptureFixture,
) -> None:
    promise: Promise[int] = Promise()
    told: list[Any] = []

    def complain(_: Promise[int]) -> None:
        raise ValueError

    promise.add_done_callback(told.append)
    promise.add_done_callback(complain)
    promise.add_done_callback(told.append)
    promise.set_result(1)
    promise.add_done_callback(told.append)
    assert told == [promise] * 3
    assert "whoever waited for an answer raised" in caplog.text


async def test_tasks_wait_and_a_loop_is_woken_once_for_all_that_come_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    promises: list[Promise[int]] = [Promise() for _ in range(50)]
    loop, woken = asyncio.get_running_loop(), 0
    call_soon_threadsafe = loop.call_soon_threadsafe

    def wake(*given: Any, **named: Any) -> Any:
        nonlocal woken
        woken += 1
        return call_soon_threadsafe(*given, **named)

    waiting = asyncio.gather(*promises)
    await asyncio.sleep(0)
    monkeypatch.setattr(loop, "call_soon_threadsafe", wake)
    later(*((promise, said(number)) for number, promise in enumerate(promises)))
    assert await waiting == list(range(50))
    assert woken == 1
    assert await promises[3] == 3, "what is there is not waited for"


async def test_a_task_does_not_wait_longer_than_it_says_and_may_leave() -> None:
    promise: Promise[int] = Promise()
    with pytest.raises(TimeoutError):
        await promise.aresult(timeout=0.01)
    task = asyncio.ensure_future(promise.aresult(timeout=30))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    promise.set_result(1)  # tells both of those who left
    await asyncio.sleep(0)
    assert await promise.aresult(timeout=30) == 1


def test_a_loop_that_was_closed_keeps_nobody_else_from_being_told() -> None:
    promise: Promise[int] = Promise()

    async def leave() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(promise.aresult(), 0.01)

    asyncio.run(leave())
    told: list[Any] = []
    promise.add_done_callback(told.append)
    promise.set_result(1)
    assert told == [promise]


def test_nobody_is_forgotten_who_asks_while_the_answer_comes() -> None:
    for _ in range(300):
        promise: Promise[int] = Promise()
        told: list[Any] = []
        start = threading.Barrier(3)

        def ask(promise: Promise[int] = promise, told: list[Any] = told, start: Any = start) -> None:
            start.wait()
            promise.add_done_callback(told.append)
            told.append(promise.result(timeout=30))

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        start.wait()
        promise.set_result(1)
        for thread in threads:
            thread.join(10)
        assert sorted(map(type, told), key=repr) == sorted([int, int, Promise, Promise], key=repr)


def test_all_are_done_when_each_is_and_the_first_error_is_theirs() -> None:
    parts: list[Promise[Any]] = [Promise() for _ in range(3)]
    together, told = All(parts), []
    together.add_done_callback(told.append)
    parts[2].set_result(None)
    assert not together.done()
    with pytest.raises(TimeoutError):
        together.result(timeout=0.01)
    later((parts[1], said(error=ValueError("second"))), (parts[0], said(error=KeyError("first"))))
    with pytest.raises(KeyError, match="first"):
        together.result(timeout=30)
    assert together.done()
    until(lambda: told)
    assert told == [together]


async def test_a_task_waits_for_all_of_them() -> None:
    parts: list[Promise[Any]] = [Promise() for _ in range(3)]
    together = All(parts)
    with pytest.raises(TimeoutError):
        await together.aresult(timeout=0.01)
    later(*((part, said(1)) for part in parts))
    assert await together is None
    assert All(parts).result() is None
