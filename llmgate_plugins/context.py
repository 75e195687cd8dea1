"""Who is calling, and the call itself as plugins see it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context as Variables
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

from llmgate_plugins.draws import draw
from llmgate_plugins.types import EMPTY, Deployment, Request, Response

if TYPE_CHECKING:
    from llmgate_plugins.follow_ups import FollowUp
    from llmgate_plugins.policies import Policy
    from llmgate_plugins.records import DecisionRecord

__all__ = ["FACTS", "Call", "Context", "Stash", "StashKey", "current_context", "use_context"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Who is calling. **Trusted**: only the application sets it.

    Nothing in messages, metadata, headers, tags or model output ever gets here.

    Attributes:
        tenant, team, project, user, feature, cohort, environment: Who and what for.
        key: Id of the key that the caller showed to the application; never the key itself.
        region: Where the call may be served; a deployment that does not declare this
            region is not eligible. None leaves it open.
        data_class: Such as "public" or "pii".
        priority: 0 is lowest, 3 is critical.
        session: Id of the conversation or run this call belongs to; calls of one session may be
            kept at one deployment.
        policy: Name of the configured policy to apply; None for `default`.
        extra: Any further facts of the application's own.
    """

    tenant: str | None = None
    team: str | None = None
    project: str | None = None
    user: str | None = None
    feature: str | None = None
    cohort: str | None = None
    environment: str | None = None
    key: str | None = None
    region: str | None = None
    data_class: str | None = None
    priority: int = 1
    session: str | None = None
    policy: str | None = None
    extra: Mapping[str, str] = field(default=EMPTY)


FACTS: Final = tuple(
    name for name in Context.__dataclass_fields__ if name not in ("extra", "policy", "session")
)
"""Fields of the context that say who is calling and what for."""
NOBODY = Context()
_current: ContextVar[Context] = ContextVar("llmgate_context", default=NOBODY)


def current_context() -> Context:
    """The context set by `use_context` around this code, or an empty one."""
    return _current.get()


def refuse_context(given: object, where: str = "context") -> TypeError:
    """Why this is no context. A text or mapping may come from outside, and is not believed."""
    return TypeError(
        f"{where} must be an llmgate_plugins.Context, such as Context(team='search'), which only the "
        f"application can make; it is a {type(given).__name__}"
    )


@contextmanager
def use_context(context: Context) -> Iterator[Context]:
    """Set who is calling for all gateway calls inside the `with` block.

    Follows tasks and `contextvars` as usual. An explicit `context=` of a call wins.

    Raises:
        TypeError: It is no `Context`.
    """
    if not isinstance(context, Context):
        raise refuse_context(context)
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)


class StashKey(Generic[T]):
    """A key for what a plugin keeps on a call. Make one per thing, at module level."""

    __slots__ = ("name",)

    def __init__(self, name: str = "") -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"StashKey({self.name!r})"


class Stash(dict[StashKey[Any], Any]):
    """Typed per-call storage for plugins, without name clashes."""

    __slots__ = ()

    if TYPE_CHECKING:  # looking something up is a dict's, since a call does so some ten times

        def __setitem__(self, key: StashKey[T], value: T) -> None: ...
        def __getitem__(self, key: StashKey[T]) -> T: ...
        def get(self, key: StashKey[T], default: T | None = None) -> T | None:
            """The value, or `default`."""

    def pop(self, key: StashKey[T], default: T | None = None) -> T | None:
        """The value, or `default`; it is gone afterwards."""
        return cast("T | None", super().pop(key, default))


