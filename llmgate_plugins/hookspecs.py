"""The contract: every hook, in the order of a call's life, one class per family.

A hook is five facts: *when* it runs, how answers *combine*, what an *exception* means,
whether it *may be async* (all may), and *since* which version. They are data
(`HookRule`), read by the dispatcher, by the reference page and by a test.

An implementation names the parameters it wants, by these names, and leaves out the
rest. `None` always means "no opinion".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

import pluggy

from llmgate_plugins.alerts import Alert
from llmgate_plugins.context import Call, Context
from llmgate_plugins.decisions import Drop, Ranking, Recovery, Reselect, Scores, Skip, Wait
from llmgate_plugins.limits import Limits
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import Feedback, Services
from llmgate_plugins.types import Attempt, Deployment, Failure, Outcome, Request, Response

__all__ = [
    "FAMILIES",
    "PROJECT",
    "RULES",
    "AccountingSpec",
    "AlertingSpec",
    "Combine",
    "FailoverSpec",
    "HookRule",
    "OnError",
    "PolicySpec",
    "SelectionSpec",
    "hookimpl",
]

PROJECT: Final = "llmgate"
MARK: Final = f"{PROJECT}_impl"
"""The attribute by which an implementation is known."""
hookspec: Final = pluggy.HookspecMarker(PROJECT)
hookimpl: Final = pluggy.HookimplMarker(PROJECT)
"""Marks a method as an implementation of the hook of the same name."""

F = TypeVar("F", bound=Callable[..., object])


class Combine(StrEnum):
    """How the answers of several plugins become one."""

    FOLD = "fold"
    """Each sees the last one's result."""
    FIRST = "first"
    """The first opinion wins; the rest are not asked."""
    TELL = "tell"
    """All are told; answers are ignored."""


class OnError(StrEnum):
    """What it means when a plugin raises."""

    CLOSED = "closed"
    """The call stops with `HookFailed`."""
    SKIP = "skip"
    """That opinion is skipped, noted in the decision record, and the next is asked."""
    ISOLATE = "isolate"
    """The others are still told; reported with the plugin's name; the call goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HookRule:
    """The five facts of a hook. That it may be async holds for all."""

    name: str
    family: str
    when: str
    combine: Combine
    on_error: OnError
    since: str
    answers: tuple[type, ...] = ()
    """The types an answer may have, besides None."""
    may_be_async: bool = True


_rules: dict[str, HookRule] = {}
RULES: Final[Mapping[str, HookRule]] = _rules
"""Hook name -> its rule, in the order of a call's life."""


def _hook(
    family: str,
    *,
    when: str,
    combine: Combine,
    on_error: OnError,
    answers: tuple[type, ...] = (),
    since: str = "0.1",
) -> Callable[[F], F]:
    def mark(function: F) -> F:
        name = function.__name__
        _rules[name] = HookRule(
            name=name,
            family=family,
            when=when,
            combine=combine,
            on_error=on_error,
            since=since,
            answers=answers,
        )
        return hookspec(function)

    return mark


class PolicySpec:
    """What may be asked, and what may be answered. A plugin that fails here stops the call."""

    @_hook(
        "policy",
        when="once per call, before deployments are considered",
        combine=Combine.FOLD,
        on_error=OnError.CLOSED,
        answers=(Request, Response),
    )
    def admit_request(
        self, request: Request, context: Context, call: Call, services: Services
    ) -> Request | Response | None:
        """Let a request in, as it is or changed; answer it at once; or deny it.

        Answer: the request to go on with; a `Response` to answer at once without any
        attempt (a cache, say), which ends the round; None leaves it as it is. One with the
        `deployment_id` of whoever made it is left aside where that may not serve this call,
        or one that it was `begun_by`.
        Raise: `RequestDenied`, with a reason fit for the caller's eyes.
        """
        raise NotImplementedError

    @_hook(
        "policy",
        when="once per answer, before the caller has it; of a stream at its end, when the text is delivered",
        combine=Combine.FOLD,
        on_error=OnError.CLOSED,
        answers=(Response,),
    )
    def review_response(
        self, request: Request, response: Response, context: Context, call: Call, services: Services
    ) -> Response | None:
        """Guard the answer, change it, or keep a copy.

        Answer: the response to hand out; None leaves it as it is. What a stream has
        delivered can no longer change: there the answer only serves the next plugin.
        Raise: `ResponseRejected`; it ends a stream with that error.
        """
        raise NotImplementedError


