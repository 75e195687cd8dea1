"""One choice among deployments, as a record keeps it: who was there, what removed whom, who came first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from typing import Any, Final, Self

from llmgate_plugins._building import quickly_built
from llmgate_plugins.types import EMPTY

__all__ = ["MOST_NAMED", "Dropped", "Selection"]

MOST_NAMED: Final = 32
"""Candidates that a record names; of further ones it says how many there were, and what removed them."""
ALIKE: Final = 8
"""Dropped for one and the same reason: so many are named where there are more candidates than that."""


class Dropped(dict[str, tuple[str, str]]):
    """Id -> (reason code, plugin). What a record says of it is worked out once, however many calls share it.

    Not to be changed once anybody has looked.
    """

    __slots__ = ("_counts", "_named")

    _counts: Mapping[str, int]
    _named: Sequence[str]

    @property
    def counts(self) -> Mapping[str, int]:
        """Reason code -> how many were dropped for it, most first."""
        try:
            return self._counts
        except AttributeError:
            self._counts = _counts_of(self)
            return self._counts

    @property
    def named(self) -> Sequence[str]:
        """Ids for a record to name, of each reason some."""
        try:
            return self._named
        except AttributeError:
            self._named = _some_of(self)
            return self._named


def _counts_of(dropped: Mapping[str, tuple[str, str]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for reason, _ in dropped.values():
        counts[reason] = counts.get(reason, 0) + 1
    return dict(sorted(counts.items(), key=lambda one: -one[1]))


def _some_of(dropped: Mapping[str, tuple[str, str]]) -> tuple[str, ...]:
    by_reason: dict[str, list[str]] = {}
    for name, (reason, _) in dropped.items():
        some = by_reason.setdefault(reason, [])
        if len(some) < ALIKE:
            some.append(name)
    turns = chain.from_iterable(zip_longest(*by_reason.values()))
    return tuple(islice((name for name in turns if name is not None), MOST_NAMED))


@quickly_built
@dataclass(slots=True, kw_only=True)
class Selection:
    """One choice among the deployments of one alias.

    Attributes:
        alias: Whose deployments.
        considered: Ids of the candidates, in configured order; in a record that was read back,
            of those that it names.
        dropped: Id -> (reason code, plugin).
        until: Id -> Unix time at which a dropped one may serve again, where that is known.
        order: Ids in the order in which they would be tried: the first `MOST_NAMED`, or fewer of
            more, if only so many were put in order.
        ranked_by: The plugin whose ranking won; None for configured order or the host's pick.
        scores: Id -> score, as that plugin gave them.
        reason: Why, as that plugin gave it.
        parts: Preference -> id -> score, where several made the scores.
        state: Id -> what the scores came from, by name.
        policy, policy_version: The policy that applied to this choice; None where none did.
        policies: All policies whose constraints held, that one last.
        total: How many candidates there were; 0 for as many as are considered.
        counts: Reason code -> how many were dropped for it; empty for those that `dropped` has.
    """

    alias: str
    considered: tuple[str, ...]
    dropped: Mapping[str, tuple[str, str]] = EMPTY
    until: Mapping[str, float] = EMPTY
    order: tuple[str, ...] = ()
    ranked_by: str | None = None
    scores: Mapping[str, float] = EMPTY
    reason: str = ""
    parts: Mapping[str, Mapping[str, float]] = EMPTY
    state: Mapping[str, Mapping[str, Any]] = EMPTY
    policy: str | None = None
    policy_version: str | None = None
    policies: tuple[str, ...] = ()
    total: int = 0
    counts: Mapping[str, int] = EMPTY

    @property
    def number(self) -> int:
        """How many candidates there were."""
        return self.total or len(self.considered)

    @property
    def reasons(self) -> Mapping[str, int]:
        """Reason code -> how many were dropped for it, most first."""
        if self.counts or not self.dropped:
            return self.counts
        return self.dropped.counts if isinstance(self.dropped, Dropped) else _counts_of(self.dropped)

    @property
    def eligible(self) -> int:
        """How many were left."""
        return self.number - sum(self.reasons.values())

    @property
    def named(self) -> tuple[str, ...]:
        """Ids of the candidates that a record names: all, or those tried first and of each reason some."""
        if len(self.considered) <= MOST_NAMED:
            return self.considered
        dropped: Sequence[str] = ()
        if self.dropped:
            dropped = self.dropped.named if isinstance(self.dropped, Dropped) else _some_of(self.dropped)
        first = self.order[: max(MOST_NAMED - len(dropped), MOST_NAMED // 2)]
        return tuple(islice(dict.fromkeys((*first, *dropped, *self.order)), MOST_NAMED))

    def told(self) -> dict[str, Any]:
        """What there is to say, as plain JSON values: what is empty is left out. Names `MOST_NAMED`
        candidates at most."""
        named = self.named
        told: dict[str, Any] = {"alias": self.alias}
        if named:
            told |= {"considered": list(named), "total": self.number}
        if self.dropped:
            told["dropped"] = _what_dropped(self.dropped, named)
        if reasons := self.reasons:
            told["reasons"] = dict(reasons)
        if self.order:
            told["order"] = list(self.order[:MOST_NAMED])
        for name in _WORDS:
            if value := getattr(self, name):
                told[name] = value
        for name, known in (("until", self.until), ("scores", self.scores)):
            if known:
                told[name] = _of(known, named)
        if self.parts:
            told["parts"] = {name: _of(scores, named) for name, scores in self.parts.items()}
        if self.state:
            told["state"] = {name: dict(facts) for name, facts in _of(self.state, named).items()}
        if self.policies:
            told["policies"] = list(self.policies)
        return told

    def to_dict(self) -> dict[str, Any]:
        """The selection as plain JSON values, everything that can be said of one, in one order."""
        none: dict[str, Any] = dict.fromkeys(("alias", "considered", "total", "dropped", "reasons", "until"))
        none |= {"considered": [], "total": 0, "dropped": {}, "reasons": {}, "until": {}, "order": []}
        none |= {"ranked_by": None, "scores": {}, "reason": "", "parts": {}, "state": {}}
        return none | {"policy": None, "policy_version": None, "policies": []} | self.told()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What `told` or `to_dict` told."""
        dropped = values.get("dropped") or {}
        return cls(
            alias=values["alias"],
            considered=tuple(values.get("considered") or ()),
            dropped=Dropped({name: (one["reason"], one["plugin"]) for name, one in dropped.items()}),
            until=values.get("until") or EMPTY,
            order=tuple(values.get("order") or ()),
            ranked_by=values.get("ranked_by"),
            scores=values.get("scores") or EMPTY,
            reason=values.get("reason") or "",
            parts=values.get("parts") or EMPTY,
            state=values.get("state") or EMPTY,
            policy=values.get("policy"),
            policy_version=values.get("policy_version"),
            policies=tuple(values.get("policies") or ()),
            total=values.get("total") or 0,
            counts=values.get("reasons") or EMPTY,
        )


def _what_dropped(dropped: Mapping[str, tuple[str, str]], named: Iterable[str]) -> dict[str, Any]:
    return {
        name: {"reason": dropped[name][0], "plugin": dropped[name][1]} for name in named if name in dropped
    }


_WORDS: Final = ("ranked_by", "reason", "policy", "policy_version")


def _of(known: Mapping[str, Any], named: Iterable[str]) -> dict[str, Any]:
    """What is known of those that are named."""
    if len(known) <= MOST_NAMED:
        return dict(known)
    return {name: known[name] for name in named if name in known}
