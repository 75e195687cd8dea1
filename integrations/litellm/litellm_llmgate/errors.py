"""LLMGate's errors in a shape that LiteLLM understands: each is both, so either `except` catches it.

Ours is the first base of each: LiteLLM's and openai's initialisers hand on to the next
class in line, and ours take other arguments.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Final

import httpx
from litellm.exceptions import (
    APIConnectionError,
    GuardrailRaisedException,
    PermissionDeniedError,
    ServiceUnavailableError,
    Timeout,
)

from llmgate_plugins.errors import (
    AllDeploymentsUnavailable,
    DeadlineExceeded,
    HookFailed,
    LLMGateError,
    RequestDenied,
    ResponseRejected,
    StreamInterrupted,
)
from llmgate_plugins.reasons import REASONS

__all__ = [
    "INVALID_CALL",
    "AttemptTimedOut",
    "CallDenied",
    "CallOutOfTime",
    "CallRejected",
    "NothingAvailable",
    "NothingEligible",
    "PluginFailed",
    "StreamBroken",
    "for_litellm",
]

NAME = "llmgate"
INVALID_CALL = "invalid_call"
"""The code of a denial for which the caller's own mistake is to blame."""
RULED_OUT: Final = frozenset(
    one.code
    for one in REASONS
    if one.decision == "dropped" and one.plugin in ("ContextConstraints", "Policies", "Capabilities")
)
"""Reasons that will hold whenever the same is asked again: what a deployment is, and what a policy wants."""


_STATUSES: Final[Mapping[str, int]] = {
    INVALID_CALL: 400,
    "budget": 429,
    "limit": 429,
    "budget_unavailable": 503,
}
"""Code of a denial -> its status, where it is neither 403 nor said when it may succeed."""


class CallDenied(RequestDenied, GuardrailRaisedException):  # type: ignore[misc]
    """A policy said no. LiteLLM neither retries it nor falls back.

    Attributes:
        status_code: 429 where a limit has no room, or if it is known when it may succeed, then with a
            `retry-after` header; 503 where limits cannot be checked; 400 for a mistake in the call; else 403.
    """

    def __init__(self, error: RequestDenied) -> None:
        status = _STATUSES.get(error.code, 403)
        GuardrailRaisedException.__init__(
            self,
            guardrail_name=f"{NAME}:{error.plugin}" if error.plugin else NAME,
            message=error.reason,
            should_wrap_with_default_message=False,
            status_code=status if error.retry_at is None else 429,
            blocked_content=True,
        )
        self.reason = error.reason
        self.code = error.code
        self.retry_at = error.retry_at
        self.plugin = error.plugin
        self.type = "request_denied"
        self.param = None
        self.headers = _retry_after(error.retry_at)


class CallRejected(CallDenied, ResponseRejected):
    """A policy said no to the answer."""


class PluginFailed(HookFailed, GuardrailRaisedException):  # type: ignore[misc]
    """A plugin raised where that stops the call. No provider is to blame, so nothing is retried."""

    def __init__(self, error: HookFailed) -> None:
        GuardrailRaisedException.__init__(
            self,
            guardrail_name=f"{NAME}:{error.plugin}",
            message=str(error),
            should_wrap_with_default_message=False,
            status_code=500,
        )
        self.plugin = error.plugin
        self.hook = error.hook
        self.type = "plugin_failed"
        self.param = None


class NothingAvailable(AllDeploymentsUnavailable, ServiceUnavailableError):  # type: ignore[misc]
    """Nothing of this group could be tried. LiteLLM falls back to another group, if one is configured.

    Attributes:
        headers: `retry-after`, if it is known when something can be.
    """

    def __init__(self, error: AllDeploymentsUnavailable) -> None:
        ServiceUnavailableError.__init__(self, message=str(error), llm_provider=NAME, model=error.alias)
        self.alias = error.alias
        self.reasons = error.reasons
        self.retry_at = error.retry_at
        self.headers = _retry_after(error.retry_at)


class NothingEligible(AllDeploymentsUnavailable, PermissionDeniedError):  # type: ignore[misc]
    """Policies rule out all of this group for this call. LiteLLM falls back to another group, if it may.

    With status 403, since asking again would change nothing: clients retry a 503.
    """

    def __init__(self, error: AllDeploymentsUnavailable) -> None:
        message = f"no deployment of {error.alias!r} may serve this call{error.why}"
        request = httpx.Request("POST", "https://llmgate.invalid")  # openai's errors want one
        response = httpx.Response(403, request=request)
        PermissionDeniedError.__init__(
            self, message=message, llm_provider=NAME, model=error.alias, response=response
        )
        self.alias = error.alias
        self.reasons = error.reasons
        self.retry_at = error.retry_at
        self.type = "request_denied"
        self.param = None


class CallOutOfTime(DeadlineExceeded, Timeout):  # type: ignore[misc]
    """The call's time was over."""

    def __init__(self, error: DeadlineExceeded, model: str) -> None:
        Timeout.__init__(self, message=str(error), model=model, llm_provider=NAME)

    def __str__(self) -> str:
        return str(self.message)


class AttemptTimedOut(Timeout, TimeoutError):  # type: ignore[misc]
    """A deployment took longer than its attempt may."""

    def __init__(self, error: TimeoutError, model: str) -> None:
        Timeout.__init__(self, message=str(error), model=model, llm_provider=NAME)

    def __str__(self) -> str:
        return str(self.message)


class StreamBroken(StreamInterrupted, APIConnectionError):  # type: ignore[misc]
    """A stream broke after content had been delivered; `partial` holds that."""

    def __init__(self, error: StreamInterrupted, model: str) -> None:
        APIConnectionError.__init__(self, message=str(error), llm_provider=NAME, model=model)
        self.partial = error.partial


def for_litellm(error: Exception, model: str) -> Exception:
    """The same error as LiteLLM's callers expect it; a provider's own error is returned as it is."""
    made: Exception
    match error:
        case CallDenied() | PluginFailed() | AttemptTimedOut():
            return error
        case ResponseRejected():
            made = CallRejected(error)
        case RequestDenied():
            made = CallDenied(error)
        case HookFailed():
            made = PluginFailed(error)
        case AllDeploymentsUnavailable():
            is_final = bool(error.reasons) and RULED_OUT.issuperset(error.reasons.values())
            made = NothingEligible(error) if is_final else NothingAvailable(error)
        case DeadlineExceeded():
            made = CallOutOfTime(error, model)
        case StreamInterrupted():
            made = StreamBroken(error, model)
        case LLMGateError():
            made = ServiceUnavailableError(message=str(error), llm_provider=NAME, model=model)
        case TimeoutError():
            made = AttemptTimedOut(error, model)
        case _:
            return error
    if isinstance(made, LLMGateError) and isinstance(error, LLMGateError):
        made.call_id = error.call_id
    made.__cause__ = error.__cause__ or error
    for note in getattr(error, "__notes__", ()):
        made.add_note(note)
    return made


def _retry_after(moment: float | None) -> dict[str, str]:
    """As a header, if it is known."""
    return {} if moment is None else {"retry-after": str(max(0, math.ceil(moment - time.time())))}
