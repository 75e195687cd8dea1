"""One attempt of LiteLLM's, as one call of the gateway: this stands in for LiteLLM's own function."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from typing import Any

from litellm_llmgate.answers import native_answer
from litellm_llmgate.endpoints.streams import aopened_endpoint, opened_endpoint
from litellm_llmgate.errors import for_litellm
from litellm_llmgate.headers import WITHOUT_HOOK, headers_of
from litellm_llmgate.host_call import HostCall, Sending
from litellm_llmgate.router_transport import RouterTransport
from litellm_llmgate.streams import aopened, opened
from llmgate_plugins import Gateway
from llmgate_plugins.context import Context, current_context
from llmgate_plugins.errors import LLMGateError
from llmgate_plugins.types import NANO

__all__ = ["Carrier", "caller", "proxy_context", "proxy_told"]

proxy_context: ContextVar[Context | None] = ContextVar("litellm_llmgate_proxy_context", default=None)
"""Who is calling by the proxy's own authentication. Wins over `use_context`."""
proxy_told: ContextVar[list[Mapping[str, Any]] | None] = ContextVar(
    "litellm_llmgate_proxy_told", default=None
)
"""What the calls of a request to the proxy were that failed, or whose answer holds no hidden parameters:
for the headers of its response."""


def caller() -> Context:
    """Who is calling here."""
    return proxy_context.get() or current_context()


class Carrier:
    """Carries LiteLLM's calls through a gateway.

    Args:
        gateway: The gateway.
        transport: The router's.
    """

    def __init__(self, gateway: Gateway, transport: RouterTransport) -> None:
        self.gateway = gateway
        self._transport = transport

    def through_gateway(self, function: Any, operation: str) -> Any:
        """Stands in for LiteLLM's own function: the gateway calls that, once per attempt."""
        if asyncio.iscoroutinefunction(function):

            @functools.wraps(function)
            async def acarried(*args: Any, **kwargs: Any) -> Any:
                host = HostCall(operation, function, args, kwargs)
                request = host.asked
                try:
                    if request.stream:
                        chunks = self.gateway.astream(
                            request, context=caller(), transport=self._transport, call_id=host.call_id
                        )
                        opening = aopened if operation == "chat" else aopened_endpoint
                        answer, sending = await opening(chunks, request)
                    else:
                        response = await self.gateway.acomplete(
                            request, context=caller(), transport=self._transport, call_id=host.call_id
                        )
                        sending = host.answered_by(response)
                        answer = native_answer(response, sending.response if sending else None, request)
                except Exception as error:  # noqa: BLE001 - whatever it is, in LiteLLM's terms
                    _raise_for_litellm(error, host)
                return _noted(answer, host, sending)

            return acarried

        @functools.wraps(function)
        def carried(*args: Any, **kwargs: Any) -> Any:
            host = HostCall(operation, function, args, kwargs)
            request = host.asked
            try:
                if request.stream:
                    chunks = self.gateway.stream(
                        request, context=caller(), transport=self._transport, call_id=host.call_id
                    )
                    opening = opened if operation == "chat" else opened_endpoint
                    answer, sending = opening(chunks, request)
                else:
                    response = self.gateway.complete(
                        request, context=caller(), transport=self._transport, call_id=host.call_id
                    )
                    sending = host.answered_by(response)
                    answer = native_answer(response, sending.response if sending else None, request)
            except Exception as error:  # noqa: BLE001 - whatever it is, in LiteLLM's terms
                _raise_for_litellm(error, host)
            return _noted(answer, host, sending)

        return carried


def _noted(answer: Any, host: HostCall, sending: Sending | None) -> Any:
    """Say in LiteLLM's hidden parameters what became of the call."""
    call = host.call
    if call is None or sending is None:
        return answer
    record = call.record
    forget_frames(outcome.error for _, outcome in record.attempts)
    told = host.told
    hidden, kept = getattr(answer, "_hidden_params", None), proxy_told.get()
    if isinstance(hidden, dict):
        hidden["llmgate"] = told
    elif kept is not None:
        kept.append(told)
    told["call_id"] = call.id
    told |= record.brief()
    host.tell(sending)
    per_1k = None if host.asked.stream else record.cost_per_1k
    told["cost_usd"] = None if host.asked.stream else record.cost / NANO
    told["cost_per_1k_usd"] = None if per_1k is None else per_1k / NANO
    if kept is not None and host.asked.operation in WITHOUT_HOOK and isinstance(hidden, dict):
        hidden["additional_headers"] = {**(hidden.get("additional_headers") or {}), **headers_of(told)}
    return answer


def forget_frames(errors: Iterable[BaseException | None]) -> None:
    """Errors that were failed over are kept in the decision record; what they hold on to is not.

    Their frames hold the whole call, the stream that is handed out included: a reader who
    drops it would never be noticed.
    """
    left = [error for error in errors if error is not None]
    seen: set[int] = set()
    while left:
        error = left.pop()
        if id(error) not in seen:
            seen.add(id(error))
            error.__traceback__ = None
            left.extend(one for one in (error.__cause__, error.__context__) if one is not None)


def _raise_for_litellm(error: Exception, host: HostCall) -> None:
    kept = proxy_told.get()
    if kept is not None:
        kept.append(_failed(error, host))
    made = for_litellm(error, host.asked.model)
    if made is error:
        raise error
    raise made from made.__cause__


def _failed(error: Exception, host: HostCall) -> Mapping[str, Any]:
    """Which call failed, and why it went where it did; of one that was denied only its id is known here."""
    call = host.call
    if call is None:
        call_id = error.call_id if isinstance(error, LLMGateError) else None
        return {} if call_id is None else {"call_id": call_id}
    return {"call_id": call.id, "attempts": len(host.sendings), **call.record.brief()}
