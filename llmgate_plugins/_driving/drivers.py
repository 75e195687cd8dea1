"""Carry out what the engine decides: the only module with `await` and sleep.

Faces of one loop. `drive` runs in this thread, `adrive` in an event loop, and so does `aanswer_of`
for a whole answer. Given no transport, the first two step: they hand `Send` and `Open` effects out
to a host that sends by itself, and take back its answer through `send`/`throw` (`asend`/`athrow`).

When the caller leaves (a closed generator, a cancelled task, Ctrl-C) the engine gets
`Left` thrown in, settles its books with whatever effects that takes, and the original
exception goes on. In an event loop those last effects are shielded from cancellation.
"""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import current_task
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import Future
from typing import Any, cast

from llmgate_plugins._driving.background import InThread, first_of
from llmgate_plugins._driving.private_loop import run_on_private_loop
from llmgate_plugins._driving.time_limits import (
    GapWatch,
    answer_within,
    first_answer_within,
    next_chunk_within,
    out_of_time,
    plugin_within,
    stream_out_of_time,
    within,
)
from llmgate_plugins._engine.effects import (
    END,
    Await,
    Candidates,
    Close,
    Effect,
    Emit,
    FirstOf,
    Left,
    Open,
    Pick,
    Read,
    Relay,
    Send,
    Sleep,
    Start,
    Stop,
)
from llmgate_plugins._engine.flight import Steps
from llmgate_plugins.context import Call
from llmgate_plugins.promises import Promise
from llmgate_plugins.redaction import redact_error
from llmgate_plugins.services import Services
from llmgate_plugins.transport import HostSelection, Transport

__all__ = ["aanswer_of", "adrive", "drive"]


def drive(
    steps: Steps, transport: Transport | None, call: Call, services: Services
) -> Generator[Any, Any, None]:
    """Carry out the steps in this thread; yields what the engine emits."""
    step: Callable[[Any], Effect] = steps.send
    argument: Any = None
    leaving: BaseException | None = None
    try:
        while True:
            effect = step(argument)
            step, argument = steps.send, None
            try:
                if isinstance(effect, Send):
                    attempt = effect.attempt
                    if transport is None:
                        argument = yield effect
                    else:
                        with attempt.entered():
                            argument = transport.send(attempt, effect.request)
                elif isinstance(effect, Emit):
                    yield effect.item
                elif isinstance(effect, Relay):
                    feed, deadline, monotonic = effect.feed, effect.attempt.deadline, services.clock.monotonic
                    for chunk in effect.stream:
                        feed(chunk)
                        yield chunk
                        if deadline is not None and monotonic() >= deadline:
                            stream_out_of_time()
                elif isinstance(effect, Open) and transport is None:
                    argument = iter((yield effect))
                else:
                    argument = _perform(effect, transport, call, services)
            except BaseException as error:  # noqa: BLE001 - see `_thrown`
                step, argument = steps.throw, _thrown(error)
                leaving = leaving if argument is error else error
    except StopIteration:
        return
    except Left:
        if leaving is not None and not isinstance(leaving, GeneratorExit):
            raise leaving from None


def _thrown(error: BaseException) -> BaseException:
    """What is thrown into the engine: an error, for it to decide what it means, or that the caller left."""
    if isinstance(error, Exception):
        return error
    redact_error(error)
    return Left("abandoned" if isinstance(error, GeneratorExit) else "cancelled")


def _perform(effect: Effect, transport: Transport | None, call: Call, services: Services) -> Any:
    match effect:
        case Open(attempt, request):
            with attempt.entered():
                return iter(cast("Transport", transport).open(attempt, request))
        case Read(stream, attempt):
            with attempt.entered():
                return next(stream, END)
        case Start(steps):
            return InThread(lambda: drive(steps, transport, call, services))
        case FirstOf(handles, seconds):
            return first_of(handles, seconds)
        case Stop():
            return None  # a thread cannot be interrupted; what it brings home is closed there
        case Await(answer):
            seconds = plugin_within(call, services.clock)
            if isinstance(answer, Promise | Future):
                return answer.result(seconds)
            return run_on_private_loop(answer, seconds)
        case Sleep(seconds):
            return services.sleeper.sleep(seconds)
        case Close(stream):
            close = getattr(stream, "close", None)
            if close is not None:
                with contextlib.suppress(Exception):  # it is broken or abandoned already
                    close()
            return None
        case Candidates(alias, request):
            return cast("HostSelection", transport).candidates(alias, request, call)
        case Pick(deployments, request):
            return cast("HostSelection", transport).pick(deployments, request, call)
    raise AssertionError(effect)


