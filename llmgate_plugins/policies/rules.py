"""Which policy a call is under: ordered rules, of which the first that matches wins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from llmgate_plugins.context import Context
from llmgate_plugins.policies.conditions import Condition, condition_of
from llmgate_plugins.policies.expressions import Expression
from llmgate_plugins.policies.facts import Fact, fact_of, is_trusted
from llmgate_plugins.types import Request

__all__ = ["NO_MATCH", "Match", "Rule", "Rules", "matcher"]

_MOST: Final = 4096
"""Values of one fact that are remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When calls go under a policy.

    Attributes:
        use: Name of the policy.
        when: Fact -> what it must be, all of them; nothing at all matches every call. Or a CEL
            expression.
        name: For records; None for "rule 3" by its place.
    """

    use: str
    when: Mapping[str, Any] | str = field(default_factory=dict)
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """What the rules say of a call.

    Attributes:
        base: The policy of the first rule that matches by what the caller cannot choose; None
            if none does.
        further: The policy of the first rule that matches, where that one reads what the caller
            can choose: it then holds besides, and may only narrow.
        doubted: Policies of rules before it that could not be evaluated: their constraints hold.
        rule: Name of the first rule that matches.
        errors: (rule, what went wrong) of those that could not be evaluated.
    """

    base: str | None = None
    further: str | None = None
    doubted: tuple[str, ...] = ()
    rule: str | None = None
    errors: tuple[tuple[str, Exception], ...] = ()


NO_MATCH: Final = Match()


class Read:
    """A rule as it was understood.

    Attributes:
        conditions: Fact -> what it must be.
        expression: The rule's CEL expression, if it has one.
        trusted: Whether it reads only what the caller cannot choose.

    Raises:
        ValueError: It makes no sense; the message names the rule.
        ImportError: It has an expression, and the extra `cel` is not installed.
    """

    __slots__ = ("conditions", "expression", "name", "trusted", "use")

    def __init__(self, rule: Rule, place: int) -> None:
        self.name = rule.name or f"rule {place + 1}"
        self.use = rule.use
        self.conditions: dict[str, Condition] = {}
        self.expression: Expression | None = None
        try:
            if isinstance(rule.when, str):
                self.expression = Expression(rule.when)
            else:
                for fact, written in rule.when.items():
                    fact_of(fact, str)
                    self.conditions[fact] = condition_of(written)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None
        self.trusted = all(map(is_trusted, self.conditions)) and (
            self.expression is None or self.expression.trusted
        )

    def covers(self, later: Read) -> bool:
        """Whether the later one can never be the first to match: this one matches whatever it matches."""
        if later.trusted and not self.trusted:
            return False  # the later one is what the caller's choice is held against
        if self.expression is not None:
            same = later.expression is not None and later.expression.text == self.expression.text
            return self.expression.constant or same
        return all(
            fact in later.conditions and condition.covers(later.conditions[fact])
            for fact, condition in self.conditions.items()
        )


class Rules:
    """Finds the first rule that matches, at a cost that hardly grows with the number of rules.

    For each fact it keeps, by value, the set of rules that this value fits, as the bits of a
    number; the rules that match are what these numbers have in common.

    Args:
        rules: First match wins.
        aliases: Another name of a model -> the alias it leads to.

    Raises:
        ValueError: A rule makes no sense; the message names it.
    """

    def __init__(self, rules: Iterable[Rule], aliases: Mapping[str, str] | None = None) -> None:
        self._aliases = dict(aliases or {})
        self.rules: Final[Sequence[Read]] = tuple(Read(one, place) for place, one in enumerate(rules))
        self._all = (1 << len(self.rules)) - 1
        self._trusted = sum(1 << place for place, one in enumerate(self.rules) if one.trusted)
        self._matches: dict[tuple[Read | None, Read | None], Match] = {}
        self._facts = {name: self._table(name) for name in self._names()}

    def __bool__(self) -> bool:
        return bool(self.rules)

    def alias_of(self, model: str) -> str:
        """The alias that a name of a model leads to."""
        return self._aliases.get(model, model)

    def match(self, request: Request, context: Context) -> Match:
        """What they say of this call."""
        fitting = self._all
        for fact in self._facts.values():
            fitting &= fact.of(fact.read(request, context))
        if not fitting:
            return NO_MATCH
        doubted: list[Read] = []
        errors: list[tuple[str, Exception]] = []
        first: Read | None = None
        while fitting:
            one = self.rules[(fitting & -fitting).bit_length() - 1]
            fitting &= fitting - 1
            try:
                holds = one.expression is None or one.expression.holds(request, context, self.alias_of)
            except Exception as error:  # noqa: BLE001 - whatever an expression comes to
                doubted.append(one)
                errors.append((one.name, error))
                continue
            if not holds:
                continue
            if first is None:
                first = one
                if not one.trusted:
                    fitting &= self._trusted
            if one.trusted:
                return self._matched(first, one, doubted, errors)
        return self._matched(first, None, doubted, errors)

    def former(self, place: int) -> int | None:
        """The place of the first rule before this one that matches whatever this one matches."""
        rule = self.rules[place]
        before = (1 << place) - 1
        for name, fact in self._facts.items():
            before &= fact.covering(rule.conditions.get(name))
        while before:
            one = (before & -before).bit_length() - 1
            if self.rules[one].covers(rule):
                return one
            before &= before - 1
        return None

    def _matched(
        self,
        first: Read | None,
        base: Read | None,
        doubted: Sequence[Read],
        errors: Sequence[tuple[str, Exception]],
    ) -> Match:
        known = None if errors else self._matches.get((first, base))
        if known is not None:
            return known
        match = Match(
            base=base.use if base is not None else None,
            further=first.use if first is not None and first is not base else None,
            doubted=tuple(dict.fromkeys(one.use for one in doubted)),
            rule=first.name if first is not None else None,
            errors=tuple(errors),
        )
        if not errors:
            self._matches[first, base] = match
        return match

    def _names(self) -> list[str]:
        return list(dict.fromkeys(name for one in self.rules for name in one.conditions))

    def _table(self, name: str) -> _Fitting:
        return _Fitting(fact_of(name, self.alias_of), [one.conditions.get(name) for one in self.rules])


def matcher(rule: Rule, aliases: Mapping[str, str] | None = None) -> Callable[[Request, Context], bool]:
    """Whether a rule by itself matches a call. One that cannot be evaluated does not.

    Args:
        rule, aliases: As of `Rules`.

    Raises:
        ValueError: It makes no sense.
        ImportError: It is an expression, and the extra `cel` is not installed.
    """
    rules = Rules([rule], aliases)
    return lambda request, context: rules.match(request, context).rule is not None


class _Fitting:
    """Which rules a value of one fact fits."""

    __slots__ = ("_any", "_exact", "_known", "_wide", "read")

    def __init__(self, read: Fact, conditions: Sequence[Condition | None]) -> None:
        self.read = read
        self._any = 0
        self._exact: dict[str, int] = {}
        self._wide: list[tuple[int, Condition]] = []
        for place, condition in enumerate(conditions):
            bit = 1 << place
            if condition is None:
                self._any |= bit
            elif condition.negated or condition.patterns:
                self._wide.append((bit, condition))
            else:
                for value in condition.values:
                    self._exact[value] = self._exact.get(value, 0) | bit
        self._known: dict[str | None, int] = {}

    def of(self, value: str | None) -> int:
        """The rules that do not ask for the fact, and those that this value fits, as bits."""
        known = self._known.get(value)
        if known is not None:
            return known
        bits = self._any | (0 if value is None else self._exact.get(value, 0))
        for bit, condition in self._wide:
            if condition.allows(value):
                bits |= bit
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[value] = bits
        return bits

    def covering(self, condition: Condition | None) -> int:
        """The rules that may allow whatever this condition allows, and surely all that do, as bits."""
        if condition is None:
            return self._any
        if condition.negated or condition.patterns:
            return -1
        bits = -1
        for value in condition.values:
            bits &= self.of(value)
        return bits
