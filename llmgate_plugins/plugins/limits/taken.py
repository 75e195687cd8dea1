"""What limits hold for one call: a lease per attempt, and what is settled of it already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from llmgate_plugins.context import Call, Context, StashKey
from llmgate_plugins.plugins.estimates import probable_cost, probable_tokens, worst_price, worst_tokens
from llmgate_plugins.plugins.limits.counts import Count, Rule
from llmgate_plugins.services import Lease, Reservation, Services
from llmgate_plugins.types import Attempt, Deployment, Outcome, Request

__all__ = ["TAKEN", "Asked", "Taken", "taken_of", "used"]


class Asked:
    """What an attempt needs of each limit, before anybody is asked whether it may have it.

    Attributes:
        id: Of the lease.
        nano_usd, tokens: The worst case, as far as limits are about it.
    """

    __slots__ = (
        "_worst", "attempt", "call", "context", "counts", "id", "nano_usd", "request", "services",
        "taken", "tokens", "wanted",
    )  # fmt: skip

    def __init__(
        self, attempt: Attempt, request: Request, context: Context, call: Call, services: Services
    ) -> None:
        self.attempt = attempt
        self.request = request
        self.context = context
        self.call = call
        self.services = services
        self.taken = taken_of(call)
        self.id = f"{attempt.call_id}:{attempt.number}"
        self.counts: list[Count] = []
        self.wanted: list[Reservation] = []
        self.nano_usd = self.tokens = 0
        self._worst: dict[int, tuple[int, int]] = {}

    def add(self, rule: Rule) -> None:
        """What is needed of this rule, if it has anything to say of the attempt."""
        count = rule.count(self.context, self.attempt, self.request.tags)
        if count is None:
            return
        if rule.by_one:
            if rule.once and count in self.taken.counted:
                return
            wanted = count.one
        else:
            deployment = self.attempt.deployment
            amount = self.amount(count, deployment)
            if rule.kind == "budget":
                self.nano_usd = max(self.nano_usd, amount)
                estimate = probable_cost(deployment, self.request)
            else:
                self.tokens = max(self.tokens, amount)
                estimate = sum(probable_tokens(deployment, self.request))
            wanted = count.reservation(0 if rule.mode == "soft" else amount, estimate)
        self.counts.append(count)
        self.wanted.append(wanted)

    def amount(self, count: Count, deployment: Deployment) -> int:
        """What an attempt at this deployment may use of a count at most."""
        kind = count.rule.kind
        if count.rule.by_one or (kind == "budget" and deployment.price is None):
            return 1 if count.rule.by_one else 0
        assumed = count.limit.assume_output
        if deployment is not self.attempt.deployment:
            tokens = worst_tokens(deployment, self.request, assume_output=assumed)
        else:
            tokens = self._worst.get(assumed) or worst_tokens(deployment, self.request, assume_output=assumed)
            self._worst[assumed] = tokens
        return worst_price(deployment, self.request, *tokens) if kind == "budget" else sum(tokens)

    def count_of(self, key: str) -> tuple[Count, Reservation]:
        """The count with this key, and what is needed of it."""
        pairs = zip(self.counts, self.wanted, strict=True)
        return next((count, wanted) for count, wanted in pairs if wanted.key == key)


class Taken:
    """What one call has taken.

    Attributes:
        leases: Number of an attempt -> its lease and the counts it is of.
        asked: Number of an attempt -> a lease of which nobody has said whether it was granted.
        counted: Counts that have this call already -> the attempt that took it.
        left: Counts for whose sake the call goes on elsewhere.
        refused: Key -> what was left when an attempt was refused.
        sent: Whether an attempt was sent.
        waited: Seconds that it has waited for a slot between two attempts.
    """

    __slots__ = ("asked", "counted", "leases", "left", "refused", "sent", "waited")

    def __init__(self) -> None:
        self.leases: dict[int, tuple[Lease, Sequence[Count]]] = {}
        self.asked: dict[int, Lease] = {}
        self.counted: dict[Count, int] = {}
        self.left: set[Count] = set()
        self.refused: dict[str, int] = {}
        self.sent = False
        self.waited = 0.0

    def grant(self, number: int, lease: Lease, counts: Sequence[Count]) -> None:
        """All of it is held for this attempt."""
        self.leases[number] = lease, counts
        for count in counts:
            if count.rule.once:
                self.counted[count] = number

    def end(self, number: int, counts: Sequence[Count], *, sent: bool) -> None:
        """This attempt is over. A request stays counted; a slot is free again."""
        self.sent = self.sent or sent
        for count in counts:
            free = not sent or count.rule.kind == "concurrency"
            if free and self.counted.get(count) == number:
                del self.counted[count]


def taken_of(call: Call) -> Taken:
    """What this call has taken; nothing so far."""
    taken = call.stashed(TAKEN)
    if taken is None:
        taken = call.stash[TAKEN] = Taken()
    return taken


def used(counts: Sequence[Count], outcome: Outcome) -> Mapping[str, int]:
    """What an attempt really used, by key."""
    tokens = -1
    actual: dict[str, int] = {}
    for count in counts:
        kind = count.rule.kind
        if kind == "budget":
            actual[count.key] = outcome.cost
        elif kind == "requests":
            actual[count.key] = 1
        elif kind == "tokens":
            if tokens < 0:
                tokens = outcome.usage.total
            actual[count.key] = tokens
    return actual


TAKEN: Final[StashKey[Taken]] = StashKey("limits")
"""What limits hold for a call."""
