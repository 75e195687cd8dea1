"""How each limit stands, as typed rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmgate_plugins.plugins.limits import words
from llmgate_plugins.plugins.limits.counts import Count
from llmgate_plugins.plugins.limits.limit import Kind, Limit, Mode

__all__ = ["LimitStanding", "standing_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitStanding:
    """How one count of a limit stands.

    Attributes:
        limit: The limit.
        key: Its key in the state.
        scope: For whom: scope -> value, None where calls leave it open; empty for all together.
        spent: In the window: nano-dollars, requests, tokens.
        held: For attempts under way.
        resets_at: Unix time at which the window ends; None if it rolls, or there is none.
        refused: How often it refused in this process, or would have in shadow; None where that
            is not known.
    """

    limit: Limit
    key: str
    scope: Mapping[str, str | None]
    spent: int
    held: int
    resets_at: float | None = None
    refused: int | None = None

    @property
    def kind(self) -> Kind:
        """ "budget", "requests", "tokens" or "concurrency"."""
        return self.limit.kind

    @property
    def mode(self) -> Mode:
        """ "hard", "soft" or "shadow"."""
        return self.limit.mode

    @property
    def most(self) -> int:
        """What spent and held may add up to."""
        return self.limit.limit

    @property
    def share(self) -> float:
        """Spent and held as a part of that; above 1 where it is not enforced."""
        return (self.spent + self.held) / self.most

    @property
    def who(self) -> str:
        """For whom, for people: "team 'search'"."""
        return words.who(self.limit.scopes, tuple(self.scope.values()))

    def to_dict(self) -> dict[str, Any]:
        """The row as plain JSON values."""
        return {
            "kind": self.kind,
            "mode": self.mode,
            "limit": self.most,
            "window": words.span(self.limit.window) or None,  # type: ignore[arg-type]
            "scope": dict(self.scope),
            "spent": self.spent,
            "held": self.held,
            "share": self.share,
            "resets_at": self.resets_at,
            "refused": self.refused,
            "key": self.key,
        }


def standing_of(count: Count, spent: int, held: int, now: float, refused: int | None) -> LimitStanding:
    """The row of this count."""
    resets_at = None
    if count.window is not None and not count.is_endless:
        resets_at = count.window.bounds(now)[1]
    return LimitStanding(
        limit=count.limit,
        key=count.key,
        scope={scope.name: value for scope, value in zip(count.limit.scopes, count.values, strict=True)},
        spent=spent,
        held=held,
        resets_at=resets_at,
        refused=refused,
    )