class Call:
    """One logical request with all its attempts, as plugins see it.

    Attributes:
        id: Unique; a UUIDv7 unless the application gave one.
        started: When it began, monotonic seconds.
        deadline: When it must be over, monotonic seconds; None for never.
        request: The request as admitted.
        asked: The request as the caller made it.
        answer: A plugin's answer in place of an attempt, if one gave it.
        stash: What plugins keep on this call.
        record: Everything decided so far. Read it; the engine writes it.
        named: Whether the application gave the id itself.
        origin: The context variables as they were when the call was made: a stream may be read
            later, by somebody else.
        fallbacks: Aliases that may come after the one at hand, in order.
        untried: Deployments of the alias at hand that may still be tried, best first.
        policies: All policies whose constraints hold for this call, the applied one last; empty
            where no policy speaks.
        follow_ups: What was asked for with `follow_up`.
        hypothetical: Nothing will be sent: it is selected for to see what would come of it. Whoever
            ranks marks and counts nothing for it.
    """

    __slots__ = (
        "_stash", "answer", "asked", "context", "deadline", "fallbacks", "follow_ups", "hypothetical",
        "id", "named", "origin", "policies", "record", "request", "started", "untried",
    )  # fmt: skip

    def __init__(
        self,
        id: str,
        request: Request,
        context: Context,
        started: float,
        deadline: float | None,
        record: DecisionRecord,
        *,
        named: bool = False,
    ) -> None:
        self.id = id
        self.named = named
        self.origin: Variables = copy_context()
        self.fallbacks: Sequence[str] = ()
        self.untried: Iterable[Deployment] = ()
        self.policies: tuple[Policy, ...] = ()
        self.hypothetical = False
        self.follow_ups: tuple[FollowUp, ...] = ()
        self.asked = self.request = request
        self.answer: Response | None = None
        self.context = context
        self.started = started
        self.deadline = deadline
        self.record = record
        self._stash: Stash | None = None

    @property
    def policy(self) -> Policy | None:
        """The policy that is applied; None where none speaks. What others ask for may hold besides."""
        return self.policies[-1] if self.policies else None

    def apply_policy(
        self,
        name: str,
        version: str | None = None,
        rule: str | None = None,
        policies: tuple[Policy, ...] | None = None,
    ) -> None:
        """Note which policy this call is under, and which rule chose it, for its record and the books.

        Args:
            policies: All whose constraints hold from now on, this one last; None leaves them.
        """
        record = self.record
        record.policy, record.policy_version = name, version
        if rule is not None:
            record.rule = rule
        if policies is not None:
            self.policies = policies

    def assign(self, experiment: str, arm: str, unit: str | None = None) -> None:
        """Note under which arm of an experiment this call is, for its record, the books and results.

        Args:
            unit: What was assigned: a user, a session. A hash of it is noted, so that results can
                tell units apart without naming them; None for the call by itself.
        """
        record = self.record
        record.experiments = {**record.experiments, experiment: arm}
        if unit is not None:
            record.units = {**record.units, experiment: _hashed(experiment, unit)}

    def draw(self, purpose: str) -> float:
        """A number from 0 up to 1, drawn by lot for this call and this purpose.

        The same call draws the same number for the same purpose, however often and wherever:
        so a recorded call can be replayed. Name the plugin and the thing in `purpose`.
        """
        return draw(purpose, self.id)

    @property
    def is_shadow(self) -> bool:
        """Whether nobody waits for its answer: it follows another call, and counts for nothing there."""
        return self.record.shadow_of is not None

    def follow_up(self, wanted: FollowUp) -> None:
        """Have the gateway make a further call once this one is over and its caller has the answer.

        It runs beside all calls and can neither delay this one nor fail it. One that is itself
        a shadow is followed by none.
        """
        if not self.is_shadow:
            self.follow_ups = (*self.follow_ups, wanted)

    @property
    def stash(self) -> Stash:
        """What plugins keep on this call."""
        if self._stash is None:
            self._stash = Stash()
        return self._stash

    def stashed(self, key: StashKey[T]) -> T | None:
        """What a plugin keeps under this key, None if nothing; cheaper than by way of `stash`."""
        return None if self._stash is None else self._stash.get(key)

    def remaining(self, now: float) -> float:
        """Seconds left at `now` (monotonic); infinity without a deadline."""
        return float("inf") if self.deadline is None else self.deadline - now


def _hashed(experiment: str, unit: str) -> str:
    return blake2b(f"{experiment}\0{unit}".encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
