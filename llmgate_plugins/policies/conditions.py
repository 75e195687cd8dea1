"""What a rule asks of one fact: a value, a list of values, a pattern, or none of these."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import translate
from typing import Any

__all__ = ["Condition", "condition_of"]


@dataclass(frozen=True, slots=True)
class Condition:
    """What one fact must be.

    Attributes:
        values: One of these words,
        patterns: or a word of one of these forms, in which `*` stands for any text and `?` for
            one character.
        negated: None of them instead, which a fact that is not declared is as well.
    """

    values: frozenset[str] = frozenset()
    patterns: tuple[str, ...] = ()
    negated: bool = False

    def allows(self, value: str | None) -> bool:
        """Whether a fact of this value is what is asked for; None: it is not declared."""
        if value is None:
            return self.negated
        found = value in self.values or any(_form(one).match(value) for one in self.patterns)
        return found is not self.negated

    def covers(self, other: Condition) -> bool:
        """Whether it surely allows whatever the other allows."""
        if self.negated:
            if other.negated:  # none of few is weaker than none of many
                return Condition(other.values, other.patterns).covers(Condition(self.values, self.patterns))
            return not other.patterns and not any(map(self._names, other.values))
        return (
            not other.negated
            and all(map(self._names, other.values))
            and all(any(_within(one, wide) for wide in self.patterns) for one in other.patterns)
        )

    def _names(self, value: str) -> bool:
        return value in self.values or any(_form(one).match(value) for one in self.patterns)

    def __str__(self) -> str:
        words = ", ".join((*sorted(self.values), *self.patterns))
        return f"not {words}" if self.negated else words


def condition_of(written: Any) -> Condition:
    """The condition that is written as "search", [search, ads], "eu-*" or {not: search}.

    Raises:
        ValueError: It is none of these.
    """
    if isinstance(written, Mapping):
        if set(written) != {"not"}:
            raise ValueError("must be a value, a list of values, or {not: ...}")
        inner = condition_of(written["not"])
        if inner.negated:
            raise ValueError("must be the value itself, not {not: {not: ...}}")
        return Condition(inner.values, inner.patterns, negated=True)
    words = [written] if isinstance(written, str | int | float) else written
    if not isinstance(words, list | tuple) or not words:
        raise ValueError("must be a value, a list of values, or {not: ...}")
    asked = [_word(word) for word in words]
    patterns = tuple([word for word in asked if "*" in word or "?" in word])
    return Condition(frozenset(asked) - frozenset(patterns), patterns)


def _word(written: Any) -> str:
    if isinstance(written, bool):
        return "true" if written else "false"
    if isinstance(written, str | int | float) and written != "":
        return str(written)
    raise ValueError("each value must be a word or a number")


_forms: dict[str, re.Pattern[str]] = {}


def _form(pattern: str) -> re.Pattern[str]:
    """The pattern, compiled once. Brackets are no signs here: ids may have some."""
    form = _forms.get(pattern)
    if form is None:
        form = _forms[pattern] = re.compile(translate(pattern.replace("[", "[[]")))
    return form


def _within(pattern: str, wide: str) -> bool:
    """Whether all that has this form surely has the wide one: as text that its signs stand for."""
    return pattern == wide or ("?" not in wide and bool(_form(wide).match(pattern)))
