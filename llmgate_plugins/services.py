"""Everything that touches the world, as interfaces: clock, sleep, randomness, state, ledger."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, Union

from llmgate_plugins.alerts import NO_ALERTS, Alerts
from llmgate_plugins.types import EMPTY, Deployment, Price, Request, Usage
from llmgate_plugins.windows import Window

if TYPE_CHECKING:
    from llmgate_plugins.context import Call, Context
    from llmgate_plugins.decisions import Scores
    from llmgate_plugins.records import DecisionRecord

__all__ = [
    "AttemptIntent",
    "Clock",
    "Feedback",
    "Grant",
    "Lease",
    "Ledger",
    "Level",
    "MaybePending",
    "OpenIntent",
    "Random",
    "Refusal",
    "Reservation",
    "Score",
    "Seed",
    "Services",
    "Settlement",
    "ShadowCalls",
    "Sleeper",
    "Standing",
    "State",
    "SystemClock",
    "SystemSleeper",
    "Unseeded",
    "is_pending",
]

T = TypeVar("T")

MaybePending = Union[T, Awaitable[T], Future[T]]  # noqa: UP007 - a generic alias, older form
"""An answer, or one that is on its way. A driver waits for it in its own manner: a
`Promise` or `Future` of a thread works on every face; a coroutine does too, in a sync call on a
private event loop."""


def is_pending(answer: object) -> bool:
    """Whether an answer has to be waited for."""
    return hasattr(answer, "__await__") or hasattr(answer, "add_done_callback")


class Clock(Protocol):
    """Two clocks: one that never goes back, one that people read."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""

    def time(self) -> float:
        """Unix time in seconds."""


class SystemClock:
    """The machine's clocks."""

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)


class Sleeper(Protocol):
    """How a driver lets time pass."""

    def sleep(self, seconds: float) -> None:
        """Block this thread."""

    async def asleep(self, seconds: float) -> None:
        """Let other tasks run."""


class SystemSleeper:
    """Real sleep."""

    def sleep(self, seconds: float) -> None:
        """Block this thread."""
        time.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        """Let other tasks run."""
        import asyncio  # not needed to import the package

        await asyncio.sleep(seconds)


class Random(Protocol):
    """What the gateway needs of `random.Random`."""

    def random(self) -> float:
        """A number in [0, 1)."""

    def uniform(self, a: float, b: float) -> float:
        """A number between these two."""

    def getrandbits(self, k: int, /) -> int:
        """A number of so many bits."""


# ---------------------------------------------------------------- state


# What is made for every attempt is not frozen, as the nouns are: frozen costs three times as
# much. Nobody changes one once it is handed over.
@dataclass(slots=True, kw_only=True)
class Reservation:
    """An amount to hold against one limit.

    Attributes:
        key: What is limited: "budget:team:search", "tpm:openai-us". Free text.
        amount: How much to hold, an integer >= 0 (nano-dollars, tokens, slots).
        limit: The most that held and spent may add up to.
        window: In what it is counted; a number stands for `Fixed` of so many seconds, None
            for a limit that never resets (concurrency: held only, nothing is spent). A window
            object that is kept and given again is found faster than one made anew.
        estimate: What counts as spent if nobody settles the lease before it expires, an
            integer >= 0: what the attempt of a process that died has probably cost.
        enforced: False to book and report only: it never refuses (soft limits, shadow mode).
        strict: Whether an enforced limit must hold at any price (money). Where a shared state
            cannot be reached, it then grants only what this process had set aside before, and
            raises `StorageError` if that is nothing; another one (rates) goes on by this
            process' share, the limit divided by the number of workers. Of no meaning
            without a window: slots are always shared out.
        seed: Ask for the books' word (`Unseeded`) if the window began before this state
            knew anything of it. Without a window: if a lease of a time before may still be
            open, which is for a day. Reservations of one limit should agree in it.
    """

    key: str
    amount: int
    limit: int
    window: Window | float | None = None
    estimate: int = 0
    enforced: bool = True
    strict: bool = True
    seed: bool = False


