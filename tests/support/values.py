"""Values made by hand, for stepping a plugin's methods without a gateway."""

from __future__ import annotations

import random
from typing import Any

from llmgate_plugins.context import NOBODY, Call, Context
from llmgate_plugins.ledger import MemoryLedger
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import Services
from llmgate_plugins.state import MemoryState
from llmgate_plugins.testing import VirtualClock, VirtualSleeper
from llmgate_plugins.types import (
    Attempt,
    Deployment,
    ErrorClass,
    Failure,
    Message,
    Outcome,
    Price,
    Request,
    Scope,
)

__all__ = [
    "DEAR",
    "Tries",
    "a_call",
    "a_deployment",
    "a_failure",
    "a_request",
    "an_attempt",
    "an_error",
    "some_services",
]

DEAR = Price(input=3_000_000_000, output=15_000_000_000)
"""3 and 15 US dollars per million tokens."""

SCOPES = {
    ErrorClass.RATE_LIMIT: Scope.MODEL,
    ErrorClass.QUOTA: Scope.CREDENTIAL,
    ErrorClass.AUTHENTICATION: Scope.CREDENTIAL,
    ErrorClass.PERMISSION: Scope.CREDENTIAL,
    ErrorClass.REGION: Scope.MODEL,
    ErrorClass.MODEL_NOT_FOUND: Scope.MODEL,
    ErrorClass.CONFLICT: Scope.MODEL,
    ErrorClass.INVALID_REQUEST: Scope.REQUEST,
    ErrorClass.CONTEXT_LENGTH: Scope.REQUEST,
    ErrorClass.CONTENT_POLICY: Scope.REQUEST,
    ErrorClass.TOO_LARGE: Scope.REQUEST,
    ErrorClass.LOCAL: Scope.LOCAL,
}
"""Whose fault each class usually is; the deployment's for all others."""


def a_deployment(id: str = "a", alias: str = "fast", **fields: Any) -> Deployment:
    return Deployment(id=id, alias=alias, **({"provider": "p", "model": f"m-{id}"} | fields))


def a_request(text: str = "hello", **fields: Any) -> Request:
    return Request(**({"model": "fast", "messages": (Message(role="user", content=text),)} | fields))


def a_failure(error_class: ErrorClass, **fields: Any) -> Failure:
    return Failure(
        **({"error_class": error_class, "scope": SCOPES.get(error_class, Scope.DEPLOYMENT)} | fields)
    )


def an_error(error_class: ErrorClass, error: BaseException | None = None, **fields: Any) -> Outcome:
    return Outcome(status="error", error=error, failure=a_failure(error_class, **fields))


def an_attempt(deployment: Deployment, number: int = 1, **fields: Any) -> Attempt:
    return Attempt(
        **(
            {"call_id": "call", "number": number, "deployment": deployment, "alias": deployment.alias}
            | {"reason": "first", "started": 0.0}
            | fields
        )
    )


def a_call(
    request: Request | None = None,
    context: Context = NOBODY,
    deadline: float | None = None,
    call_id: str = "call",
) -> Call:
    request = request or a_request()
    record = DecisionRecord(call_id=call_id, model=request.model, at=0.0, context=context)
    return Call(call_id, request, context, 0.0, deadline, record)


def some_services(seed: int = 0) -> Services:
    clock = VirtualClock()
    return Services(
        clock=clock,
        random=random.Random(seed),
        sleeper=VirtualSleeper(clock),
        state=MemoryState(clock=clock),
        ledger=MemoryLedger(),
    )


class Tries:
    """A call under way: failed attempts are added one by one, as the engine would."""

    def __init__(self, deadline: float | None = None, seed: int = 0) -> None:
        self.services = some_services(seed)
        until = None if deadline is None else self.services.clock.monotonic() + deadline
        self.call = a_call(deadline=until, call_id=f"call-{seed}")

    def fail(self, deployment: Deployment, outcome: Outcome) -> tuple[Attempt, Outcome]:
        number = len(self.call.record.attempts) + 1
        attempt = an_attempt(deployment, number, started=self.services.clock.monotonic())
        self.call.record.attempts.append((attempt, outcome))
        return attempt, outcome
