"""Sends an attempt through the router's own function for it, and asks the router for candidates."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from litellm.router_utils.fallback_event_handlers import record_disable_fallbacks

from litellm_llmgate import _compat
from litellm_llmgate.answers import read_response
from litellm_llmgate.apart import ApartTransport, entries_of
from litellm_llmgate.asking import begun_answer, is_streamed, written_back
from litellm_llmgate.cached import keep_apart
from litellm_llmgate.deployments import DeploymentBook
from litellm_llmgate.endpoints.meter import EndpointMeter
from litellm_llmgate.endpoints.streams import chat_in, is_kept
from litellm_llmgate.failures import name_cause
from litellm_llmgate.host_call import HostCall, Sending
from litellm_llmgate.letting_go import alet_go, let_go
from litellm_llmgate.meter import StreamMeter, check_ended, check_whole, complete_usage, mark_kept
from litellm_llmgate.selection import OwnSelection, Pin, pinned, run_now
from litellm_llmgate.splicing import StreamSplicer
from litellm_llmgate.supported import supported
from litellm_llmgate.timeouts import client_timeout
from litellm_llmgate.uploads import afresh
from litellm_llmgate.usage_on_streams import UsageOnStreams
from llmgate_plugins.context import Call
from llmgate_plugins.services import Clock
from llmgate_plugins.types import Attempt, Deployment, Request, Response

__all__ = ["RouterTransport"]

Entry = Mapping[str, Any]

BUCKETS: Final = ("metadata", "litellm_metadata")
"""Where LiteLLM keeps what it knows of a call."""


class RouterTransport:
    """One per registered router.

    Attributes:
        splicer: Cuts its chunks.

    Args:
        router: LiteLLM's.
        own: Its own selection.
        book: Its entries as deployments.
        clock: The gateway's.
        plugins_rank: Whether a plugin might rank. If none does, LiteLLM selects once and
            for all, at what that costs without a gateway.
    """

    splicer = StreamSplicer()

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

    def declared(self, name: str) -> Sequence[Deployment]:
        """The group's deployments, or the one with this id, whether they are well or not.

        Raises:
            UnknownModel: There is none.
        """
        return [self._book.of(entry) for entry in entries_of(self._router, name)]

    # ------------------------------------------------------------ sending

    def send(self, attempt: Attempt, request: Request) -> Response:
        """One attempt in this thread."""
        sending, host, kwargs = self._prepare(attempt, request, in_thread=True)
        try:
            with pinned(sending.pin):
                answer = host.function(*host.args, **kwargs)
        except Exception as error:
            name_cause(error)
            raise
        sending.response = read_response(answer, attempt, request)
        return sending.response

    async def asend(self, attempt: Attempt, request: Request) -> Response:
        """One attempt in this event loop."""
        sending, host, kwargs = self._prepare(attempt, request, in_thread=False)
        try:
            with pinned(sending.pin):
                answer = await host.function(*host.args, **kwargs)
        except Exception as error:
            name_cause(error)
            raise
        sending.response = read_response(answer, attempt, request)
        return sending.response

    def open(self, attempt: Attempt, request: Request) -> Iterator[Any]:
        """One attempt as a stream, in this thread."""
        sending, host, kwargs = self._prepare(attempt, request, in_thread=True)
        pin, deployment, stream = sending.pin, attempt.deployment, None
        try:
            with pinned(pin):
                stream = sending.opened = host.function(*host.args, **kwargs)
            is_chat = request.operation == "chat"
            sending.kept = not is_chat and is_kept(stream)
            for chunk in stream:
                if is_chat:
                    check_whole(chunk, pin.stream, deployment)
                    complete_usage(chunk, pin.stream)
                mark_kept(chunk, stream)
                if sending.first is None:
                    sending.first = chunk
                yield chunk
            if not is_chat and not sending.kept and (chat := chat_in(stream)) is not None:
                check_ended(chat, deployment)
        except Exception as error:
            name_cause(error)
            raise
        finally:
            let_go(stream, pin.stream)

    async def aopen(self, attempt: Attempt, request: Request) -> AsyncIterator[Any]:
        """One attempt as a stream, in this event loop."""
        sending, host, kwargs = self._prepare(attempt, request, in_thread=False)
        pin, deployment, stream = sending.pin, attempt.deployment, None
        try:
            with pinned(pin):
                stream = sending.opened = await host.function(*host.args, **kwargs)
            is_chat = request.operation == "chat"
            sending.kept = not is_chat and is_kept(stream)
            async for chunk in stream:
                if is_chat:
                    check_whole(chunk, pin.stream, deployment)
                    complete_usage(chunk, pin.stream)
                mark_kept(chunk, stream)
                if sending.first is None:
                    sending.first = chunk
                yield chunk
            if not is_chat and not sending.kept and (chat := chat_in(stream)) is not None:
                check_ended(chat, deployment)
        except Exception as error:
            name_cause(error)
            raise
        finally:
            await alet_go(stream, pin.stream)

    def meter(self, attempt: Attempt, request: Request) -> StreamMeter | EndpointMeter:
        """Reads LiteLLM's chunks."""
        if request.operation == "chat":
            return StreamMeter()
        return EndpointMeter(request.operation, partial(request.native.is_kept, attempt))

    def apart(self, request: Request, *, same: bool) -> tuple[ApartTransport, Request] | None:  # noqa: ARG002
        """By LiteLLM's own functions, past the router: the call belongs to nobody whom it bills."""
        if request.operation not in ("chat", "embedding"):
            return None
        request = request.replace(messages=tuple(request.messages), params=dict(request.params), native=None)
        return ApartTransport(self._router, self._book), request

    def _prepare(
        self, attempt: Attempt, request: Request, *, in_thread: bool
    ) -> tuple[Sending, HostCall, dict[str, Any]]:
        """What LiteLLM's function is called with for this attempt."""
        host: HostCall = request.native
        entry = host.entries[attempt.deployment.id]
        kwargs = dict(host.kwargs)
        written_back(host.asked, supported(attempt, request), kwargs)
        afresh(request.operation, kwargs)
        if attempt.prefill is not None:
            kwargs["messages"] = [*kwargs["messages"], begun_answer(attempt)]
        if attempt.reason == "hedge":  # LiteLLM notes there whom it asks; another attempt is on its way
            kwargs.update(
                {name: dict(kwargs[name]) for name in BUCKETS if isinstance(kwargs.get(name), dict)}
            )
        if attempt.alias != host.asked.model:
            kwargs["model"] = attempt.alias
            for bucket in BUCKETS:
                if isinstance(kwargs.get(bucket), dict):
                    kwargs[bucket]["model_group"] = attempt.alias
        if host.call is not None:
            keep_apart(kwargs, attempt, host.call)
        self._limit_time(kwargs, entry, attempt, request.operation, in_thread=in_thread)
        if request.stream:
            # A stream that fails before its first chunk is ours to fail over, not the stream wrapper's.
            record_disable_fallbacks(kwargs, True)
            if request.operation == "chat" and self._usage.added_to(kwargs, attempt.deployment):
                host.usage_added = True
        sending = Sending(attempt, Pin(self._router, entry, host.before, host.narrowed))
        host.sendings.append(sending)
        return sending, host, kwargs

    def _limit_time(
        self, kwargs: dict[str, Any], entry: Entry, attempt: Attempt, operation: str, *, in_thread: bool
    ) -> None:
        configured = self._router._get_timeout(kwargs=kwargs, data=entry["litellm_params"])
        if configured is not None and not isinstance(configured, int | float):
            return  # an httpx.Timeout, one for each phase: the application's own business
        stream = is_streamed(kwargs)
        limit = client_timeout(
            attempt,
            configured,
            operation=operation,
            now=self._clock.monotonic(),
            stream=stream,
            in_thread=in_thread,
        )
        if limit is not None:
            kwargs["timeout"] = limit
            if stream:
                kwargs["stream_timeout"] = limit


def _asked(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a selection, besides model and the call's own."""
    return {
        "messages": kwargs.get("messages"),
        "input": said if isinstance(said := kwargs.get("input"), str | list) else None,
        "specific_deployment": kwargs.get("specific_deployment"),
    }


def _raise_primary(call: Call) -> None:
    """LiteLLM has nothing left to pick: then the first attempt's error is what the caller should see."""
    for _, outcome in call.record.attempts:
        if outcome.error is not None:
            raise outcome.error
