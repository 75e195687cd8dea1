"""The plugin that holds what an attempt may use before it is sent, and books what it used."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from typing import Any

from llmgate_plugins.context import Call, Context
from llmgate_plugins.decisions import Ranking
from llmgate_plugins.foresight import Objection
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.plugins.limits.admission import Admission, Begun
from llmgate_plugins.plugins.limits.ahead import objections
from llmgate_plugins.plugins.limits.asked import Asked
from llmgate_plugins.plugins.limits.counts import rules_of
from llmgate_plugins.plugins.limits.exhausted import alias_of, is_tight, note, policy_of, wants
from llmgate_plugins.plugins.limits.limit import Limit
from llmgate_plugins.plugins.limits.standing import LimitStanding, standing_of
from llmgate_plugins.plugins.limits.taken import TAKEN, taken_of
from llmgate_plugins.plugins.limits.watch import ALERTS, Watch
from llmgate_plugins.plugins.pending import all_of, carried
from llmgate_plugins.plugins.policies import POLICY
from llmgate_plugins.plugins.preferences import Cheapest
from llmgate_plugins.services import MaybePending, Services, is_pending
from llmgate_plugins.state import MemoryState
from llmgate_plugins.types import Attempt, Deployment, Outcome, Request

__all__ = ["Limits"]


class Limits:
    """Requests, tokens, calls at once and money, per whatever calls can be told apart by.

    Before an attempt is sent, all that it may use of all limits is held in one step, for the
    dearest way it can end; afterwards what it really used is booked in its place. So a hard
    limit is never passed by what could be known beforehand. Where another deployment still
    fits, it is tried; where none does, the call goes on elsewhere or is denied (`RequestDenied`
    with code "budget" or "limit", and the time from which it may succeed).

    A window that began before the state knew anything of it is counted from the ledger, if
    that outlives the process.

    Args:
        limits: All of the gateway's.

    Raises:
        ValueError: Two are for the same.
    """

    def __init__(self, limits: Iterable[Limit] = ()) -> None:
        self.limits = tuple(limits)
        for limit in self.limits:
            if not isinstance(limit, Limit):
                raise TypeError(f"limits must be a Budget, RequestLimit ..., not {limit!r}")
        self._rules = rules_of(self.limits)
        self._for_calls = [rule for rule in self._rules if rule.is_for(None)]
        self._for_shadows = [rule for rule in self._rules if rule.is_for("a call")]
        self._frugal = [rule for rule in self._rules if wants(rule, "cheapest") and not rule.of_attempt]
        self._moving = [rule for rule in self._rules if any(policy_of(one) for one in rule.limits)]
        self._cheapest = Cheapest()
        self._watch = Watch()
        moves_alias = any(alias_of(limit) for limit in self.limits)
        self._admission = Admission(self._watch, moves_alias=moves_alias)
        self._services: Services | None = None

    @property
    def alerts(self) -> tuple[tuple[str, str], ...]:
        """(kind, when) of what is reported."""
        return ALERTS if self.limits else ()

    # ------------------------------------------------------------ before

    @hookimpl(tryfirst=True)
    def admit_request(self, request: Request, context: Context, call: Call, services: Services) -> None:
        """A call for which too little is left goes on under another policy, if that is wanted."""
        for rule in self._moving:
            if rule.of_attempt or not rule.is_for(call.record.shadow_of):
                continue
            count = rule.count(context, None, request.tags)
            policy = policy_of(count.limit) if count is not None else None
            if policy is not None and count is not None and count.is_short(services.clock.time()):
                taken_of(call).leave(count)
                call.stash[POLICY] = policy
                note(call, count, f"goes on under policy {policy!r}")
                return

    @hookimpl(tryfirst=True)
    def rank_deployments(
        self,
        request: Request,
        deployments: Sequence[Deployment],
        context: Context,
        call: Call,
        services: Services,
    ) -> Ranking | None:
        """The cheapest first once the dearest no longer fits, if that is what is wanted."""
        for rule in self._frugal:
            if not rule.is_for(call.record.shadow_of):
                continue
            count = rule.count(context, None, request.tags)
            if count is None or count.limit.on_exhausted != "cheapest" or len(deployments) < 2:
                continue
            if is_tight(count, request, deployments, services.clock.time()):
                note(call, count, "prefers the cheapest")
                return self._cheapest.by_cost(request, deployments, context, services)
        return None

    @hookimpl
    def begin_attempt(
        self, attempt: Attempt, request: Request, context: Context, call: Call, services: Services
    ) -> Begun | Awaitable[Begun]:
        """Hold all that it may use, or say why not."""
        if services is not self._services:
            self._begin_with(services)
        asked = Asked(attempt, request, context, call, services)
        asked.gather(self._for_calls if call.record.shadow_of is None else self._for_shadows)
        if not asked.counts:
            return None
        unknown = attempt.deployment.price is None and not asked.nano_usd  # nor does the host know it
        if unknown and any(one.rule.kind == "budget" for one in asked.counts):
            self._watch.unpriced(attempt.deployment, services)
        admission = self._admission
        if asked.taken.refused is not None or admission.moves_alias:
            before = admission.known_already(asked)
            if before is not None:
                return before
        return admission.ask(asked)

    def _begin_with(self, services: Services) -> None:
        """The first call of a gateway: what its books and its state are like."""
        durable = getattr(services.ledger, "durable", False)
        in_memory = isinstance(services.state, MemoryState)
        self._admission.may_be_lost = bool(durable) and not in_memory
        for rule in self._rules:
            rule.forget()
            # Slots of a process that died come back as it does; only a shared state had others'.
            counted = rule.window is not None or not in_memory
            rule.seeded = bool(durable) and counted
        if in_memory and durable and any(rule.mode == "hard" for rule in self._rules):
            self._watch.look_for_others(services)
        self._services = services

    # ------------------------------------------------------------ after

    @hookimpl
    def end_attempt(self, attempt: Attempt, outcome: Outcome, call: Call, services: Services) -> Any:
        """Book what it used in place of the hold."""
        taken = call.stashed(TAKEN)
        if taken is None:
            return None
        number = attempt.number
        held = taken.leases.pop(number, None)
        if held is None:
            return None
        lease, counts = held
        if outcome.status == "skipped":
            for count, wanted in zip(counts, lease.reservations, strict=False):
                taken.free(number, count)
                count.held -= wanted.amount
            released = services.state.release(lease)
            return released if is_pending(released) else None
        taken.sent = True
        actual: dict[str, int] = {}
        for count, wanted in zip(counts, lease.reservations, strict=False):
            count.held -= wanted.amount
            kind = count.rule.kind
            if kind == "concurrency":
                taken.free(number, count)
                continue
            used = outcome.cost if kind == "budget" else 1 if kind == "requests" else outcome.usage.total
            actual[wanted.key] = used
            count.spent += used
            if count.is_watched:
                self._watch.look(count, services)
        settled = services.state.settle(lease, actual)
        return settled if is_pending(settled) else None

    @hookimpl
    def end_call(self, call: Call, services: Services) -> Any:
        """Give back what was asked for when the caller left, and may have been granted since."""
        taken = call.stashed(TAKEN)
        if taken is None or not taken.asked:
            return None
        leases = list(taken.asked.values())
        taken.asked.clear()
        given_back = [services.state.release(lease) for lease in leases]
        return all_of(given_back) if any(map(is_pending, given_back)) else None

    # ------------------------------------------------------------ looking in

    def foresee(
        self, attempt: Attempt, request: Request, context: Context, call: Call, services: Services
    ) -> MaybePending[Sequence[Objection]]:
        """Which limits would refuse this attempt now, or send the call elsewhere."""
        asked = Asked(attempt, request, context, call, services)
        asked.gather(self._for_calls if call.record.shadow_of is None else self._for_shadows)
        return carried(objections(asked)) if asked.counts else ()

    def report(self) -> tuple[LimitStanding, ...]:
        """How every count stands that this process has had to do with.

        As the state says where it is in this process, else as it said last.
        """
        services = self._services
        if services is None:
            return ()
        now, rows = services.clock.time(), []
        for rule in self._rules:
            for count in rule.counts():
                spent, held = (0, 0) if count.is_over(now) else (count.spent, count.held)
                if isinstance(services.state, MemoryState):
                    spent, held = services.state.spent(count.key, window=count.window)
                rows.append(standing_of(count, spent, held, now, count.refused))
        return tuple(rows)
