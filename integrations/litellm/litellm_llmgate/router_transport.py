"""Sends an attempt through the router's own function for it, and asks the router for candidates."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any

from litellm.exceptions import Timeout
from litellm.router_utils.fallback_event_handlers import record_disable_fallbacks

from litellm_llmgate import _compat
from litellm_llmgate.answers import read_response
from litellm_llmgate.asking import request_of, written_back
from litellm_llmgate.deployments import DeploymentBook
from litellm_llmgate.errors import CallDenied
from litellm_llmgate.meter import StreamMeter, check_whole
from litellm_llmgate.selection import OwnSelection, Pin, pinned, run_now
from litellm_llmgate.timeouts import rounded
from litellm_llmgate.usage_on_streams import UsageOnStreams
from llmgate_plugins.context import Call
from llmgate_plugins.errors import DeadlineExceeded, RequestDenied
from llmgate_plugins.services import Clock
from llmgate_plugins.types import Attempt, Deployment, Request, Response

__all__ = ["HostCall", "RouterTransport"]

Entry = Mapping[str, Any]


class HostCall:
    """One call of LiteLLM's, as the gateway carries it through: `Request.native`.

    Attributes:
        function: LiteLLM's own function for one attempt.
        args, kwargs: What LiteLLM calls it with.
        asked: The request as it was read from them.
        group: The group whose deployments were listed last.
        call: The gateway's call, once it has asked for candidates.
        attempt: The last attempt.
        sent: The last attempt's response as it was read.
        opened: The last attempt's stream as LiteLLM returned it.
        usage_added: Whether the last attempt asked for usage that the caller did not ask for.
    """

    __slots__ = (
        "args", "asked", "attempt", "before", "call", "entries", "function", "group", "host_pick", "kwargs",
        "narrowed", "opened", "sent", "usage_added",
    )  # fmt: skip

    def __init__(
        self, operation: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        _check_address(kwargs)
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.asked: Request = request_of(operation, kwargs, self)
        self.group: str = kwargs["model"]
        self.entries: dict[str, Entry] = {}
        self.before: Mapping[str, Any] = kwargs
        self.narrowed: dict[str, Any] = kwargs
        self.host_pick: Entry | None = None
        self.call: Call | None = None
        self.attempt: Attempt | None = None
        self.sent: Response | None = None
        self.opened: Any = None
        self.usage_added = False


class RouterTransport:
    """One per registered router.

    Args:
        router: LiteLLM's.
        own: Its own selection.
        book: Its entries as deployments.
        clock: The gateway's.
        plugins_rank: Whether a plugin might rank. If none does, LiteLLM selects once and
            for all, at what that costs without a gateway.
    """

    def __init__(
        self, router: Any, own: OwnSelection, book: DeploymentBook, clock: Clock, *, plugins_rank: bool
    ) -> None:
        self._router = router
        self._own = own
        self._book = book
        self._clock = clock
        self._plugins_rank = plugins_rank
        self._usage = UsageOnStreams()

    # ------------------------------------------------------------ selection

    async def acandidates(self, alias: str, request: Request, call: Call) -> Sequence[Deployment]:
        """The group's healthy deployments, as LiteLLM lists them."""
        host, kwargs, asked = self._asking(alias, request, call)
        if not self._plugins_rank or _compat.routes_before_picking(self._router):
            group, found, pick = await self._own.listed_by_picking(alias, kwargs, **asked)
            host.host_pick = pick
        else:
            group, found = alias, await self._own.candidates(alias, kwargs, **asked)
        return self._listed(host, group, found, kwargs)

    def candidates(self, alias: str, request: Request, call: Call) -> Sequence[Deployment]:
        """The same in a thread."""
        host, kwargs, asked = self._asking(alias, request, call)
        if _compat.routes_before_picking(self._router):  # LiteLLM refuses these in sync calls; so it shall
            found = self._own.pick_now(model=alias, request_kwargs=kwargs, **asked)
        else:
            found, kwargs = run_now(lambda: self._list(alias, dict(kwargs), asked))
        return self._listed(host, alias, found, kwargs)

    async def apick(self, deployments: Sequence[Deployment], request: Request, call: Call) -> Deployment:
        """One of these by LiteLLM's configured strategy."""
        host: HostCall = request.native
        picked, host.host_pick = host.host_pick, None
        if picked is None or self._among(picked, deployments) is None:
            entries = [host.entries[deployment.id] for deployment in deployments]
            kwargs = dict(host.narrowed)
            try:
                picked = await self._own.pick_among(entries, host.group, kwargs, **_asked(kwargs))
            except Exception:
                _raise_primary(call)
                raise
            host.narrowed = kwargs
        return self._among(picked, deployments) or deployments[0]

    def pick(self, deployments: Sequence[Deployment], request: Request, call: Call) -> Deployment:
        """The same in a thread."""
        host: HostCall = request.native
        kwargs = dict(host.narrowed)
        left = {deployment.id for deployment in deployments}
        kwargs["_excluded_deployment_ids"] = [name for name in host.entries if name not in left]
        try:
            picked = self._own.pick_now(model=host.group, request_kwargs=kwargs, **_asked(kwargs))
        except Exception:
            _raise_primary(call)
            raise
        kwargs.pop("_excluded_deployment_ids", None)
        host.narrowed = kwargs
        return self._among(picked, deployments) or deployments[0]

    async def _list(self, alias: str, kwargs: dict[str, Any], asked: dict[str, Any]) -> tuple[Any, Any]:
        return await self._own.candidates(alias, kwargs, **asked), kwargs

    def _asking(self, alias: str, request: Request, call: Call) -> tuple[HostCall, dict[str, Any], Any]:
        host: HostCall = request.native
        host.call = call
        kwargs = dict(host.kwargs)
        written_back(host.asked, request, kwargs)
        kwargs["model"] = alias
        host.before = dict(kwargs)
        return host, kwargs, _asked(kwargs)

    def _listed(self, host: HostCall, group: str, found: Any, kwargs: dict[str, Any]) -> Sequence[Deployment]:
        """Remember the entries behind the deployments: the pick and the pin need them."""
        host.group = group
        host.narrowed = kwargs
        host.entries = {}
        deployments = []
        for entry in [found] if isinstance(found, dict) else found:
            deployment = self._book.of(entry)
            host.entries[deployment.id] = entry
            deployments.append(deployment)
        return deployments

    def _among(self, entry: Entry, deployments: Sequence[Deployment]) -> Deployment | None:
        name = entry["model_info"]["id"]
        return next((deployment for deployment in deployments if deployment.id == name), None)

    # ------------------------------------------------------------ sending

    def send(self, attempt: Attempt, request: Request) -> Response:
        """One attempt in this thread."""
        pin, host, kwargs = self._prepare(attempt, request)
        with pinned(pin):
            answer = host.function(*host.args, **kwargs)
        return self._read(answer, attempt, request, host)

    async def asend(self, attempt: Attempt, request: Request) -> Response:
        """One attempt in this event loop."""
        pin, host, kwargs = self._prepare(attempt, request)
        with pinned(pin):
            answer = await self._in_time(attempt, host.function(*host.args, **kwargs))
        return self._read(answer, attempt, request, host)

    def open(self, attempt: Attempt, request: Request) -> Iterator[Any]:
        """One attempt as a stream, in this thread."""
        pin, host, kwargs = self._prepare(attempt, request)
        with pinned(pin):
            stream = host.opened = host.function(*host.args, **kwargs)
        try:
            for chunk in stream:
                check_whole(chunk, pin.stream, attempt.deployment)
                yield chunk
        finally:
            _close(stream, pin.stream)

    async def aopen(self, attempt: Attempt, request: Request) -> AsyncIterator[Any]:
        """One attempt as a stream, in this event loop."""
        pin, host, kwargs = self._prepare(attempt, request)
        with pinned(pin):
            stream = host.opened = await self._in_time(attempt, host.function(*host.args, **kwargs))
        try:
            async for chunk in stream:
                check_whole(chunk, pin.stream, attempt.deployment)
                yield chunk
        finally:
            await stream.aclose()

    def meter(self, attempt: Attempt, request: Request) -> StreamMeter:  # noqa: ARG002
        """Reads LiteLLM's chunks."""
        return StreamMeter()

    def _prepare(self, attempt: Attempt, request: Request) -> tuple[Pin, HostCall, dict[str, Any]]:
        """What LiteLLM's function is called with for this attempt."""
        host: HostCall = request.native
        host.attempt = attempt
        entry = host.entries[attempt.deployment.id]
        kwargs = dict(host.kwargs)
        written_back(host.asked, request, kwargs)
        if attempt.alias != host.asked.model:
            kwargs["model"] = attempt.alias
            for bucket in ("metadata", "litellm_metadata"):
                if isinstance(kwargs.get(bucket), dict):
                    kwargs[bucket]["model_group"] = attempt.alias
        if attempt.deadline is not None:
            self._limit_time(kwargs, entry, attempt.deadline - self._clock.monotonic())
        if request.stream:
            # A stream that fails before its first chunk is ours to fail over, not the stream wrapper's.
            record_disable_fallbacks(kwargs, True)
            host.usage_added = self._usage.added_to(kwargs, attempt.deployment)
        return Pin(self._router, entry, host.before, host.narrowed), host, kwargs

    def _limit_time(self, kwargs: dict[str, Any], entry: Entry, remaining: float) -> None:
        remaining = rounded(remaining)
        configured = self._router._get_timeout(kwargs=kwargs, data=entry["litellm_params"])
        if not isinstance(configured, int | float):
            if configured is not None:
                return  # an httpx.Timeout, one for each phase: the application's own business
            configured = remaining
        if remaining <= configured:
            kwargs["timeout"] = remaining
            if kwargs.get("stream"):
                kwargs["stream_timeout"] = remaining

    async def _in_time(self, attempt: Attempt, work: Any) -> Any:
        """Await, but not past the call's deadline, whatever the provider drips."""
        if attempt.deadline is None:
            return await work
        try:
            async with asyncio.timeout(attempt.deadline - self._clock.monotonic()) as limit:
                return await work
        except TimeoutError as error:
            if limit.expired() and not isinstance(error, Timeout):
                raise DeadlineExceeded("the call's time was over while the provider worked") from None
            raise

    def _read(self, answer: Any, attempt: Attempt, request: Request, host: HostCall) -> Response:
        host.sent = read_response(answer, attempt, request)
        return host.sent


