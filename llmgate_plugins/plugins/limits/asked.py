"""What an attempt needs of each limit, before anybody is asked whether it may have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmgate_plugins.context import Call, Context
from llmgate_plugins.plugins.estimates import (
    probable_price,
    probable_tokens,
    quoted_cost,
    worst_price,
    worst_tokens,
)
from llmgate_plugins.plugins.limits.counts import Count, Rule
from llmgate_plugins.plugins.limits.taken import taken_of
from llmgate_plugins.services import Reservation, Services
from llmgate_plugins.types import EMPTY, Attempt, Deployment, Request
from llmgate_plugins.usage import quoted, sent_params

__all__ = ["Asked"]


class Asked:
    """The needs of one attempt, gathered.

    Attributes:
        id: Of the lease.
        at: Monotonic time at which the state was asked last.
        counts, wanted: The counts that have something to say of it, and what it needs of each.
        nano_usd, tokens: The worst case, as far as limits are about it.
    """

    __slots__ = (
        "_probable", "_sent", "_worst", "at", "attempt", "call", "context", "counts", "id", "nano_usd",
        "request", "services", "taken", "tokens", "wanted",
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
        self.at = 0.0
        self.counts: list[Count] = []
        self.wanted: list[Reservation] = []
        self.nano_usd = self.tokens = 0
        self._worst: tuple[int, tuple[int, int]] | None = None
        self._probable: tuple[int, int] | None = None
        self._sent: Mapping[str, Any] | None = None

    @property
    def is_hard(self) -> bool:
        """Whether any of the limits is enforced."""
        return any(one.enforced for one in self.wanted)

    def gather(self, rules: Sequence[Rule]) -> None:
        """What is needed of each rule that has anything to say of the attempt."""
        context, attempt, tags = self.context, self.attempt, self.request.tags
        counted, counts, wanted = self.taken.counted, self.counts, self.wanted
        for rule in rules:
            count = rule.count(context, attempt, tags)
            if count is None:
                continue
            if not rule.by_one:
                one = self._amount_of(rule, count)
            elif rule.once and count in counted:
                continue
            else:
                one = count.one
            counts.append(count)
            wanted.append(one)

    def _amount_of(self, rule: Rule, count: Count) -> Reservation:
        """Money or tokens: the worst case, and what it will probably be."""
        deployment, request, money = self.attempt.deployment, self.request, rule.kind == "budget"
        amount = self.amount(count, deployment)
        quote = quoted(deployment, request)
        if quote is None:
            if self._probable is None:
                self._probable = probable_tokens(deployment, request, self._sent)
            read, written = self._probable
            estimate = (
                probable_price(deployment, self._sent or EMPTY, read, written) if money else read + written
            )
        else:
            estimate = quoted_cost(deployment, quote.probable) if money else quote.probable.total
        if not money:
            self.tokens = max(amount, self.tokens)
        elif amount > self.nano_usd:
            self.nano_usd = amount
        return count.reservation(0 if rule.mode == "soft" else amount, estimate)

    def amount(self, count: Count, deployment: Deployment) -> int:
        """What an attempt at this deployment may use of a count at most."""
        if count.rule.by_one:
            return 1
        money = count.rule.kind == "budget"
        request = self.request
        if (quote := quoted(deployment, request)) is not None:
            return quoted_cost(deployment, quote.most) if money else quote.most.total
        if money and deployment.price is None:
            return 0
        assumed = count.limit.assume_output
        if deployment is not self.attempt.deployment:
            sent = sent_params(deployment, request)
            tokens = worst_tokens(deployment, request, sent, assume_output=assumed)
        else:
            if self._sent is None:
                self._sent = sent_params(deployment, request)
            sent = self._sent
            if self._worst is None or self._worst[0] != assumed:
                begun = self.attempt.prefill
                tokens = worst_tokens(deployment, request, sent, assume_output=assumed, prefill=begun)
                self._worst = assumed, tokens
            tokens = self._worst[1]
        return worst_price(deployment, request, sent, *tokens) if money else sum(tokens)

    def count_of(self, key: str) -> tuple[Count, Reservation]:
        """The count with this key, and what is needed of it."""
        pairs = zip(self.counts, self.wanted, strict=True)
        return next((count, wanted) for count, wanted in pairs if wanted.key == key)
