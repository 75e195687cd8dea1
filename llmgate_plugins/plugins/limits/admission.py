"""Asks the state for what an attempt may use, and says what becomes of the attempt by its answer."""

from __future__ import annotations

import math
from collections.abc import Awaitable
from functools import partial
from itertools import islice
from typing import Any, Final

from llmgate_plugins._building import builder
from llmgate_plugins.decisions import Reselect, Skip, Wait
from llmgate_plugins.errors import RequestDenied, StorageError
from llmgate_plugins.plugins.holds import HOLDS, Hold
from llmgate_plugins.plugins.limits import words
from llmgate_plugins.plugins.limits.asked import Asked
from llmgate_plugins.plugins.limits.counts import Count
from llmgate_plugins.plugins.limits.exhausted import alias_of, code_of, denial, note
from llmgate_plugins.plugins.limits.limit import Instead
from llmgate_plugins.plugins.limits.seeding import Seeding
from llmgate_plugins.plugins.limits.watch import Watch
from llmgate_plugins.plugins.pending import arrived
from llmgate_plugins.plugins.policies import POLICY
from llmgate_plugins.services import Grant, Lease, Refusal, Unseeded

__all__ = ["Admission", "Begun"]

_hold: Final = builder(Hold)

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


class Admission:
    """Holds what attempts may use, and where the state refuses sends them elsewhere or denies them.

    Args:
        watch: Told of what people should know.
        moves_alias: Whether any of the limits has calls go on under another alias.

    Attributes:
        may_be_lost: Whether the state may be emptied and forget what it holds, where the books
            know better.
    """

    def __init__(self, watch: Watch, *, moves_alias: bool) -> None:
        self.moves_alias = moves_alias
        self.may_be_lost = False
        self._watch = watch
        self._seeding = Seeding()

    def known_already(self, asked: Asked) -> Begun:
        """What need not be asked: this call was refused as much, or goes to another alias anyway."""
        taken = asked.taken
        refused = taken.refused or {}
        for wanted in asked.wanted:
            known = refused.get(wanted.key)
            if known is not None and wanted.amount > known.available:
                return self._refused(asked, known)
        for count in asked.counts if self.moves_alias else ():
            alias = alias_of(count.limit)
            if alias is None or alias == asked.attempt.alias or count in taken.left:
                continue
            if count.rule.mode == "soft" and count.is_short(asked.services.clock.time()):
                return self._elsewhere(asked, count)
        return None

    def ask(self, asked: Asked) -> Begun | Awaitable[Begun]:
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

    def _ttl(self, asked: Asked) -> float:
        asked.at = asked.services.clock.monotonic()
        remaining = asked.call.remaining(asked.at)
        return (remaining if 0 < remaining < math.inf else LONGEST_ATTEMPT) + GRACE

    # ------------------------------------------------------------ what the state says

    def _granted(self, asked: Asked, grant: Grant) -> None:
        services, number, watch = asked.services, asked.attempt.number, self._watch
        asked.taken.grant(number, grant.lease, asked.counts)
        confirm = partial(self.ask, asked) if self.may_be_lost and asked.is_hard else None
        if asked.nano_usd or asked.tokens or confirm is not None:
            hold = _hold(
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
        # What is more than the whole limit fits into no window.
        retry_at = None if wanted.amount > count.limit.limit else refusal.retry_at
        skip = Skip(code_of(rule), until=retry_at)
        if rule.of_attempt or taken.sent or self._another_fits(asked, count, refusal.available):
            return skip
        raise RequestDenied(denial(count, wanted.amount, refusal), code=code_of(rule), retry_at=retry_at)

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
