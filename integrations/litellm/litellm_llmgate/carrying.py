"""One attempt of LiteLLM's, as one call of the gateway: this stands in for LiteLLM's own function."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any

from litellm_llmgate.answers import native_answer
from litellm_llmgate.errors import for_litellm
from litellm_llmgate.router_transport import HostCall, RouterTransport
from litellm_llmgate.streams import aopened, opened
from llmgate_plugins import Gateway
from llmgate_plugins.context import Context, current_context
from llmgate_plugins.types import NANO, Request

__all__ = ["Carrier", "caller", "proxy_context"]

proxy_context: ContextVar[Context | None] = ContextVar("litellm_llmgate_proxy_context", default=None)
"""Who is calling by the proxy's own authentication. Wins over `use_context`."""


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
                request = HostCall(operation, function, args, kwargs).asked
                try:
                    if request.stream:
                        chunks = self.gateway.astream(request, context=caller(), transport=self._transport)
                        return self._noted(await aopened(chunks, request), request)
                    response = await self.gateway.acomplete(
                        request, context=caller(), transport=self._transport
                    )
                except Exception as error:  # noqa: BLE001 - whatever it is, in LiteLLM's terms
                    _raise_for_litellm(error, request)
                return self._noted(native_answer(response, request.native.sent, request), request)

            return acarried

        @functools.wraps(function)
        def carried(*args: Any, **kwargs: Any) -> Any:
            request = HostCall(operation, function, args, kwargs).asked
            try:
                if request.stream:
                    chunks = self.gateway.stream(request, context=caller(), transport=self._transport)
                    return self._noted(opened(chunks, request), request)
                response = self.gateway.complete(request, context=caller(), transport=self._transport)
            except Exception as error:  # noqa: BLE001 - whatever it is, in LiteLLM's terms
                _raise_for_litellm(error, request)
            return self._noted(native_answer(response, request.native.sent, request), request)

        return carried

    def _noted(self, answer: Any, request: Request) -> Any:
        """Say in LiteLLM's hidden parameters what became of the call."""
        hidden = getattr(answer, "_hidden_params", None)
        call = request.native.call
        if call is None:
            return answer
        forget_frames(outcome.error for _, outcome in call.record.attempts)
        if not isinstance(hidden, dict):
            return answer
        attempt = request.native.attempt
        hidden["llmgate"] = {
            "call_id": call.id,
            "deployment": attempt.deployment.id,
            "attempts": attempt.number,
            "cost_usd": None if request.stream else call.record.cost / NANO,
        }
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


def _raise_for_litellm(error: Exception, request: Request) -> None:
    made = for_litellm(error, request.model)
    if made is error:
        raise error
    raise made from made.__cause__
