"""Every way into a chat model, as functions of (model, input, config) that give the whole answer."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Coroutine
from functools import cache
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

from support.patience import auntil

__all__ = ["ENTRANCES", "STREAMS"]


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """One loop for all: providers' clients keep connections that belong to the loop that made them."""
    return asyncio.new_event_loop()


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    return _loop().run_until_complete(work)


def _invoke(model: Any, prompt: Any, config: Any = None, **words: Any) -> BaseMessage:
    return model.invoke(prompt, config, **words)


def _ainvoke(model: Any, prompt: Any, config: Any = None, **words: Any) -> BaseMessage:
    return _run(model.ainvoke(prompt, config, **words))


def _stream(model: Any, prompt: Any, config: Any = None, **words: Any) -> BaseMessage:
    return _sum(list(model.stream(prompt, config, **words)))


def _astream(model: Any, prompt: Any, config: Any = None, **words: Any) -> BaseMessage:
    async def read() -> list[Any]:
        return [chunk async for chunk in model.astream(prompt, config, **words)]

    return _sum(_run(read()))


def _batch(model: Any, prompt: Any, config: Any = None, **words: Any) -> BaseMessage:
    return model.batch([prompt], config, **words)[0]


def _abatch(model: Any, prompt: Any, config: Any = None, **words: Any) -> BaseMessage:
    return _run(model.abatch([prompt], config, **words))[0]


def _events_v3(model: Any, prompt: Any, config: Any = None, **words: Any) -> BaseMessage:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.stream_events(prompt, config, version="v3", **words).output


def _aevents_v3(model: Any, prompt: Any, config: Any = None, **words: Any) -> BaseMessage:
    async def read() -> Any:
        others = asyncio.all_tasks()
        stream = await model.astream_events(prompt, config, version="v3", **words)
        answer = await stream.output
        # The end of the run is told to callbacks after the answer is there.
        await auntil(lambda: asyncio.all_tasks() <= others)
        return answer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _run(read())


def _aevents_v2(model: Any, prompt: Any, config: Any = None, **words: Any) -> BaseMessage:
    async def read() -> Any:
        events = [event async for event in model.astream_events(prompt, config, version="v2", **words)]
        return events[-1]["data"]["output"]

    return _run(read())


def _sum(chunks: list[Any]) -> AIMessage:
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole


STREAMS: dict[str, Callable[..., Any]] = {
    "stream": _stream,
    "astream": _astream,
    "stream_events_v3": _events_v3,
    "astream_events_v3": _aevents_v3,
    "astream_events_v2": _aevents_v2,
}
ENTRANCES: dict[str, Callable[..., Any]] = {
    "invoke": _invoke,
    "ainvoke": _ainvoke,
    "batch": _batch,
    "abatch": _abatch,
    **STREAMS,
}
