"""What is left of a group of deployments when some are ill, worked out once for as long as that stays so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from llmgate_plugins.decisions import Drop
from llmgate_plugins.plugins.health.breaker import Breaker, State
from llmgate_plugins.plugins.health.numbers import Numbers
from llmgate_plugins.plugins.health.scopes import Key
from llmgate_plugins.types import EMPTY, Deployment

__all__ = ["Groups", "View"]

NOBODY: Final[frozenset[str]] = frozenset()
MOST_MEMBERS: Final = 65_536
"""Deployments of all groups together that are kept worked out; some hosts bring new tuples at every call."""
A_GROUP: Final = 8
"""What a group counts for besides its members."""


class Standing(IntEnum):
    """How a deployment stands, by the worst of its breakers."""

    SLOW_START = 0
    PROBE = 1
    """May have one call, when it comes."""
    HARD_PROBE = 2
    EJECTED = 3
    THROTTLED = 4
    OUT = 5
    """Hard-ejected."""


_WORST_FIRST: Final = {
    State.SLOW_START: (Standing.SLOW_START, Standing.SLOW_START),
    State.HALF_OPEN: (Standing.PROBE, Standing.HARD_PROBE),
    State.EJECTED: (Standing.EJECTED, Standing.OUT),
    State.PROBING: (Standing.EJECTED, Standing.OUT),
    State.THROTTLED: (Standing.THROTTLED, Standing.THROTTLED),
}


@dataclass(frozen=True, slots=True)
class _Mark:
    """What is wrong with one deployment; `until` and `since` are monotonic."""

    standing: Standing
    reason: str
    until: float
    since: float


@dataclass(slots=True, eq=False)
class View:
    """What a group comes to while nothing changes.

    Attributes:
        left: How many deployments are well, those that start slowly included.
        strict: Drops all that are not well, except those that may be probed.
        drop: The same with the panic rule: what calls get.
        let_in: Ids that are ejected and let in all the same.
        throttled: The same for those that asked to wait.
        slow: (since, id) of those that start slowly, the last to begin first.
    """

    marks: Mapping[str, _Mark]
    left: int = 0
    strict: Drop | None = None
    drop: Drop | None = None
    let_in: frozenset[str] = NOBODY
    throttled: frozenset[str] = NOBODY
    slow: tuple[tuple[float, str], ...] = ()
    _with_slow: dict[int, Drop] = field(default_factory=dict)

    def without_slow(self, now: float, chance: float, numbers: Numbers) -> Drop | None:
        """`drop`, and those of the slow starters whose share of the calls is below this chance.

        One chance for all of them: then those left out are always the first of `slow`, and
        there are no more different answers than slow starters.
        """
        if chance <= numbers.least_share:
            return self.drop
        begun = now - chance * numbers.slow_start
        out = 0
        for since, _ in self.slow:
            if since <= begun:
                break
            out += 1
        if not 0 < out < self.left:
            return self.drop
        known = self._with_slow.get(out)
        if known is None:
            reasons = {name: "slow_start" for _, name in self.slow[:out]}
            before = self.drop or Drop(EMPTY)
            known = self._with_slow[out] = Drop({**before.reasons, **reasons}, before.until, passing=True)
        return known


class Group:
    """One tuple of deployments, and what it came to last.

    Args:
        keys: The keys of a deployment.
    """

    __slots__ = ("_by_credential", "_by_provider", "_ids", "_keys", "deployments", "version", "view")

    def __init__(
        self, deployments: Sequence[Deployment], keys: Callable[[Deployment], tuple[Key, ...]]
    ) -> None:
        self.deployments = deployments
        self.version = -1
        self.view = View(EMPTY)
        self._ids: dict[str, tuple[str]] = {one.id: (one.id,) for one in deployments}
        self._by_credential: dict[str, list[str]] = {}
        self._by_provider: dict[str, list[str]] = {}
        self._keys = keys
        for one in deployments:
            for key in keys(one):
                if key.scope == "credential":
                    self._by_credential.setdefault(key.name, []).append(one.id)
                elif key.scope == "provider":
                    self._by_provider.setdefault(key.name, []).append(one.id)

    def refresh(
        self, breakers: Mapping[Key, Sequence[Breaker]], version: int, unix: float, least: float
    ) -> None:
        """Work out the view. It stays the same object if nothing here has changed.

        Args:
            breakers: All that are not closed.
            unix: What to add to monotonic time to get Unix time.
            least: Share of a group that must be left for ejections to hold.
        """
        marks = self._marks(breakers)
        if marks != self.view.marks:
            self.view = _view(marks, len(self.deployments), unix, least)
        self.version = version

    def _marks(self, breakers: Mapping[Key, Sequence[Breaker]]) -> dict[str, _Mark]:
        """Goes through the breakers or through the deployments, whichever are fewer."""
        found: dict[str, list[Breaker]] = {}
        if len(breakers) <= len(self.deployments):
            for key, some in breakers.items():
                for name in self._of(key):
                    found.setdefault(name, []).extend(some)
        else:
            for one in self.deployments:
                for key in self._keys(one):
                    if key in breakers:
                        found.setdefault(one.id, []).extend(breakers[key])
        return {name: _mark(some) for name, some in found.items()}

    def _of(self, key: Key) -> Iterable[str]:
        if key.scope == "deployment":
            return self._ids.get(key.name, ())
        return (self._by_credential if key.scope == "credential" else self._by_provider).get(key.name, ())


class Groups:
    """The groups that calls chose from, as long as there are not too many.

    Not thread-safe: whoever owns it locks.

    Attributes:
        known: Id of a tuple of deployments -> its group, which may be that of another tuple by now.
    """

    __slots__ = ("_keys", "_members", "known")

    def __init__(self, keys: Callable[[Deployment], tuple[Key, ...]]) -> None:
        self.known: dict[int, Group] = {}
        self._keys = keys
        self._members = 0

    def of(self, deployments: Sequence[Deployment]) -> Group:
        """The group of this very tuple, made if it must be."""
        group = self.known.get(id(deployments))
        if group is None or group.deployments is not deployments:
            self._members += A_GROUP + len(deployments)
            if self._members > MOST_MEMBERS:
                self.known.clear()
                self._members = A_GROUP + len(deployments)
            group = self.known[id(deployments)] = Group(deployments, self._keys)
        return group


def _mark(breakers: Sequence[Breaker]) -> _Mark:
    standing, worst = max(
        ((_WORST_FIRST[one.state][one.hard], one) for one in breakers),
        key=lambda pair: (pair[0], pair[1].until),
    )
    return _Mark(
        standing=standing,
        reason="probing" if worst.state is State.PROBING else worst.reason,
        until=max(one.until for one in breakers) if standing >= Standing.EJECTED else worst.until,
        since=worst.since,
    )


def _view(marks: dict[str, _Mark], size: int, unix: float, least: float) -> View:
    names: dict[Standing, list[str]] = {standing: [] for standing in Standing}
    for name, mark in marks.items():
        names[mark.standing].append(name)
    ejected, throttled, out = names[Standing.EJECTED], names[Standing.THROTTLED], names[Standing.OUT]
    # Those that are known to refuse are no part of the group that panic is about.
    rest = size - len(out) - len(names[Standing.HARD_PROBE]) - len(throttled)
    left = rest - len(ejected) - len(names[Standing.PROBE])
    panic = left < least * rest
    slow = sorted(((marks[name].since, name) for name in names[Standing.SLOW_START]), reverse=True)

    def drop(*groups: list[str]) -> Drop | None:
        gone = {name: marks[name] for group in groups for name in group}
        if not gone:
            return None
        until = {name: mark.until + unix for name, mark in gone.items() if mark.reason != "probing"}
        return Drop({name: mark.reason for name, mark in gone.items()}, until, passing=True)

    return View(
        marks,
        left=left,
        strict=drop(out, throttled, ejected),
        drop=drop(out, throttled if rest else [], [] if panic else ejected),
        let_in=frozenset(ejected + names[Standing.PROBE]) if panic else NOBODY,
        throttled=NOBODY if rest else frozenset(throttled),
        slow=() if panic else tuple(slow),
    )