@dataclass(slots=True)
class Lease:
    """What a grant holds; give it back with `settle` or `release`.

    Attributes:
        id: As given to `reserve`, else made up; unique among processes.
    """

    id: str
    reservations: tuple[Reservation, ...]


@dataclass(slots=True)
class Level:
    """How one limit stands after a grant, what was granted included.

    Attributes:
        spent: In the window.
        held: For calls under way.
        resets_at: Unix time at which the window ends (of a rolling one: at which its oldest
            part leaves it); None if it never resets.
    """

    key: str
    spent: int
    held: int
    limit: int
    resets_at: float | None = None


@dataclass(slots=True)
class Grant:
    """All of it is held, until `expires` (Unix time) at the latest.

    Attributes:
        levels: How each limit stands now, in the order of the reservations.
        exceeded: The limits that are not enforced and would have refused.
    """

    lease: Lease
    expires: float
    levels: tuple[Level, ...] = ()
    exceeded: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """None of it is held.

    Attributes:
        key: The first limit that does not allow it.
        available: What is left of it now.
        retry_at: Unix time at which its window ends, or at which enough of a rolling one will
            have left it (all of it, if the amount is above the limit); None if it never resets.
    """

    key: str
    available: int
    retry_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseeded:
    """None of it is held: of these windows the state does not know what was spent before.

    Tell it with `seed`, then ask again.

    Attributes:
        windows: (reservation, start, end) of each, Unix time, as the state has them; the end
            of a limit without a window is `math.inf`.
        since: Unix time since when the state knows what happens; nothing may be concluded
            from books that were read within two seconds of it, since a call that was admitted
            just before may not stand in them yet.
        now: Unix time of this answer, by the same clock as `since`: other clocks do not matter.
    """

    windows: tuple[tuple[Reservation, float, float], ...]
    since: float
    now: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """What the books say of one limit's window.

    Attributes:
        start: Of the window, as `Unseeded` told it.
        spent: Settled in it: (Unix time, amount) each; of a window that does not roll only
            the sum counts.
        open: Lease id -> (amount held, estimate, Unix time at which it expires), for attempts
            under way.
    """

    key: str
    window: Window | float | None
    start: float
    spent: tuple[tuple[float, int], ...] = ()
    open: Mapping[str, tuple[int, int, float]] = EMPTY


class State(Protocol):
    """What a call's admission needs to know of other calls. Shared by threads, and by
    processes where the implementation says so. Every method is atomic.

    It may have two attributes: `shared` (True: of many processes that report an alert one tells)
    and `away` (True while it cannot be asked, which is alerted)."""

    def reserve(
        self, reservations: Sequence[Reservation], *, ttl: float, id: str | None = None
    ) -> MaybePending[Grant | Refusal | Unseeded]:
        """Hold all of these or none, for at most `ttl` seconds (a day at the longest). One round trip.

        They are looked at in order: the first that refuses is the answer, unless one before
        it is unseeded; then all that are unseeded are.

        `id` names the lease. Asking again with the id of a lease that is held grants it as
        it stands and holds nothing more, so that a lost answer can be asked for again.

        Raises:
            ValueError: A negative amount, or a window or `ttl` that is not above 0.
            StorageError: The state cannot be asked."""

    def settle(self, lease: Lease, actual: Mapping[str, int]) -> MaybePending[bool]:
        """Turn a hold into what was really spent, by key (missing: nothing was spent).

        Returns False, and changes nothing, if the lease was settled before. A lease
        that has expired in between still books what was spent, in the window of its
        reserve, in place of its estimate. A lease of the same id is as good as the one that
        was granted: another process may settle it.

        Raises:
            ValueError: A negative amount; nothing has changed."""

    def release(self, lease: Lease) -> MaybePending[bool]:
        """Give the hold back; nothing was spent. False if it was settled before."""

    def spent(self, key: str, *, window: Window | float | None = None) -> MaybePending[tuple[int, int]]:
        """(spent in the current window, held now)."""

    def seed(self, seeds: Sequence[Seed]) -> MaybePending[None]:
        """What the books say of windows that were `Unseeded`. Somebody else may have been
        faster, or the window may be over; then it changes nothing.

        What the books say takes the place of what was spent in the window so far. Their
        open leases are held under their own ids until somebody settles them; those whose
        time is over count at their estimate."""

    def get(self, key: str) -> MaybePending[bytes | None]:
        """A value, or None."""

    def put(self, key: str, value: bytes, *, ttl: float | None = None) -> MaybePending[None]:
        """Keep a value, for `ttl` seconds or for ever."""

    def delete(self, key: str) -> MaybePending[bool]:
        """Forget a value; whether there was one."""

    def add(self, key: str, amount: int = 1, *, ttl: float | None = None) -> MaybePending[int]:
        """Add to a counter and return it; `ttl` counts from its first use."""

    def close(self) -> None:
        """Let go of connections and threads, and of what was set aside. Idempotent."""


