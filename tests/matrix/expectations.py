"""What a row of the matrix says: how it goes wrong, and all that must be seen of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from llmgate_plugins.types import EMPTY

from .surfaces import MODES, STREAMS

__all__ = ["Differs", "Expect", "Row"]


@dataclass(frozen=True, kw_only=True)
class Expect:
    """What must be seen of a call.

    Attributes:
        told: Whose answer the caller gets ("a", "b"), or the class of the error it gets, by
            a name in its line of ancestors. "StreamInterrupted": with all that was delivered.
        tries: The attempts in their order. "a:rate_limit" failed with this class, "a:cancelled"
            and "a:abandoned" were left by the caller, "b" answered; "a*1-9:x" is one to nine.
        books: How each attempt is booked: "0" nothing, "A" as the provider reported it, "E" an
            estimate of what was delivered, "U" what may be billed: the input of a stream that
            brought nothing; of a whole answer that never came, also the output expected of it.
        slept: Seconds the gateway let pass between attempts: at least, at most.
        health: What is known afterwards: "a transport closed" is a count, "key-a money ejected".
        tokens: Taken from the provider's retry budget.
        finish: Why the last answer ended, where that is told.
        served: The model that served, where it is not the one asked for.
        paid: The model whose price is paid then.
        calls: Terminal rows in the ledger.
        most: Nano-dollars that no attempt of these short calls can cost.
    """

    told: str
    tries: str
    books: str
    slept: tuple[float, float] = (0.0, 0.0)
    health: str = ""
    tokens: float = 0.0
    finish: str = ""
    served: str = ""
    paid: str = ""
    calls: int = 1
    most: int = 1_000_000


@dataclass(frozen=True)
class Differs:
    """Where a surface cannot do as the others, and why.

    Args:
        why: A sentence for the page.
        changes: Fields of `Expect`.
    """

    why: str
    changes: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One thing that goes wrong.

    Attributes:
        id: "F29", or "F29-alone" for a further scene of the same failure.
        what: In words, for the page.
        at: What happens at deployment "a": a `Fault`, a `Reply`, a list of either (one per
            request), or the name of a broken address.
        expect: What must be seen.
        streams: Fields of `expect` that are otherwise for streams.
        differs: By surface, or "surface/streams", "surface/mode".
        modes: In which it can happen at all.
        alone: There is no deployment "b".
        model_b, model_a: The models of the two.
        patience: Time limits, as of `Patience`.
        params: Of the call.
        note: What follows, in words, where the columns do not say it.
        play: Runs a cell of this row, where it is not a provider's failure.
        problems: "plugin hook" of each failure of a plugin that is noted in the decision record.
    """

    id: str
    what: str
    at: Any
    expect: Expect
    streams: Mapping[str, Any] = field(default_factory=lambda: EMPTY)
    differs: Mapping[str, Differs] = field(default_factory=lambda: EMPTY)
    modes: Sequence[str] = MODES
    alone: bool = False
    model_a: str = "gpt-4o-mini"
    model_b: str = "gpt-4o-mini"
    patience: Mapping[str, float] = field(default_factory=lambda: EMPTY)
    params: Mapping[str, Any] = field(default_factory=lambda: EMPTY)
    deadline: float = 600.0
    note: str = ""
    play: Callable[[Row, str, str], Any] | None = None
    problems: tuple[str, ...] = ()

    def expected(self, mode: str, surface: str) -> Expect:
        """What must be seen in this cell."""
        found = replace(self.expect, **self.streams) if mode in STREAMS else self.expect
        for place in (surface, f"{surface}/{'streams' if mode in STREAMS else 'whole'}", f"{surface}/{mode}"):
            if place in self.differs:
                found = replace(found, **self.differs[place].changes)
        return found
