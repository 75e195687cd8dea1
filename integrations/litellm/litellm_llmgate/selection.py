"""LiteLLM's own selection, kept for where no plugin has an opinion, and the strategy that pins an attempt."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any

from litellm_llmgate import _compat

__all__ = ["OwnSelection", "Pin", "PinnedStrategy", "pinned"]

Entry = Mapping[str, Any]


class Pin:
    """The entry that the attempt which is being sent goes to. Used up by the first selection.

    Attributes:
        entry: What LiteLLM's selection answers with.
        changes: What listing and picking wrote into their copy of the call's arguments.
        removed: What they took out.
        taken: Whether LiteLLM has asked.
        stream: The provider's stream that LiteLLM opened, if it did.
    """

    __slots__ = ("changes", "entry", "removed", "router", "stream", "taken")

    def __init__(
        self, router: Any, entry: Entry, before: Mapping[str, Any], after: Mapping[str, Any]
    ) -> None:
        self.router = router
        self.entry = entry
        self.changes = {name: value for name, value in after.items() if before.get(name, _NONE) is not value}
        self.removed = before.keys() - after.keys()
        self.taken = False
        self.stream: Any = None

    def take(self, request_kwargs: Any) -> Entry:
        """The entry; what selection did to the call's arguments happens to these as well."""
        self.taken = True
        if request_kwargs is not None:
            for name in self.removed:
                request_kwargs.pop(name, None)
            request_kwargs.update(self.changes)
        return self.entry


_NONE = object()
_pin: ContextVar[Pin | None] = ContextVar("litellm_llmgate_pin", default=None)
_restricted: ContextVar[Sequence[Entry] | None] = ContextVar("litellm_llmgate_restricted", default=None)
_listed: ContextVar[list[tuple[str, Any]] | None] = ContextVar("litellm_llmgate_listed", default=None)


@contextmanager
def pinned(pin: Pin) -> Iterator[None]:
    """LiteLLM's next selection inside the block answers with this pin's entry."""
    token = _pin.set(pin)
    try:
        yield
    finally:
        _pin.reset(token)


def current_pin() -> Pin | None:
    """The pin of the attempt that is being sent here."""
    return _pin.get()


class OwnSelection:
    """How this router selects without us: as it was when it was registered, or was told since.

    Attributes:
        pick: The async selection.
        pick_now: The sync one.
    """

    def __init__(self, router: Any) -> None:
        self.router = router
        self.pick: Any = None
        self.pick_now: Any = None
        self.follow_router()
        self._healthy: Any = getattr(router, _compat.healthy_name(router))

    def follow_router(self) -> None:
        """What the router itself has decides where no plugin does."""
        self.pick = getattr(self.router, _compat.pick_name(self.router))
        self.pick_now = getattr(self.router, _compat.PICK_NOW)

    def follow(self, strategy: Any) -> None:
        """A strategy that the application installs after us decides where no plugin does."""
        self.pick = strategy.async_get_available_deployment
        self.pick_now = strategy.get_available_deployment

    async def healthy(self, *args: Any, **kwargs: Any) -> Any:
        """Stands in for the router's own list of healthy deployments, while it picks among some."""
        entries = _restricted.get()
        if entries is not None:
            return list(entries)
        found = await self._healthy(*args, **kwargs)
        listed = _listed.get()
        if listed is not None:
            listed.append((kwargs.get("model") or args[0], found))
        return found

    async def candidates(self, model: str, kwargs: dict[str, Any], **asked: Any) -> Any:
        """LiteLLM's own candidates for a call."""
        return await _compat.healthy(self.router, model, kwargs, **asked)

    async def listed_by_picking(
        self, model: str, kwargs: dict[str, Any], **asked: Any
    ) -> tuple[str, Any, Entry]:
        """(group, candidates, pick): one whole selection of LiteLLM's, and the list it picked from."""
        listed: list[tuple[str, Any]] = []
        token = _listed.set(listed)
        try:
            entry: Entry = await self.pick(model=model, request_kwargs=kwargs, **asked)
        finally:
            _listed.reset(token)
        if listed:
            group, found = listed[-1]
        else:  # the application's own strategy, which needs no list
            group, found = model, await self.candidates(model, dict(kwargs), **asked)
        if isinstance(found, list) and entry["model_info"]["id"] not in {
            e["model_info"]["id"] for e in found
        }:
            found = [entry, *found]
        return group, found, entry

    async def pick_among(
        self, entries: Sequence[Entry], model: str, kwargs: dict[str, Any], **asked: Any
    ) -> Entry:
        """One of these by the configured strategy."""
        token = _restricted.set(entries)
        try:
            picked: Entry = await self.pick(model=model, request_kwargs=kwargs, **asked)
        finally:
            _restricted.reset(token)
        return picked


class PinnedStrategy:
    """The strategy that is installed: the pinned entry while an attempt is sent, else the router's way."""

    def __init__(self, router: Any, own: OwnSelection) -> None:
        self._router = router
        self._own = own

    async def async_get_available_deployment(
        self,
        model: str,
        request_kwargs: dict[str, Any] | None = None,
        messages: Any = None,
        input: Any = None,
        specific_deployment: bool | None = False,
    ) -> Any:
        """LiteLLM asks where to send."""
        pin = self._pin()
        if pin is not None:
            return pin.take(request_kwargs)
        return await self._own.pick(
            model=model,
            request_kwargs=request_kwargs if request_kwargs is not None else {},
            messages=messages,
            input=input,
            specific_deployment=specific_deployment,
        )

    def get_available_deployment(
        self,
        model: str,
        messages: Any = None,
        input: Any = None,
        specific_deployment: bool | None = False,
        request_kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """The same, asked in a thread."""
        pin = self._pin()
        if pin is not None:
            return pin.take(request_kwargs)
        return self._own.pick_now(
            model=model,
            messages=messages,
            input=input,
            specific_deployment=specific_deployment,
            request_kwargs=request_kwargs,
        )

    def _pin(self) -> Pin | None:
        pin = _pin.get()
        return None if pin is None or pin.taken or pin.router is not self._router else pin


def run_now(ask: Any) -> Any:
    """The result of a coroutine function's call, in a thread whose event loop is busy running us.

    LiteLLM runs its sync calls on a loop of their own and asks us there. Listing
    deployments rarely waits for anything, so it is first tried without a loop; if it does
    wait (for Redis, say), it is asked anew on a loop in another thread.
    """
    coroutine = ask()
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    result: Future[Any] = Future()
    context = copy_context()

    def elsewhere() -> None:
        try:
            result.set_result(context.run(asyncio.run, ask()))
        except BaseException as error:  # noqa: BLE001 - carried over to the waiting thread
            result.set_exception(error)

    threading.Thread(target=elsewhere, name="llmgate-litellm-selection", daemon=True).start()
    return result.result()
