"""One send to one deployment, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from llmgate_plugins._building import quickly_built
from llmgate_plugins.limits import UNLIMITED, Limits, Quota
from llmgate_plugins.money import NO_USAGE, Price, Usage, cost_per_1k
from llmgate_plugins.types.deployment import Deployment
from llmgate_plugins.types.failure import Failure

__all__ = ["Attempt", "AttemptReason", "Outcome", "OutcomeStatus"]

AttemptReason = Literal["first", "retry", "next_deployment", "fallback", "hedge"]

OutcomeStatus = Literal["success", "error", "cancelled", "abandoned", "skipped"]

_NOTHING: Final = nullcontext()
"""Entered where no plugin wants anything around an attempt."""


@quickly_built
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attempt:
    """One send to one deployment.

    Attributes:
        number: 1 for the first attempt of a call, counting skipped ones too.
        alias: The alias under which it was chosen; differs from the alias asked
            for after a fallback.
        started: When it began, monotonic seconds; for one that had to wait its turn, when
            that had come.
        deadline: When the call must be over, monotonic seconds; None for never.
        limits: How long its phases may take. A transport hands them to its client; in an
            event loop the gateway keeps them as well.
        prefill: Text that was delivered before another attempt broke. The transport sends it
            as the beginning of the assistant's answer, so that the model goes on from there.
        adapted: What was changed or left out of the request because this provider would
            refuse it, as short sentences. Transports may add to it.
        around: Makers of what plugins want entered while the provider is asked, up to the first
            content of a stream, in the very thread or task that asks: a span to be current, say.
        watchers: Told of each chunk of a stream that comes after the first content, before the
            reader has it. They must be quick, and must not raise.
    """

    call_id: str
    number: int
    deployment: Deployment
    alias: str
    reason: AttemptReason
    started: float
    deadline: float | None = None
    limits: Limits = UNLIMITED
    prefill: str | None = None
    adapted: list[str] = field(default_factory=list)
    around: list[Callable[[], AbstractContextManager[object]]] = field(default_factory=list, repr=False)
    watchers: list[Callable[[Any], object]] = field(default_factory=list, repr=False)

    def entered(self) -> AbstractContextManager[object]:
        """All that stands in `around`, entered; a host that sends by itself sends within it."""
        if not self.around:
            return _NOTHING
        with ExitStack() as stack:
            for make in self.around:
                stack.enter_context(make())
            return stack.pop_all()


@quickly_built
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """How an attempt ended.

    Attributes:
        ok: Whether the attempt gave a whole answer.
        status: "success"; "error"; "cancelled" (the task was cancelled);
            "abandoned" (the reader left a stream); "skipped" (never sent).
        error: What was raised, if anything.
        failure: `error`, classified.
        usage: Tokens, as reported or estimated (`usage.estimated`).
        cost: Nano-dollars, rounded up.
        price: The price that `cost` was counted at: of the model that served, in its tier.
            None if nobody knows one.
        latency: Seconds from begin to end.
        first_token: Seconds to the first piece of content of a stream.
        model: The model that served, by the provider's word.
        response_id: The provider's id of the answer, if it gave one.
        quota: What the provider said of its rate limits, if it did.
        skipped: Why it was never sent, for status "skipped".
        skipped_by: The plugin that said so; None where the caller had left.
    """

    ok: bool = field(init=False, repr=False)
    status: OutcomeStatus
    error: BaseException | None = None
    failure: Failure | None = None
    usage: Usage = NO_USAGE
    cost: int = 0
    price: Price | None = None
    latency: float = 0.0
    first_token: float | None = None
    finish_reason: str | None = None
    model: str | None = None
    response_id: str | None = None
    quota: Quota | None = None
    skipped: str | None = None
    skipped_by: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "ok", self.status == "success")  # plugins ask more often than attempts end

    @property
    def cost_per_1k(self) -> int | None:
        """Nano-dollars per thousand tokens, rounded up; None where there are none."""
        return cost_per_1k(self.cost, self.usage)
