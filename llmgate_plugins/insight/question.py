"""What is asked of the books: by which dimensions, under which conditions, of calls or of attempts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from llmgate_plugins.insight.buckets import TIMES
from llmgate_plugins.insight.conditions import Condition, Where, conditions_of, values_of
from llmgate_plugins.insight.facts import fact_of
from llmgate_plugins.insight.report import Level
from llmgate_plugins.services import ShadowCalls

__all__ = ["Question", "checked", "names_of"]


def names_of(by: str | Sequence[str]) -> tuple[str, ...]:
    """Dimensions, also from "team,model"; in quotes a comma is a part of a name: '"tag:a,b",model'.

    Raises:
        ValueError: One is named twice.
    """
    names = tuple(values_of(by)) if isinstance(by, str) and by else tuple(by)
    if len(set(names)) != len(names):
        raise ValueError(f"rows cannot be by the same thing twice: {', '.join(names)}")
    return names


@dataclass(frozen=True, slots=True)
class Question:
    """What a report is about.

    Attributes:
        calls_know: Whether calls have all these facts, and not only attempts.
    """

    by: tuple[str, ...]
    conditions: tuple[Condition, ...]
    level: Level
    calls_know: bool
    zone: str
    shadow_calls: ShadowCalls

    @classmethod
    def of(
        cls,
        by: str | Sequence[str],
        where: Where,
        of: Level | None,
        zone: str,
        shadow_calls: ShadowCalls = "without",
    ) -> Question:
        """Read it. Raises `ValueError` for what makes no sense."""
        names = names_of(by)
        conditions = conditions_of(where)
        strange = [name for name in names if name not in TIMES and fact_of(name).of_call is None]
        strange += [str(one) for one in conditions if not one.of_calls]
        if of not in (None, "calls", "attempts"):
            raise ValueError(f"a report is of calls or of attempts, not of {of!r}")
        if of == "calls" and strange:
            raise ValueError(f"a report of calls cannot be by {strange[0]}, which belongs to an attempt")
        level: Level = of or ("attempts" if strange else "calls")
        return cls(names, conditions, level, not strange, zone, checked(shadow_calls))


def checked(shadow_calls: ShadowCalls) -> ShadowCalls:
    """The same. Raises `ValueError` for another word."""
    if shadow_calls not in get_args(ShadowCalls):
        raise ValueError(f"shadow_calls must be without, with or only, not {shadow_calls!r}")
    return shadow_calls