class SelectionSpec:
    """Which deployments may serve, and which should.

    A plugin that fails to say who may not serve stops the call; one that fails to say who
    should is skipped: an order can only reorder what may serve anyway.
    """

    @_hook(
        "selection",
        when="once per selection: per alias that is tried",
        combine=Combine.FOLD,
        on_error=OnError.CLOSED,
        answers=(Drop,),
    )
    def narrow_deployments(
        self,
        request: Request,
        deployments: Sequence[Deployment],
        context: Context,
        call: Call,
        services: Services,
    ) -> Drop | None:
        """Hard constraints: region, capability, health, budget.

        Answer: `Drop({id: reason})`; None keeps all. The next plugin sees what is left.
        Nothing can put a dropped deployment back. It holds for answers that were kept, too:
        for these it is asked before anything is selected (`call.hypothetical` is True then), and
        what is dropped for its state alone is told as `Drop(..., passing=True)`.
        """
        raise NotImplementedError

    @_hook(
        "selection",
        when="once per selection, after narrowing",
        combine=Combine.FIRST,
        on_error=OnError.SKIP,
        answers=(Ranking, Sequence),
    )
    def rank_deployments(
        self,
        request: Request,
        deployments: Sequence[Deployment],
        context: Context,
        call: Call,
        services: Services,
    ) -> Ranking | Sequence[Deployment] | None:
        """Preference among what is left: price, latency, weight, stickiness.

        Answer: deployments, best first, or a `Ranking` with scores and a reason. With
        no opinion from anybody the host picks (LiteLLM's own strategy, or the
        configured order).
        """
        raise NotImplementedError

    @_hook(
        "selection",
        when="while a policy ranks that prefers, or weighs in, something by a name that is not built in",
        combine=Combine.FIRST,
        on_error=OnError.SKIP,
        answers=(Scores,),
        since="0.2",
    )
    def score_deployments(
        self,
        preference: str,
        request: Request,
        deployments: Sequence[Deployment],
        context: Context,
        call: Call,
        services: Services,
    ) -> Scores | None:
        """How a preference of your own values deployments: `prefer: greenest`, or a weight of it.

        Answer: `Scores({id: score})`, less is better; None if `preference` is not yours.
        `deployments` are those in question: of a large group a few, others at the next call.
        """
        raise NotImplementedError


class AccountingSpec:
    """Reserve, settle, count. A plugin that fails here is isolated: the others are still told."""

    @_hook(
        "accounting",
        when="before each attempt is sent",
        combine=Combine.FIRST,
        on_error=OnError.ISOLATE,
        answers=(Wait, Skip, Reselect),
    )
    def begin_attempt(
        self, attempt: Attempt, request: Request, context: Context, call: Call, services: Services
    ) -> Wait | Skip | Reselect | None:
        """Reserve money, tokens or a slot; write the intent.

        Answer: `Wait(seconds)` to be asked again after that time; `Skip(reason)` to
        leave this deployment out of this call; `Reselect()` to choose anew; None to go
        ahead. Whoever answered None here is told `end_attempt` for this attempt exactly
        once, also if a later plugin skips it (status "skipped").
        Raise: `RequestDenied` if no other deployment would do either. It ends a call of
        which nothing was sent so far; any other leaves this deployment out.
        """
        raise NotImplementedError

    @_hook(
        "accounting",
        when="once for each attempt that was begun, whatever its end",
        combine=Combine.TELL,
        on_error=OnError.ISOLATE,
    )
    def end_attempt(
        self,
        attempt: Attempt,
        outcome: Outcome,
        request: Request,
        context: Context,
        call: Call,
        services: Services,
    ) -> None:
        """Settle; feed health. Told on success, error, cancel and abandon alike."""
        raise NotImplementedError

    @_hook(
        "accounting",
        when="exactly once per call, whatever happened",
        combine=Combine.TELL,
        on_error=OnError.ISOLATE,
    )
    def end_call(
        self, record: DecisionRecord, request: Request, context: Context, call: Call, services: Services
    ) -> None:
        """The terminal event, with the complete decision record."""
        raise NotImplementedError

    @_hook(
        "accounting",
        when="once for each feedback, when it is in the books, which may be days after the call",
        combine=Combine.TELL,
        on_error=OnError.ISOLATE,
        since="0.2",
    )
    def receive_feedback(self, feedback: Feedback, record: DecisionRecord | None, services: Services) -> None:
        """Learn what somebody thought of an answer.

        `record`: of the call it is about; None if that is not among the last 1,000 of this
        process. `feedback.deployment` is told wherever it can be found out.
        """
        raise NotImplementedError


