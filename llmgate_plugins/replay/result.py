"""What a replay has found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from llmgate_plugins.replay.comparing import Move, Side
from llmgate_plugins.replay.conditions import Judgement, judge

__all__ = ["Refusing", "Replay"]


@dataclass(frozen=True, slots=True)
class Refusing:
    """A limit that would have refused.

    Attributes:
        limit: In words, for whom and how much.
        refused: How often, the time that leads up to the span included.
    """

    limit: str
    refused: int


@dataclass(slots=True, kw_only=True)
class Replay:
    """Recorded calls beside what another configuration would have made of them.

    Attributes:
        since, until: The span, Unix time; None for no bound.
        seed: Of what had to be drawn.
        original, replayed: How the calls went.
        same: Calls of which every decision and every attempt was the same.
        moves: Who would have been served elsewhere -> how many calls.
        newly_blocked, no_longer_blocked: Calls that would be denied and were not, and the reverse.
        attempts: "recorded", "drawn" or "unknown" -> attempts whose end came from there.
        uncertain: Calls with an attempt that was not recorded, so that its end is a guess.
        latency_unknown: Calls that were answered by a deployment of which nothing is known; their
            latency is in no quantile.
        limits: Limits that refused, most first.
        led_up: Calls before the span that were replayed to have breakers, budgets and averages
            stand as they did.
        absent: Plugins that took part then and do not here -> calls that they answered or denied.
        unknown_models: Aliases that the configuration does not have -> calls that asked for them.
    """

    since: float | None
    until: float | None
    seed: int
    original: Side = field(default_factory=Side)
    replayed: Side = field(default_factory=Side)
    same: int = 0
    moves: Counter[Move] = field(default_factory=Counter)
    newly_blocked: int = 0
    no_longer_blocked: int = 0
    attempts: Counter[str] = field(default_factory=Counter)
    uncertain: int = 0
    latency_unknown: int = 0
    limits: tuple[Refusing, ...] = ()
    led_up: int = 0
    absent: Counter[str] = field(default_factory=Counter)
    unknown_models: Counter[str] = field(default_factory=Counter)

    @property
    def calls(self) -> int:
        """How many were replayed within the span."""
        return self.replayed.calls

    @property
    def moved(self) -> int:
        """Calls that would have been served elsewhere, or no longer."""
        return sum(self.moves.values())

    def judge(self, expression: str) -> Judgement:
        """Whether an expression such as 'cost > +5%' holds; see `conditions.judge`.

        Raises:
            ValueError: It is no expression.
        """
        return judge(expression, self)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "since": self.since,
            "until": self.until,
            "seed": self.seed,
            "calls": self.calls,
            "original": self.original.to_dict(),
            "replayed": self.replayed.to_dict(),
            "same": self.same,
            "moved": self.moved,
            "newly_blocked": self.newly_blocked,
            "no_longer_blocked": self.no_longer_blocked,
            "moves": [
                {
                    "policy": move.policy,
                    "alias": move.alias,
                    "from": move.served_then,
                    "to": move.served_now,
                    "calls": number,
                }
                for move, number in self.moves.most_common()
            ],
            "attempts": dict(self.attempts),
            "uncertain": self.uncertain,
            "latency_unknown": self.latency_unknown,
            "limits": [{"limit": one.limit, "refused": one.refused} for one in self.limits],
            "led_up": self.led_up,
            "absent": dict(self.absent),
            "unknown_models": dict(self.unknown_models),
        }
