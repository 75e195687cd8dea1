"""Rate limits: calls wait for their turn instead of being refused by the provider."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from itertools import islice
from typing import Final

from llmgate_plugins.context import Call, Context
from llmgate_plugins.decisions import Skip, Wait
from llmgate_plugins.foresight import Objection
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.plugins.arguments import non_negative, positive
from llmgate_plugins.plugins.smoothing.amounts import ONE_REQUEST
from llmgate_plugins.plugins.smoothing.bucket import SECOND, WHOLE
from llmgate_plugins.plugins.smoothing.limits import RateLimit, RateLimitInForce, configured_limits
from llmgate_plugins.plugins.smoothing.pool import Pool
from llmgate_plugins.plugins.smoothing.ticket import Keep, Ticket
from llmgate_plugins.services import Clock, Services
from llmgate_plugins.types import EMPTY, Attempt, Deployment, Outcome, Request
from llmgate_plugins.usage import estimate_usage

__all__ = ["RateLimits"]

LOOKED_AT: Final = 8
"""So many of the deployments that would be tried next are compared when one is busy."""
MOST_SWITCHES: Final = 16
"""After so many deployments that were left as busy, a call waits where it is."""
MOST_KNOWN: Final = 65_536
"""Deployments that are remembered; a host may make new ones for ever."""
SHOWN: Final = 8
"""Deployments named in a report's row."""

_Key = tuple[str | None, ...]