class FailoverSpec:
    """How long to wait, what a failure means, what to do about it. A plugin that fails here is skipped."""

    @_hook(
        "failover",
        when="before each attempt, to set its time limits",
        combine=Combine.FIRST,
        on_error=OnError.SKIP,
        answers=(Limits,),
    )
    def limit_attempt(
        self,
        deployment: Deployment,
        alternatives: int,
        request: Request,
        context: Context,
        call: Call,
        services: Services,
    ) -> Limits | None:
        """How long this deployment may take to connect, to begin, to go on; whether to hedge.

        `alternatives`: how many deployments and fallback aliases this call has not tried
        yet. With no opinion from anybody: 5 s to connect, else the call's deadline.
        """
        raise NotImplementedError

    @_hook(
        "failover",
        when="once for each attempt that failed, before anybody is told",
        combine=Combine.FIRST,
        on_error=OnError.SKIP,
        answers=(Failure,),
    )
    def classify_error(
        self,
        error: BaseException,
        attempt: Attempt,
        request: Request,
        context: Context,
        call: Call,
        services: Services,
    ) -> Failure | None:
        """What kind of failure this is, and who is to blame.

        With no opinion from anybody the built-in tables decide (`classify`).
        """
        raise NotImplementedError

    @_hook(
        "failover",
        when="after each failed attempt, while another may still answer the caller",
        combine=Combine.FIRST,
        on_error=OnError.SKIP,
        answers=(*Recovery.__args__,),
    )
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
    ) -> Recovery | None:
        """Retry after a delay, next deployment, next alias, or give up.

        `untried`: deployments of this alias not tried yet, best first; `fallbacks`:
        aliases that may come after this one. All attempts so far stand in
        `call.record.attempts`. After content was delivered this is asked only where the
        caller chose to go on (`request.on_break`). With no opinion from anybody the engine gives up.
        """
        raise NotImplementedError


class AlertingSpec:
    """Who is told that something is wrong. A plugin that fails here is isolated: the others are told."""

    @_hook(
        "alerting",
        when="once for each alert that is not a repeat, off the path of any call",
        combine=Combine.TELL,
        on_error=OnError.ISOLATE,
        since="0.2",
    )
    def deliver_alert(self, alert: Alert, services: Services) -> None:
        """Hand an alert to people or machines: a channel.

        Each plugin is told on a thread of its own, one alert after another, so it may take
        its time and try again; what it raises is logged with its name. An alert is told
        when it begins, when it becomes more severe, again after some hours while it goes
        on, and when it is over (`alert.resolved`), if its beginning was told.
        """
        raise NotImplementedError


FAMILIES: Final[tuple[type, ...]] = (PolicySpec, SelectionSpec, AccountingSpec, FailoverSpec, AlertingSpec)

LIFE: Final = (
    "admit_request",
    "narrow_deployments",
    "rank_deployments",
    "score_deployments",
    "limit_attempt",
    "begin_attempt",
    "classify_error",
    "end_attempt",
    "recover_attempt",
    "review_response",
    "end_call",
    "receive_feedback",
    "deliver_alert",
)
"""Hook names in the order of a call's life; what is off its path comes last."""