def _check_address(kwargs: Mapping[str, Any]) -> None:
    """LiteLLM sends a deployment's key to whatever address a call names; here the two stay together.

    A call that brings its own key for its own address sends nothing of ours there.

    Raises:
        CallDenied: It names an address alone. LiteLLM neither retries nor falls back.
    """
    named = [name for name in ("api_base", "base_url") if kwargs.get(name)]
    if named and not kwargs.get("api_key"):
        reason = f"{named[0]} cannot be given with a call without api_key: the key belongs to the deployment"
        raise CallDenied(RequestDenied(reason, code="address"))


def _asked(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a selection, besides model and the call's own."""
    return {
        "messages": kwargs.get("messages"),
        "input": kwargs.get("input"),
        "specific_deployment": kwargs.get("specific_deployment"),
    }


def _close(*streams: Any) -> None:
    """Let go of the connection. LiteLLM's sync streams cannot be closed, but what they read from can."""
    for stream in streams:
        close = getattr(getattr(stream, "completion_stream", None), "close", None)
        if close is not None:
            with contextlib.suppress(Exception):  # it may be broken
                close()


def _raise_primary(call: Call) -> None:
    """LiteLLM has nothing left to pick: then the first attempt's error is what the caller should see."""
    for _, outcome in call.record.attempts:
        if outcome.error is not None:
            raise outcome.error
