"""The plugin that holds what an attempt may use before it is sent, and books what it used."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final

from llmgate_plugins.context import Call, Context
from llmgate_plugins.decisions import Ranking, Reselect, Skip, Wait
from llmgate_plugins.errors import RequestDenied, StorageError
from llmgate_plugins.foresight import Objection
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.plugins.estimates import worst_cost
from llmgate_plugins.plugins.holds import HOLDS, Hold
from llmgate_plugins.plugins.limits import words
from llmgate_plugins.plugins.limits.ahead import objections
from llmgate_plugins.plugins.limits.counts import Count, rules_of
from llmgate_plugins.plugins.limits.exhausted import alias_of, code_of, denial, note, policy_of, wants
from llmgate_plugins.plugins.limits.limit import Instead, Limit
from llmgate_plugins.plugins.limits.seeding import Seeding
from llmgate_plugins.plugins.limits.standing import LimitStanding, standing_of
from llmgate_plugins.plugins.limits.taken import TAKEN, Asked, taken_of
from llmgate_plugins.plugins.limits.watch import ALERTS, Watch
from llmgate_plugins.plugins.pending import arrived, carried
from llmgate_plugins.plugins.policies import POLICY
from llmgate_plugins.plugins.preferences import Cheapest
from llmgate_plugins.services import Grant, Lease, MaybePending, Refusal, Services, Unseeded, is_pending
from llmgate_plugins.state import MemoryState
from llmgate_plugins.types import Attempt, Deployment, Outcome, Request

__all__ = ["Limits"]

LONGEST_ATTEMPT: Final = 3600.0
"""Seconds a hold lasts for a call without a deadline."""
GRACE: Final = 60.0
"""Seconds a hold outlasts the deadline, for a settlement that is late."""
LOOKED_AT: Final = 64
"""So many of the deployments that would be tried next are asked whether they would still fit."""
SLOT_PATIENCE: Final = 5.0
"""Seconds a call that was sent already waits for its slot between two attempts."""
SEEDINGS: Final = 4
"""How often the state is told of the books for one attempt; more than once only by a race."""

Begun = Wait | Skip | Reselect | None


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
        self._leaving = [rule for rule in self._rules if any(alias_of(one) for one in rule.limits)]
        self._cheapest = Cheapest()
        self._watch = Watch()
        self._seeding = Seeding()
        self._services: Services | None = None
        self._may_be_lost = False  # what the state holds, if it is emptied: the books know better

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
            if self._is_tight(count, request, deployments, services.clock.time()):
                note(call, count, "prefers the cheapest")
                return self._cheapest.by_cost(request, deployments, context, services)
        return None

    def _is_tight(
        self, count: Count, request: Request, deployments: Sequence[Deployment], now: float
    ) -> bool:
        """Whether the dearest deployment no longer fits, as far as this process knows."""
        if count.rule.mode == "soft" or count.is_short(now):
            return count.is_short(now)
        if count.rule.kind != "budget" or count.is_over(now):
            return False
        left = count.limit.limit - count.spent - count.held
        assumed = count.limit.assume_output
        return any(worst_cost(one, request, assume_output=assumed) > left for one in deployments)

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
        if asked.taken.refused is not None or self._leaving:
            before = self._known_already(asked)
            if before is not None:
                return before
        return self._ask(asked)

    def _ask(self, asked: Asked) -> Begun | Awaitable[Begun]:
        """Ask the state for all of it. What is held under this id already is not held twice."""
        services = asked.services
        try:
            answer = services.state.reserve(asked.wanted, ttl=self._ttl(asked), id=asked.id)
        except Exception as error:  # noqa: BLE001 - a hard limit that cannot be checked lets nothing through
            self._unavailable(asked, error)
            return None
        if isinstance(answer, Grant):
            self._granted(asked, answer)
            return None
        if isinstance(answer, Refusal):
            return self._refused(asked, answer)
        asked.taken.ask(asked.attempt.number, Lease(asked.id, tuple(asked.wanted)))
        return self._later(asked, answer)

    def _begin_with(self, services: Services) -> None:
        """The first call of a gateway: what its books and its state are like."""
        durable = getattr(services.ledger, "durable", False)
        in_memory = isinstance(services.state, MemoryState)
        self._may_be_lost = bool(durable) and not in_memory
        for rule in self._rules:
            rule.forget()
            # Slots of a process that died come back as it does; only a shared state had others'.
            counted = rule.window is not None or not in_memory
            rule.seeded = bool(durable) and counted
        self._services = services

    def _ttl(self, asked: Asked) -> float:
        asked.at = asked.services.clock.monotonic()
        remaining = asked.call.remaining(asked.at)
        return (remaining if 0 < remaining < math.inf else LONGEST_ATTEMPT) + GRACE

    def _known_already(self, asked: Asked) -> Begun:
        """What need not be asked: this call was refused as much, or goes to another alias anyway."""
        taken = asked.taken
        refused = taken.refused or {}
        for wanted in asked.wanted:
            known = refused.get(wanted.key)
            if known is not None and wanted.amount > known.available:
                return self._refused(asked, known)
        for count in asked.counts if self._leaving else ():
            alias = alias_of(count.limit)
            if alias is None or alias == asked.attempt.alias or count in taken.left:
                continue
            if count.rule.mode == "soft" and count.is_short(asked.services.clock.time()):
                return self._elsewhere(asked, count)
        return None

    async def _later(self, asked: Asked, answer: Any) -> Begun:
        """An answer that has to be waited for, or books that have to be read first.

        If the caller leaves meanwhile nobody knows whether it is held; `end_call` gives it back.
        """
        services = asked.services
        try:
            answer = await arrived(answer)
            for _ in range(SEEDINGS):
                if not isinstance(answer, Unseeded):
                    break
                seconds = self._seeding.wait(answer, services)
                if seconds > 0:
                    asked.taken.told(asked.attempt.number)
                    return Wait(seconds)
                counts = {count.key: count for count in asked.counts}
                await self._seeding.seed(answer, counts, services)
                answer = await arrived(
                    services.state.reserve(asked.wanted, ttl=self._ttl(asked), id=asked.id)
                )
        except Exception as error:  # noqa: BLE001 - as above
            asked.taken.told(asked.attempt.number)
            self._unavailable(asked, error)
            return None
        asked.taken.told(asked.attempt.number)
        if isinstance(answer, Refusal):
            return self._refused(asked, answer)
        if isinstance(answer, Grant):
            self._granted(asked, answer)
        else:
            self._unavailable(asked, StorageError("the state asks for the books again and again"))
        return None

    # ------------------------------------------------------------ what the state says

    def _granted(self, asked: Asked, grant: Grant) -> None:
        services, number, watch = asked.services, asked.attempt.number, self._watch
        asked.taken.grant(number, grant.lease, asked.counts)
        confirm = partial(self._ask, asked) if self._may_be_lost and asked.is_hard else None
        if asked.nano_usd or asked.tokens or confirm is not None:
            hold = Hold(
                nano_usd=asked.nano_usd,
                tokens=asked.tokens,
                expires=grant.expires,
                at=asked.at,
                confirm=confirm,
            )
            holds = asked.call.stashed(HOLDS)
            if holds is None:
                asked.call.stash[HOLDS] = {number: hold}
            else:
                holds[number] = hold
        for count, level in zip(asked.counts, grant.levels, strict=False):
            if level.resets_at != count.resets_at:
                count.begin_window(level.resets_at)
            count.spent, count.held = level.spent, level.held
            if count.is_watched:
                watch.look(count, services)
        for refusal in grant.exceeded:
            self._exceeded(asked, refusal)
        if watch.state_is_gone:
            watch.available(services)
        if watch.next_end < math.inf and services.clock.time() >= watch.next_end:
            watch.end(services.clock.time(), services)

    def _exceeded(self, asked: Asked, refusal: Refusal) -> None:
        """A limit that is not enforced would have refused."""
        count, wanted = asked.count_of(refusal.key)
        if count.rule.mode != "shadow":
            return
        count.refused += 1
        left, might = (words.amount(count.rule.kind, one) for one in (refusal.available, wanted.amount))
        note(asked.call, count, f"would have refused: {left} left, {might} wanted")
        self._watch.would_refuse(count, refusal.available, wanted.amount, asked.services)

    def _refused(self, asked: Asked, refusal: Refusal) -> Begun:
        """Go elsewhere, try another deployment, wait for a slot, or deny."""
        count, wanted = asked.count_of(refusal.key)
        rule, taken = count.rule, asked.taken
        count.refused += 1
        count.short_of = min(count.short_of or wanted.amount, wanted.amount)
        if rule.kind != "concurrency":  # a slot may be free again for the next
            taken.refuse(refusal)
        self._watch.refused(count, wanted.amount, asked.services)
        if isinstance(count.limit.on_exhausted, Instead) and count not in taken.left:
            return self._elsewhere(asked, count)
        if rule.kind == "concurrency" and rule.once and taken.sent and taken.waited < SLOT_PATIENCE:
            seconds = min(0.05 + taken.waited / 2, 0.5)
            taken.waited += seconds
            return Wait(seconds)
        skip = Skip(code_of(rule), until=refusal.retry_at)
        if rule.of_attempt or taken.sent or self._another_fits(asked, count, refusal.available):
            return skip
        raise RequestDenied(
            denial(count, wanted.amount, refusal), code=code_of(rule), retry_at=refusal.retry_at
        )

    def _elsewhere(self, asked: Asked, count: Count) -> Reselect:
        """Under the policy or the alias that the limit names; once for each limit."""
        instead, call = count.limit.on_exhausted, asked.call
        assert isinstance(instead, Instead)  # noqa: S101 - whoever asks has looked
        asked.taken.leave(count)
        if instead.policy is not None:
            call.stash[POLICY] = instead.policy
            note(call, count, f"goes on under policy {instead.policy!r}")
        else:
            note(call, count, f"goes on under alias {instead.alias!r}")
        return Reselect(instead.alias, reason=code_of(count.rule))

    def _another_fits(self, asked: Asked, count: Count, left: int) -> bool:
        """Whether a deployment that this call may still try might need no more than is left."""
        if count.rule.by_one:
            return False
        if asked.call.fallbacks:
            return True
        return any(asked.amount(count, one) <= left for one in islice(asked.call.untried, LOOKED_AT))

    def _unavailable(self, asked: Asked, error: Exception) -> None:
        """The state cannot be asked. A hard limit then sends nothing; others do not mind."""
        self._watch.unavailable(error, asked.services)
        if not asked.is_hard:
            return
        raise RequestDenied(
            "limits cannot be checked: the state they are kept in does not answer "
            f"({type(error).__name__}); try again soon",
            code="budget_unavailable",
        ) from error

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
        return _all_of(given_back) if any(map(is_pending, given_back)) else None

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


async def _all_of(answers: Sequence[Any]) -> None:
    for answer in answers:
        await arrived(answer)
