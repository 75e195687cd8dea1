"""Budgets: money is held before an attempt is sent, and settled at what it cost."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Literal, TypeVar, get_args

from llmgate_plugins.context import Call, Context, StashKey
from llmgate_plugins.decisions import Ranking, Skip
from llmgate_plugins.errors import RequestDenied, StorageError
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.plugins.arguments import positive, whole
from llmgate_plugins.plugins.estimates import worst_cost
from llmgate_plugins.plugins.pending import then
from llmgate_plugins.plugins.preferences import Cheapest
from llmgate_plugins.services import Grant, Lease, Reservation, Services, is_pending
from llmgate_plugins.types import NANO, Attempt, Deployment, Outcome, Request

__all__ = ["Budget", "BudgetScope"]

T = TypeVar("T")

BudgetScope = Literal["global", "tenant", "team", "project", "user", "feature", "cohort", "environment"]

NO_LIMIT: Final = 2**62
"""Nano-dollars no one will spend; what a soft budget books against."""
LONGEST_ATTEMPT: Final = 3600.0
"""Seconds a hold lasts for a call without a deadline."""
GRACE: Final = 60.0
"""Seconds a hold outlasts the deadline, for a settlement that is late."""


class Budget:
    """Money that all calls of one tenant, team, user ... may spend in a window of time.

    Who spends is taken from the trusted context alone; calls whose context leaves it open
    share one budget. A hard budget holds the worst case of each attempt before it is sent
    and skips a deployment that no longer fits ("budget"); so it is never exceeded by what
    could be known beforehand. A soft one only books, and may be passed by calls under way.

    A call that comes when all is spent is denied (code "budget"), or with
    `on_exhausted="cheapest"`: goes to the cheapest deployment as soon as the dearest no
    longer fits; a hard budget still denies when nothing is left.

    Args:
        scope: A field of the context, or "global".
        limit: Nano-dollars in one window.
        window: Seconds of a window, aligned to the Unix epoch.
        hard: Whether to hold before sending.
        on_exhausted: "deny" or "cheapest".
        assume_output: Output tokens to hold for where a request does not bound them.
    """

    def __init__(
        self,
        scope: BudgetScope,
        limit: int,
        window: float,
        hard: bool = True,
        on_exhausted: Literal["deny", "cheapest"] = "deny",
        *,
        assume_output: int = 4096,
    ) -> None:
        if scope not in get_args(BudgetScope):
            raise ValueError(f"scope must be one of {', '.join(get_args(BudgetScope))}, not {scope!r}")
        if on_exhausted not in ("deny", "cheapest"):
            raise ValueError(f"on_exhausted must be 'deny' or 'cheapest', not {on_exhausted!r}")
        self.scope, self.hard, self.on_exhausted = scope, hard, on_exhausted
        self.limit = whole("limit", limit)
        self.window = positive("window", window)
        self.assume_output = whole("assume_output", assume_output)
        self.name = f"Budget:{scope}:{window:g}s"
        self._leases: StashKey[dict[int, Lease]] = StashKey(self.name)
        self._cheapest = Cheapest()

    def key(self, context: Context) -> str:
        """The limit in the state that a call of this context counts against."""
        who = None if self.scope == "global" else getattr(context, self.scope)
        return f"budget:{self.scope}" if who is None else f"budget:{self.scope}:{who}"

    @hookimpl
    def admit_request(self, context: Context, services: Services) -> Awaitable[None] | None:
        """Deny when all is spent."""
        if self.on_exhausted == "cheapest" and not self.hard:
            return None

        def admit(spent: tuple[int, int]) -> None:
            if spent[0] >= self.limit:
                retry_at = (math.floor(services.clock.time() / self.window) + 1) * self.window
                raise RequestDenied(
                    f"the {self.scope} budget of {self.limit / NANO:.2f} USD per {self.window:g} s is spent",
                    code="budget",
                    retry_at=retry_at,
                )

        return self._if_known(
            lambda: then(services.state.spent(self.key(context), window=self.window), admit)
        )

    @hookimpl
    def rank_deployments(
        self, request: Request, deployments: Sequence[Deployment], context: Context, services: Services
    ) -> Ranking | Awaitable[Ranking | None] | None:
        """The cheapest first once the dearest no longer fits, if that is what is wanted."""
        if self.on_exhausted != "cheapest":
            return None

        def prefer(spent: tuple[int, int]) -> Ranking | None:
            left = self.limit - sum(spent)
            worst = (worst_cost(one, request, assume_output=self.assume_output) for one in deployments)
            return self._cheapest.rank_deployments(deployments) if left < max(worst, default=0) else None

        return self._if_known(
            lambda: then(services.state.spent(self.key(context), window=self.window), prefer)
        )

    @hookimpl
    def begin_attempt(
        self, attempt: Attempt, request: Request, context: Context, call: Call, services: Services
    ) -> Skip | Awaitable[Skip | None] | None:
        """Hold the worst case, or skip a deployment that it does not fit."""
        reservation = Reservation(
            key=self.key(context),
            amount=worst_cost(attempt.deployment, request, assume_output=self.assume_output)
            if self.hard
            else 0,
            limit=self.limit if self.hard else NO_LIMIT,
            window=self.window,
        )
        remaining = call.remaining(services.clock.monotonic())
        ttl = (remaining if 0 < remaining < math.inf else LONGEST_ATTEMPT) + GRACE

        def take(answer: object) -> Skip | None:
            if not isinstance(answer, Grant):
                return Skip("budget")
            leases = call.stash.get(self._leases)
            if leases is None:
                leases = call.stash[self._leases] = {}
            leases[attempt.number] = answer.lease
            return None

        try:
            answer = then(services.state.reserve((reservation,), ttl=ttl), take)
        except StorageError:
            return self._unknown()
        return self._or_unknown(answer) if isinstance(answer, Awaitable) else answer

    @hookimpl
    def end_attempt(
        self, attempt: Attempt, outcome: Outcome, context: Context, call: Call, services: Services
    ) -> Any:
        """Book what it cost in place of the hold."""
        leases = call.stash.get(self._leases)
        lease = leases.pop(attempt.number, None) if leases else None
        if lease is None:
            return None
        if outcome.status == "skipped":
            settled = services.state.release(lease)
        else:
            settled = services.state.settle(lease, {self.key(context): outcome.cost})
        return settled if is_pending(settled) else None

    def _if_known(self, ask: Callable[[], T | Awaitable[T]]) -> T | Awaitable[T | None] | None:
        """The answer; of a soft budget None if the state cannot be asked. A hard one then stops the call."""
        if self.hard:
            return ask()
        try:
            answer = ask()
        except StorageError:
            return None
        return _unless_unknown(answer) if isinstance(answer, Awaitable) else answer

    async def _or_unknown(self, answer: Awaitable[Skip | None]) -> Skip | None:
        try:
            return await answer
        except StorageError:
            return self._unknown()

    def _unknown(self) -> Skip | None:
        """The state cannot be asked. A hard budget then sends nothing; a soft one does not mind."""
        return Skip("budget_unavailable") if self.hard else None


async def _unless_unknown(answer: Awaitable[T]) -> T | None:
    try:
        return await answer
    except StorageError:
        return None