# ---------------------------------------------------------------- ledger


# Not frozen, as the nouns are: made for every attempt, and frozen costs three times as much.
@dataclass(slots=True, kw_only=True)
class AttemptIntent:
    """The row that exists before any byte leaves. Nobody changes it once it is handed over.

    Attributes:
        at: Unix time.
        estimate: Nano-dollars this attempt will probably cost; what recovery books
            if the process dies.
        reserve, reserve_tokens: Nano-dollars and tokens that limits hold for it: the worst
            case.
        expires: Unix time at which it must be over: what limits hold ends then, or the call's
            deadline has passed. Recovery books it from then on. None if nothing says when.
        call: The record of its call as it stands, for what else is known of it: policy,
            trace, tags.
        selection: Which of the selections in that record chose it, counted from 1; 0 if none.
    """

    call_id: str
    number: int
    at: float
    deployment: Deployment
    alias: str
    reason: str
    estimate: int = 0
    reserve: int = 0
    reserve_tokens: int = 0
    expires: float | None = None
    labels: Mapping[str, str] = EMPTY
    call: DecisionRecord | None = None
    selection: int = 0


@dataclass(slots=True, kw_only=True)
class Settlement:
    """How that row ends, and as little changed afterwards.

    Attributes:
        status: success, error, cancelled, abandoned; skipped: it was never sent.
        at: Unix time.
        price: What `cost` was counted at; None if nobody knows one.
        scope: Who is to blame for a failure.
        code: The provider's own error code.
    """

    status: str
    at: float | None = None
    usage: Usage = field(default_factory=Usage)
    cost: int = 0
    price: Price | None = None
    latency: float = 0.0
    first_token: float | None = None
    model: str | None = None
    error_class: str | None = None
    scope: str | None = None
    code: str | None = None
    http_status: int | None = None
    finish_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIntent:
    """An attempt under way, as the books have it: what limits hold for it."""

    call_id: str
    number: int
    at: float
    estimate: int
    reserve: int
    reserve_tokens: int
    expires: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the books say was used in a span of time.

    Attributes:
        used: (Unix time, requests, tokens, nano-dollars) of what is settled or booked by
            recovery, summed up over parts of the span as `standing` was asked to, in order of
            time: when a part begins, or the span. What was skipped is no request.
        open: Attempts under way.
    """

    used: tuple[tuple[float, int, int, int], ...] = ()
    open: tuple[OpenIntent, ...] = ()


ShadowCalls = Literal["without", "with", "only"]
"""Whether calls that are shadows of others count: their cost is kept apart, and left out unless asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What somebody said of a call's answer, afterwards.

    Attributes:
        id: Unique; the same feedback given twice is kept once.
        call_id: Of which call. It need not be in the books yet.
        at: Unix time.
        name: What was judged ("score", "helpful"): one call may be judged by several.
        score: How good it was; what a score means is the application's own.
        comment: In words.
        source: Who says so ("user", "judge").
        deployment: Id of the deployment whose answer it is about; None if nobody knows.
    """

    id: str
    call_id: str
    at: float
    name: str = "score"
    score: float | None = None
    comment: str | None = None
    source: str | None = None
    deployment: str | None = None


class Ledger(Protocol):
    """The books: one row per attempt keyed (call_id, number), one terminal row per call.

    Thread-safe. An answer may be pending (see `MaybePending`); when it is there, the
    row is as safe as the ledger's documentation says. It may have an attribute `away`: True
    while rows wait for the books, which is alerted; and a method `gather()`, asked before a state
    is told of the books: done when no row that was acknowledged waits elsewhere, or `StorageError`.

    Attributes:
        durable: Whether the rows outlive the process, and are those of all processes that
            were given the same ledger.
    """

    durable: bool

    def open_attempt(self, intent: AttemptIntent) -> MaybePending[None]:
        """Write the intent. Once per (call_id, number); a repeat changes nothing."""

    def settle_attempt(self, call_id: str, number: int, settlement: Settlement) -> MaybePending[bool]:
        """Compare-and-set from intent to settled, or from what recovery booked to what it
        really was. False, and no change, on a repeat."""

    def close_call(self, record: DecisionRecord) -> MaybePending[None]:
        """Write the call's terminal row. Once per call_id; a repeat changes nothing."""

    def recover(self, *, older_than: float, now: float) -> int:
        """Turn intents opened more than `older_than` seconds before `now` (Unix time)
        into status "unknown" at their estimate; how many."""

    def standing(
        self,
        where: Mapping[str, str | None],
        *,
        since: float,
        until: float,
        part: float | None = None,
        shadow_calls: ShadowCalls = "without",
    ) -> MaybePending[Standing]:
        """What attempts opened in [since, until) have used, of all processes.

        Args:
            where: Column of the attempts, "tag:NAME" or "extra:NAME" -> value it must have (None:
                must be empty); {} for all.
            part: Seconds; sum up separately for each such part, counted from the Unix
                epoch. None: one sum.
            shadow_calls: Whether what shadows of calls have used counts.

        Raises:
            ValueError: They cannot be told apart by that.
        """

    def add_feedback(self, feedback: Feedback) -> MaybePending[None]:
        """Keep it. Once per id; a repeat changes nothing."""

    def flush(self) -> None:
        """Return when everything handed over so far is written."""

    def close(self) -> None:
        """Flush and let go of files and threads. Idempotent."""

    def attempts(self, call_id: str | None = None) -> list[dict[str, Any]]:
        """Attempt rows as plain values, oldest first."""

    def calls(self, call_id: str | None = None) -> list[dict[str, Any]]:
        """Call rows as plain values, oldest first."""

    def assignments(self, call_id: str | None = None) -> list[dict[str, Any]]:
        """Which call was under which arm of which experiment, oldest first."""

    def feedback(self, call_id: str | None = None) -> list[dict[str, Any]]:
        """Rows of feedback as plain values, oldest first."""


