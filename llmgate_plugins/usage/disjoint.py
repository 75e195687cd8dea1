"""Disjoint buckets from totals and their parts, whatever was reported."""

from __future__ import annotations

from itertools import combinations
from typing import Any, Final

from llmgate_plugins._building import builder
from llmgate_plugins.money import Usage

__all__ = ["MOST_TOKENS", "disjoint", "sane"]

_usage: Final = builder(Usage)

MOST_TOKENS: Final = 10_000_000
"""The most tokens that one attempt is believed to have read, or written: the largest
context window on sale. A report of more is clamped to it."""


def disjoint(
    asked: Any,
    answered: Any,
    total: Any,
    *,
    cached: Any = 0,
    written: Any = 0,
    written_1h: Any = 0,
    reasoning: Any = 0,
    kinds: tuple[Any, Any, Any, Any] | None = None,
    unasked: Any = 0,
    tier: str = "",
    charged: int | None = None,
) -> Usage | None:
    """Buckets from two totals and their parts; None if nothing was used, or nothing told.

    Args:
        asked: Tokens read, as told; None if not.
        answered: Tokens written; None if not told.
        total: All tokens; it says which parts stand beside the totals and not within.
        cached: Read from the cache, `written` to it for minutes and `written_1h` for an hour.
        reasoning: Written while thinking.
        kinds: Tokens of sound and pictures that were read and came from no cache, of sound
            and pictures that were written.
        unasked: Tokens that tools of the provider's own have read; within `asked` or not.
    """
    asked, answered = asked or 0, answered or 0
    cached, written, reasoning = cached or 0, written or 0, reasoning or 0
    if (
        type(asked) is int
        and type(answered) is int
        and type(cached) is int
        and type(written) is int
        and type(reasoning) is int
        and (total is None or total == asked + answered)
        and not written_1h
        and kinds is None
        and cached >= 0
        and written >= 0
        and cached + written <= asked <= MOST_TOKENS
        and 0 <= reasoning <= answered <= MOST_TOKENS
    ):
        if not asked and not answered:
            return None
        if not (cached or written or reasoning or tier or charged is not None):
            return _usage(input=asked, output=answered)  # most reports, and keywords cost time
        return _usage(
            input=asked - cached - written,
            cached_input=cached,
            cache_write=written,
            output=answered - reasoning,
            reasoning=reasoning,
            tier=tier,
            charged=charged,
        )
    found = _Report(asked, answered, total)
    found.read(cached, written, written_1h, reasoning, unasked)
    return found.usage(kinds or (0, 0, 0, 0), tier, charged)


def sane(value: Any) -> int:
    """A believable count: what can be read as a whole number, within 0 and `MOST_TOKENS`."""
    if isinstance(value, float | str):
        try:
            value = int(float(value)) if isinstance(value, float) or len(value) <= 20 else 0
        except (ValueError, OverflowError):
            return 0
    return min(max(int(value), 0), MOST_TOKENS) if isinstance(value, int) else 0


class _Report:
    """A report that is not the usual one: it is made consistent part by part.

    Attributes:
        doubtful: Whether anything in it could not be as it was told.
    """

    def __init__(self, asked: Any, answered: Any, total: Any) -> None:
        self.doubtful = False
        self.asked, self.answered = self._count(asked), self._count(answered)
        self.total = total if type(total) is int and 0 < total <= 2 * MOST_TOKENS else None
        self.cached = self.written = self.written_1h = self.reasoning = 0

    def read(self, cached: Any, written: Any, written_1h: Any, reasoning: Any, unasked: Any) -> None:
        """Take the parts, and find out which of them stand beside the totals."""
        self.cached, self.written = self._count(cached), self._count(written)
        self.written_1h, self.reasoning = self._count(written_1h), self._count(reasoning)
        self._settle_total(self._count(unasked))
        cache = self.cached + self.written + self.written_1h
        agreed = self.total == self.asked + self.answered
        if cache > self.asked and not agreed and cache < MOST_TOKENS:
            self.asked += cache
            self.doubtful = True
        if self.reasoning > self.answered and not agreed and self.reasoning < MOST_TOKENS:
            self.answered += self.reasoning
            self.doubtful = True

    def usage(self, kinds: tuple[Any, Any, Any, Any], tier: str, charged: int | None) -> Usage | None:
        """The buckets: each part gets what is left of its total."""
        if not (self.asked or self.answered):
            return None
        cached, rest = self._take(self.cached, self.asked)
        written, rest = self._take(self.written, rest)
        written_1h, rest = self._take(self.written_1h, rest)
        doubtful = self.doubtful
        audio_input, rest = self._take(self._count(kinds[0]), rest)
        image_input, rest = self._take(self._count(kinds[1]), rest)
        if cached:
            self.doubtful = doubtful  # sound and pictures may have come from the cache
        reasoning, said = self._take(self.reasoning, self.answered)
        audio_output, said = self._take(self._count(kinds[2]), said)
        image_output, said = self._take(self._count(kinds[3]), said)
        return _usage(
            input=rest,
            cached_input=cached,
            cache_write=written,
            cache_write_1h=written_1h,
            audio_input=audio_input,
            image_input=image_input,
            output=said,
            reasoning=reasoning,
            audio_output=audio_output,
            image_output=image_output,
            estimated=self.doubtful,
            tier=tier,
            charged=charged,
        )

    def _settle_total(self, unasked: int) -> None:
        """Tokens of the total that neither side accounts for are those of parts beside it."""
        if self.total is None:
            return
        spare = self.total - self.asked - self.answered
        if spare <= 0:
            return
        if not self.asked:  # not told: nothing is read for nothing
            self.asked = spare
            return
        cache = self.cached + self.written + self.written_1h
        beside = [("answered", self.reasoning), ("asked", cache), ("asked", unasked)]
        for count in (1, 2, 3):
            for parts in combinations(beside, count):
                if sum(amount for _, amount in parts) == spare and all(amount for _, amount in parts):
                    for side, amount in parts:
                        setattr(self, side, getattr(self, side) + amount)
                    return
        # Nobody says what they are. What providers keep to themselves is what a model thinks.
        self.doubtful = bool(self.answered)
        self.reasoning += spare if self.answered else 0
        self.answered += spare

    def _take(self, part: int, whole: int) -> tuple[int, int]:
        """So much of the whole is this part, and so much is left."""
        taken = min(part, whole)
        self.doubtful |= taken < part
        return taken, whole - taken

    def _count(self, value: Any) -> int:
        if value is None:
            return 0
        count = sane(value)
        self.doubtful |= type(value) is not int or count != value
        return count
