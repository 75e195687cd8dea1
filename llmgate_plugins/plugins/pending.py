"""Goes on with an answer that may still be on its way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar, cast

from llmgate_plugins.services import MaybePending, is_pending

__all__ = ["all_of", "arrived", "carried", "then"]

T = TypeVar("T")
R = TypeVar("R")


def then(answer: MaybePending[T], go_on: Callable[[T], MaybePending[R]]) -> MaybePending[R]:
    """`go_on(answer)`: now if the answer is there, else as something to await.

    So a plugin is written once, and costs nothing more where the state is in this process.
    """
    if is_pending(answer):
        return _later(cast("Awaitable[T] | Future[T]", answer), go_on)
    return go_on(cast("T", answer))


async def _later(answer: Awaitable[T] | Future[T], go_on: Callable[[T], MaybePending[R]]) -> R:
    return await arrived(go_on(await arrived(answer)))


async def arrived(answer: MaybePending[T]) -> T:
    """The answer, waited for if it is on its way."""
    if not is_pending(answer):
        return cast("T", answer)
    waited: Any = asyncio.wrap_future(answer) if isinstance(answer, Future) else answer
    return cast("T", await waited)


async def all_of(answers: Iterable[MaybePending[Any]]) -> None:
    """Waits for each in turn. The first failure is raised when the others have had their turn, too."""
    failure: Exception | None = None
    for answer in answers:
        try:
            await arrived(answer)
        except Exception as error:  # noqa: BLE001 - raised below
            failure = failure or error
    if failure is not None:
        raise failure


def carried(steps: Generator[Sequence[MaybePending[Any]], list[Any], R]) -> R | Awaitable[R]:
    """The result of steps that yield what they ask and get the answers back.

    At once if none of them has to be waited for, else as something to await. An error of one
    that was waited for is raised where it was asked.
    """
    try:
        asked = next(steps)
        while not any(map(is_pending, asked)):
            asked = steps.send(list(asked))
    except StopIteration as done:
        return cast("R", done.value)
    return _carried_on(steps, asked)


async def _carried_on(
    steps: Generator[Sequence[MaybePending[Any]], list[Any], R], asked: Sequence[MaybePending[Any]]
) -> R:
    while True:
        try:
            try:
                answers = [await arrived(one) for one in asked]
            except Exception as error:  # noqa: BLE001 - whoever asked deals with it
                asked = steps.throw(error)
            else:
                asked = steps.send(answers)
        except StopIteration as done:
            return cast("R", done.value)