async def aanswer_of(steps: Steps, transport: Transport, call: Call, services: Services) -> Any:
    """Carry out the steps in this event loop; returns the one thing that the engine emits.

    For a whole answer: a coroutine costs a fraction of what an asynchronous generator does.
    """
    step: Callable[[Any], Effect] = steps.send
    argument: Any = None
    leaving: BaseException | None = None
    answer: Any = None
    try:
        while True:
            effect = step(argument)
            step, argument = steps.send, None
            try:
                if isinstance(effect, Send) and not effect.attempt.around:  # `_aperform` enters what is
                    work = transport.asend(effect.attempt, effect.request)
                    argument = await within(work, first_answer_within, effect.attempt, services.clock)
                elif isinstance(effect, Emit):
                    answer = effect.item
                else:
                    work = _aperform(effect, transport, call, services)
                    argument = await (work if leaving is None else _shielded(work))
            except BaseException as error:  # noqa: BLE001 - see `_thrown`
                step, argument = steps.throw, _thrown(error)
                leaving = leaving if argument is error else error
    except StopIteration:
        return answer
    except Left:
        if leaving is not None and not isinstance(leaving, GeneratorExit):
            raise leaving from None


async def adrive(
    steps: Steps, transport: Transport | None, call: Call, services: Services
) -> AsyncGenerator[Any, Any]:
    """Carry out the steps in this event loop; yields what the engine emits."""
    step: Callable[[Any], Effect] = steps.send
    argument: Any = None
    leaving: BaseException | None = None
    try:
        while True:
            effect = step(argument)
            step, argument = steps.send, None
            try:
                if isinstance(effect, Emit):
                    yield effect.item
                elif isinstance(effect, Relay):
                    feed, monotonic = effect.feed, services.clock.monotonic
                    deadline, gap = effect.attempt.deadline, effect.attempt.limits.gap
                    watch = None
                    if gap is not None or deadline is not None:
                        watch = GapWatch(gap, deadline, services.clock)
                    try:
                        if watch is not None:
                            watch.since, watch.task = monotonic(), current_task()
                        async for chunk in effect.stream:
                            if watch is None:
                                feed(chunk)
                                yield chunk
                                continue
                            watch.since = None
                            feed(chunk)
                            yield chunk
                            now = monotonic()
                            if deadline is not None and now >= deadline:
                                stream_out_of_time()
                            # Every chunk may be asked for by another task.
                            watch.since, watch.task = now, current_task()
                    except asyncio.CancelledError:
                        if watch is None or not watch.claims():
                            raise
                        out_of_time(effect.attempt, services.clock)
                    finally:
                        if watch is not None:
                            watch.close()
                elif isinstance(effect, Send) and transport is None:
                    argument = yield effect
                elif isinstance(effect, Open) and transport is None:
                    argument = aiter((yield effect))
                else:
                    work = _aperform(effect, transport, call, services)
                    argument = await (work if leaving is None else _shielded(work))
            except BaseException as error:  # noqa: BLE001 - see `_thrown`
                step, argument = steps.throw, _thrown(error)
                leaving = leaving if argument is error else error
    except StopIteration:
        return
    except Left:
        if leaving is not None and not isinstance(leaving, GeneratorExit):
            raise leaving from None


async def _aperform(effect: Effect, transport: Transport | None, call: Call, services: Services) -> Any:
    match effect:
        case Send(attempt, request):
            with attempt.entered():
                work = cast("Transport", transport).asend(attempt, request)
                return await within(work, first_answer_within, attempt, services.clock)
        case Open(attempt, request):
            with attempt.entered():
                return aiter(cast("Transport", transport).aopen(attempt, request))
        case Read(stream, attempt, begun):
            allowed = next_chunk_within if begun else first_answer_within
            with attempt.entered():
                return await within(anext(stream, END), allowed, attempt, services.clock)
        case Await(answer, told):
            if isinstance(answer, Promise):
                return await answer.aresult(plugin_within(call, services.clock))
            if isinstance(answer, Future):
                if answer.done():
                    return answer.result()
                answer, told = asyncio.wrap_future(answer), False  # it is in other hands already
            waiting = answer_within(answer, plugin_within(call, services.clock))
            return await (_finished(waiting) if told else waiting)
        case Sleep(seconds):
            return await services.sleeper.asleep(seconds)
        case Close(stream):
            close = getattr(stream, "aclose", None)
            if close is not None:
                with contextlib.suppress(Exception):  # it is broken or abandoned already
                    await close()
            return None
        case Start(steps):
            return asyncio.ensure_future(aanswer_of(steps, cast("Transport", transport), call, services))
        case FirstOf(handles, seconds):
            done, _ = await asyncio.wait(handles, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            return next((handle for handle in handles if handle in done), None)
        case Stop(handle):
            handle.cancel()
            await asyncio.wait((handle,))
            return None
        case Candidates(alias, request):
            return await cast("HostSelection", transport).acandidates(alias, request, call)
        case Pick(deployments, request):
            return await cast("HostSelection", transport).apick(deployments, request, call)
    raise AssertionError(effect)


async def _finished(work: Any) -> Any:
    """Await to the end; if this task is cancelled meanwhile, say so afterwards."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):  # whoever leaves is told nothing else
            await _shielded(task)
        raise


async def _shielded(work: Any) -> Any:
    """Await to the end, however often this task is cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    return task.result()