class Score(Protocol):
    """Asks plugins how a preference of theirs values deployments."""

    def __call__(
        self,
        preference: str,
        request: Request,
        deployments: Sequence[Deployment],
        context: Context,
        call: Call,
    ) -> MaybePending[Scores | None]:
        """What the first plugin says that knows the preference (hook `score_deployments`); None if
        none does. One that fails is passed over, and noted in the call's record."""


def _nobody_scores(
    preference: str,  # noqa: ARG001 - as of `Score`
    request: Request,  # noqa: ARG001
    deployments: Sequence[Deployment],  # noqa: ARG001
    context: Context,  # noqa: ARG001
    call: Call,  # noqa: ARG001
) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Services:
    """What a gateway hands to plugins and drivers. One of each per gateway.

    Attributes:
        plugins: (name, plugin) of all, in run order: what one shows publicly (`Health.report`) others
            may read.
        score: Asks for preferences that are not built in.
    """

    clock: Clock
    random: Random
    sleeper: Sleeper
    state: State
    ledger: Ledger
    alerts: Alerts = NO_ALERTS
    plugins: tuple[tuple[str, object], ...] = ()
    score: Score = _nobody_scores


def default_random(seed: int | None = None) -> Random:
    """A generator of its own, seeded if asked."""
    return random.Random(seed)  # noqa: S311 - not for cryptography
