"""The decisions a plugin may answer with. `None` always means "no opinion"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from llmgate_plugins.types import EMPTY, Deployment

__all__ = [
    "Drop",
    "GiveUp",
    "NextAlias",
    "NextDeployment",
    "Ranking",
    "Recovery",
    "Reselect",
    "Retry",
    "Scores",
    "Skip",
    "Wait",
]


@dataclass(frozen=True, slots=True)
class Drop:
    """Deployments that may not serve this call, each with its reason.

    Attributes:
        reasons: Deployment id -> reason code, a short stable word ("region",
            "no_tools"). Ids that are not among the candidates are ignored.
        until: Deployment id -> Unix time at which it may serve again, where that is known.
        passing: Whether these are left out for the state they are in now (ejected, throttled, full).
            That says nothing of answers they have given before; any other drop rules those out,
            too: an answer that was kept is given to no call that could not be served there.

    A plugin whose answer has not changed gives the same object again: then a group of
    thousands is not gone through anew.

    Raises:
        TypeError: The reasons are no mapping, or not by ids: then nobody would be dropped, unnoticed.
    """

    reasons: Mapping[str, str]
    until: Mapping[str, float] = field(default=EMPTY)
    passing: bool = False

    def __post_init__(self) -> None:
        given: object = self.reasons
        if type(given) is not dict and not isinstance(given, Mapping):
            raise TypeError(f"Drop takes {{one.id: 'reason'}}, not {type(given).__name__}")
        for name in given:
            if not isinstance(name, str):
                raise TypeError(f"Drop takes {{one.id: 'reason'}}, not by {type(name).__name__}")
            break  # who has mistaken one key has mistaken all of them


@dataclass(frozen=True, slots=True)
class Ranking:
    """An order of preference.

    Attributes:
        order: Candidates, best first. Those it leaves out follow in the order
            given; one that was not a candidate is an error. Of thousands, name a few: whoever
            names all of them at every call costs every call so much.
        scores: Deployment id -> score, for the decision record. What a score means
            is the plugin's own.
        reason: Why, for the decision record.
        parts: Where several preferences made the scores: preference -> deployment id -> its score.
        state: Deployment id -> what the scores came from, by name, as plain values ("samples",
            "latency_s"), as it was then. Only of as many as a record should hold.
        rest: The order in which those follow that `order` leaves out, in place of the one given.
            For as long as it is the same, give the same tuple: it is gone through once.
    """

    order: Sequence[Deployment]
    scores: Mapping[str, float] = field(default=EMPTY)
    reason: str = ""
    parts: Mapping[str, Mapping[str, float]] = field(default=EMPTY)
    state: Mapping[str, Mapping[str, float]] = field(default=EMPTY)
    rest: Sequence[Deployment] | None = None


@dataclass(frozen=True, slots=True)
class Scores:
    """How one preference values deployments.

    Attributes:
        values: Deployment id -> score, 0 or more; less is better. Those it leaves out are unknown
            to it, and come after those it knows.
        unit: What is counted, for people: "USD", "s", "gCO2".
        state: As of `Ranking`.
    """

    values: Mapping[str, float]
    unit: str = ""
    state: Mapping[str, Mapping[str, float]] = field(default=EMPTY)


@dataclass(frozen=True, slots=True)
class Wait:
    """Begin this attempt after so many seconds; the plugin is asked again then."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Skip:
    """Do not send this attempt; go to the next deployment.

    Attributes:
        reason: A short stable word for the decision record ("rpm", "budget").
        until: Unix time from which it might be sent, if known.
    """

    reason: str
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Reselect:
    """Do not send this attempt; narrow and rank anew, as the call stands now.

    Attributes:
        alias: Among whose deployments; None for those of the same alias.
        reason: A short stable word for the decision record ("budget").
    """

    alias: str | None = None
    reason: str = "reselect"


@dataclass(frozen=True, slots=True)
class Retry:
    """Send again, after `after` seconds.

    Attributes:
        on: Id of a deployment that this call has tried; None for the one that
            just failed.
    """

    after: float = 0.0
    on: str | None = None


@dataclass(frozen=True, slots=True)
class NextDeployment:
    """Go on at once with the next untried deployment; if none is left, with the next alias.

    Attributes:
        among: Ids of untried deployments: no other of this alias is tried any more. None
            for all of them.
    """

    among: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class NextAlias:
    """Leave this alias and go on with the next fallback; if there is none, give up.

    Attributes:
        to: Aliases to go on with, in order, in place of the configured fallbacks. Those
            that this call has left behind are passed over.
    """

    to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Tell the caller.

    Attributes:
        reason: Why, for the decision record ("retry_budget"); empty if it speaks for itself.
    """

    reason: str = ""


Recovery = Retry | NextDeployment | NextAlias | GiveUp
