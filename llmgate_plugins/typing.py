"""One Protocol per hook, for plugin authors' type checkers.

Annotate with these where a whole implementation is wanted: `guard: AdmitsRequest = Guard()`.
An implementation may name fewer parameters at run time; these Protocols describe the full call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from llmgate_plugins.alerts import Alert
from llmgate_plugins.context import Call, Context
from llmgate_plugins.decisions import Drop, Ranking, Recovery, Reselect, Scores, Skip, Wait
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import Feedback, MaybePending, Services
from llmgate_plugins.types import Attempt, Deployment, Outcome, Request, Response

__all__ = [
    "AdmitsRequest",
    "BeginsAttempt",
    "DeliversAlert",
    "EndsAttempt",
    "EndsCall",
    "NarrowsDeployments",
    "RanksDeployments",
    "ReceivesFeedback",
    "RecoversAttempt",
    "ReviewsResponse",
    "ScoresDeployments",
]


class AdmitsRequest(Protocol):
    """Implements `admit_request`."""

    def admit_request(
        self, request: Request, context: Context, call: Call, services: Services
    ) -> MaybePending[Request | Response | None]: ...


class NarrowsDeployments(Protocol):
    """Implements `narrow_deployments`."""

    def narrow_deployments(
        self,
        request: Request,
        deployments: Sequence[Deployment],
        context: Context,
        call: Call,
        services: Services,
    ) -> MaybePending[Drop | None]: ...


class RanksDeployments(Protocol):
    """Implements `rank_deployments`."""

    def rank_deployments(
        self,
        request: Request,
        deployments: Sequence[Deployment],
        context: Context,
        call: Call,
        services: Services,
    ) -> MaybePending[Ranking | Sequence[Deployment] | None]: ...


class ScoresDeployments(Protocol):
    """Implements `score_deployments`."""

    def score_deployments(
        self,
        preference: str,
        request: Request,
        deployments: Sequence[Deployment],
        context: Context,
        call: Call,
        services: Services,
    ) -> MaybePending[Scores | None]: ...


class BeginsAttempt(Protocol):
    """Implements `begin_attempt`."""

    def begin_attempt(
        self, attempt: Attempt, request: Request, context: Context, call: Call, services: Services
    ) -> MaybePending[Wait | Skip | Reselect | None]: ...


class EndsAttempt(Protocol):
    """Implements `end_attempt`."""

    def end_attempt(
        self,
        attempt: Attempt,
        outcome: Outcome,
        request: Request,
        context: Context,
        call: Call,
        services: Services,
    ) -> MaybePending[None] | None: ...


class RecoversAttempt(Protocol):
    """Implements `recover_attempt`."""

    def recover_attempt(
        self,
        attempt: Attempt,
        outcome: Outcome,
        untried: Sequence[Deployment],
        fallbacks: Sequence[str],
        request: Request,
        context: Context,
        call: Call,
        services: Services,
    ) -> MaybePending[Recovery | None]: ...


class ReviewsResponse(Protocol):
    """Implements `review_response`."""

    def review_response(
        self, request: Request, response: Response, context: Context, call: Call, services: Services
    ) -> MaybePending[Response | None]: ...


class EndsCall(Protocol):
    """Implements `end_call`."""

    def end_call(
        self, record: DecisionRecord, request: Request, context: Context, call: Call, services: Services
    ) -> MaybePending[None] | None: ...


class ReceivesFeedback(Protocol):
    """Implements `receive_feedback`."""

    def receive_feedback(
        self, feedback: Feedback, record: DecisionRecord | None, services: Services
    ) -> MaybePending[None] | None: ...


class DeliversAlert(Protocol):
    """Implements `deliver_alert`."""

    def deliver_alert(self, alert: Alert, services: Services) -> MaybePending[None] | None: ...