class RateLimits:
    """Requests and tokens per minute and concurrency of each credential and model, kept by waiting.

    A call whose turn has not come waits for it, in order of arrival, if its deadline
    allows; else the deployment is skipped. Where another deployment that this call may
    still try is free sooner, it goes there instead. So limits are known from
    configuration (LiteLLM's `rpm`, `tpm` and `max_parallel_requests`; `input_tpm` and
    `output_tpm` beside them), from the constructor, from the headers of answers, and
    learned from refusals: a 429 or 529 lowers what is in force by a tenth and pauses for
    as long as the provider asks; answers raise it again, never above what is configured
    or told.

    Reason codes: "rate_limit" (its turn comes after the deadline), "busy" (another
    deployment is free sooner). Counts are kept in the memory of one process.

    Args:
        limits: Deployment id or "provider/model" -> limits, which win over configuration.
        keep: Part of each limit that only calls of priority 2 and 3 may use; its last
            half is for priority 3 alone. Such calls also go before the others in line.
        keep_for: Seconds for which that part is kept after the last such call, so that
            nothing lies idle where nobody sets priorities; None keeps it always.
        switch_after: Seconds by which another deployment must be sooner to go there.
        longest_wait: Seconds a call may wait for one deployment; None: its deadline counts.
    """

    def __init__(
        self,
        limits: Mapping[str, RateLimit] = EMPTY,
        *,
        keep: float = 0.2,
        keep_for: float | None = 600.0,
        switch_after: float = 0.05,
        longest_wait: float | None = None,
    ) -> None:
        for name, limit in limits.items():
            if not isinstance(limit, RateLimit):
                raise TypeError(f"the limits of {name!r} must be a RateLimit, not {limit!r}")
        if non_negative("keep", keep) >= 1:
            raise ValueError(f"keep must be below 1, not {keep!r}")
        self.limits = dict(limits)
        kept_for = None if keep_for is None else non_negative("keep_for", keep_for)
        self._keep = Keep(int(keep * WHOLE), kept_for)
        self._switch_after = int(non_negative("switch_after", switch_after) * SECOND)
        self._longest = math.inf if longest_wait is None else positive("longest_wait", longest_wait)
        self._known: dict[str, tuple[Deployment, Pool]] = {}
        self._pools: dict[_Key, Pool] = {}
        self._shared_by: dict[_Key, list[str]] = {}
        self._lock = threading.Lock()
        self._waiting: dict[Call, Ticket] = {}
        self._running: dict[Attempt, Ticket] = {}
        self._clock: Clock | None = None

    # ------------------------------------------------------------ hooks

    @hookimpl
    def begin_attempt(
        self, attempt: Attempt, request: Request, context: Context, call: Call, services: Services
    ) -> Wait | Skip | None:
        """Go ahead, wait for a turn, or leave a deployment that is not free in time."""
        deployment = attempt.deployment
        known = self._known.get(deployment.id)
        pool = known[1] if known is not None and known[0] is deployment else self._pool(deployment, services)
        ticket = self._waiting.pop(call, None) if self._waiting else None
        if ticket is not None and ticket.pool is not pool:
            ticket.pool.leave(ticket)
            ticket = None
        if pool.idle and ticket is None:
            return None
        now = int(services.clock.monotonic() * SECOND)
        if ticket is None:
            lane = 0 if context.priority < 2 else 1 if context.priority == 2 else 2
            estimate, amounts, answers = 0, ONE_REQUEST, 1
            if pool.counts_tokens:
                estimate = estimate_usage(request, 0).input
                amounts, answers = pool.lengths.expected(deployment, request, estimate)
            ticket = Ticket(pool, lane, amounts, estimate, now, answers)
        turn, again = pool.ask(ticket, now)
        if turn == 0:
            self._running[attempt] = ticket
            return None
        reason = self._leaves(attempt, ticket, call, turn, now)
        if reason is not None:
            pool.leave(ticket)
            return Skip(reason, until=services.clock.time() + turn / SECOND)
        self._waiting[call] = ticket
        return Wait(again / SECOND)

    @hookimpl
    def end_attempt(self, attempt: Attempt, outcome: Outcome, services: Services) -> None:
        """Free the slot, book what was really used, learn."""
        ticket = self._running.pop(attempt, None)
        if ticket is not None:
            pool = ticket.pool
        elif outcome.failure is None and outcome.quota is None:
            return
        else:
            pool = self._pool(attempt.deployment, services)
        now = int(services.clock.monotonic() * SECOND)
        pool.end(ticket, outcome, int(attempt.started * SECOND), now)

    @hookimpl
    def end_call(self, call: Call) -> None:
        """A call that left while it waited gives its place back."""
        if self._waiting and (ticket := self._waiting.pop(call, None)) is not None:
            ticket.pool.leave(ticket)

    # ------------------------------------------------------------ whether to go elsewhere

    def _leaves(self, attempt: Attempt, ticket: Ticket, call: Call, turn: int, now: int) -> str | None:
        """Why a call does not wait here, or None."""
        seconds = turn / SECOND
        if seconds >= call.remaining(now / SECOND):
            return "rate_limit"
        if (now - ticket.began) / SECOND + seconds > self._longest:
            return "rate_limit"
        if attempt.reason == "hedge":
            return "busy"  # the first one is under way; a second that has to wait saves no time
        if turn <= self._switch_after:
            return None
        return "busy" if self._sooner_elsewhere(ticket, call, turn, now) else None

    def _sooner_elsewhere(self, ticket: Ticket, call: Call, turn: int, now: int) -> bool:
        """Whether one of the next untried deployments is free sooner.

        A deployment that is skipped is not asked again by this call. So it is left only for
        one that is sooner, and where none is, the call waits: whoever is soonest is never left.
        """
        switches = sum(outcome.skipped == "busy" for _, outcome in call.record.attempts)
        if switches >= MOST_SWITCHES:
            return False
        for one in islice(call.untried, LOOKED_AT):
            known = self._known.get(one.id)
            if known is None:
                return True  # never used, as far as we know: nothing is in its way
            other = known[1]
            if other is ticket.pool:
                continue
            if other.idle or other.peek(ticket.lane, ticket.amounts, now) + self._switch_after < turn:
                return True
        return False

    # ------------------------------------------------------------ pools

    def _pool(self, deployment: Deployment, services: Services) -> Pool:
        """The limits of a deployment, shared with others of the same key, place and model."""
        with self._lock:
            known = self._known.get(deployment.id)
            if known is not None and known[0] is deployment:
                return known[1]
            self._clock = services.clock
            if len(self._known) >= MOST_KNOWN:
                self._forget_quiet()
            key = _key_of(deployment)
            limits = configured_limits(deployment, self.limits)
            pool = self._pools.get(key)
            if pool is None:
                pool = self._pools[key] = Pool(limits, self._keep)
            else:
                pool.lower(limits)
            shown = self._shared_by.setdefault(key, [])
            if len(shown) < SHOWN and deployment.id not in shown:
                shown.append(deployment.id)
            self._known[deployment.id] = deployment, pool
            return pool

    def _forget_quiet(self) -> None:
        """Deployments without a call under way; what was learned of them is learned again."""
        self._known = {name: known for name, known in self._known.items() if known[1].busy}
        self._pools = {key: pool for key, pool in self._pools.items() if pool.busy}
        self._shared_by = {key: ids for key, ids in self._shared_by.items() if key in self._pools}

    def foresee(
        self,
        attempt: Attempt,
        request: Request,  # noqa: ARG002 - as everybody is asked
        context: Context,  # noqa: ARG002
        call: Call,  # noqa: ARG002
        services: Services,
    ) -> tuple[Objection, ...]:
        """Whether there is a line now, as far as this process knows."""
        known = self._known.get(attempt.deployment.id)
        if known is None:
            return ()
        now = int(services.clock.monotonic() * SECOND)
        return tuple(
            Objection(action="wait", reason="rate_limit", detail=f"{kind}: {used} of {limit}, {waiting} wait")
            for kind, _, _, limit, used, waiting in known[1].standing(now)
            if waiting or (limit is not None and used >= limit)
        )

    def report(self) -> tuple[RateLimitInForce, ...]:
        """Every limit in force, deployments without any left out."""
        clock = self._clock
        if clock is None:
            return ()
        now = int(clock.monotonic() * SECOND)
        with self._lock:
            pools = [(key, pool, tuple(self._shared_by[key])) for key, pool in self._pools.items()]
        return tuple(row for key, pool, ids in pools if not pool.idle for row in _rows(key, pool, ids, now))


def _rows(key: _Key, pool: Pool, ids: tuple[str, ...], now: int) -> list[RateLimitInForce]:
    credential, provider, model = key[:3]
    paused = max(pool.paused_until - now, 0) / SECOND
    return [
        RateLimitInForce(
            deployments=ids,
            model=f"{provider}/{model}",
            credential=credential,
            kind=kind,
            configured=configured,
            told=told,
            limit=limit,
            used=used,
            waiting=waiting,
            paused=paused,
        )
        for kind, configured, told, limit, used, waiting in pool.standing(now)
    ]


def _key_of(deployment: Deployment) -> _Key:
    """Whose limits they are. A key may serve several regions and addresses, each with a quota of its own."""
    credential = deployment.credential
    own = deployment.id if credential is None else None
    place = deployment.endpoint.base_url
    return (credential, deployment.provider, deployment.model, place, deployment.region, own)
