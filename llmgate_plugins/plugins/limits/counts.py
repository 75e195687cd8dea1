"""Limits at work: which of them holds for a call, under which key, and how far it is known to be used."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from llmgate_plugins._building import builder
from llmgate_plugins.context import Context
from llmgate_plugins.plugins.limits import words
from llmgate_plugins.plugins.limits.limit import Kind, Limit, Mode
from llmgate_plugins.scopes import Scope, key_of
from llmgate_plugins.services import Reservation
from llmgate_plugins.types import Attempt
from llmgate_plugins.windows import Rolling, Window, window_of

__all__ = ["Count", "Rule", "rules_of"]

MOST_COUNTS: Final = 16_384
"""Counts that one rule remembers; the oldest quarter is forgotten. The state remembers them all."""
_NEVER: Final = 1 << 63
_UNKNOWN: Final = object()
_reservation: Final = builder(Reservation)


class Count:
    """One count of a limit: that of one team, say, and how it stood when it was seen last.

    What it knows is of this process and may be old; only the state decides.

    Attributes:
        rule: The limits it belongs to.
        limit: The one that holds.
        values: Of the rule's scopes.
        one: A reservation of one, for requests and calls at once.
        spent, held, resets_at: As the state said last, with what has ended here since.
        short_of: The least amount that was refused in this window; 0 for none.
        refused: How often it refused, or would have in shadow.
        next_alert: What must be used for the next alert.
        alerted: Thresholds that were told in this window.
        is_watched: Whether there are any.
    """

    __slots__ = (
        "alerted", "held", "is_watched", "key", "limit", "next_alert", "one", "refused", "resets_at", "rule",
        "short_of", "spent", "values", "window",
    )  # fmt: skip

    def __init__(self, rule: Rule, limit: Limit, values: tuple[str | None, ...]) -> None:
        self.rule = rule
        self.limit = limit
        self.values = values
        self.window = rule.window
        self.key = key_of(rule.head, values)
        self.one = self.reservation(1, 0 if rule.kind == "concurrency" else 1)
        self.spent = self.held = 0
        self.resets_at: float | None = None
        self.short_of = self.refused = 0
        self.alerted = 0
        self.is_watched = bool(limit.alert_at)
        self.next_alert = self._threshold(0)

    def reservation(self, amount: int, estimate: int) -> Reservation:
        """So much of it, as the state takes it."""
        rule = self.rule
        return _reservation(
            key=self.key,
            amount=amount,
            limit=self.limit.limit,
            window=rule.window,
            estimate=estimate,
            enforced=rule.mode == "hard",
            strict=rule.kind == "budget",  # requests and tokens may go by shares while the state is away
            seed=rule.seeded,
        )

    @property
    def used(self) -> int:
        """What counts towards thresholds: money and tokens once they are spent."""
        return self.spent + self.held if self.rule.by_one else self.spent

    def begin_window(self, resets_at: float | None) -> None:
        """The state counts in another window now; a rolling one only goes on."""
        self.resets_at = resets_at
        if not self.is_endless:
            self.short_of = self.alerted = 0
            self.next_alert = self._threshold(0)

    def is_short(self, now: float) -> bool:
        """Whether another call would probably not fit, or has nothing left to be counted in."""
        if self.is_over(now):
            return False
        if self.rule.mode == "soft":
            return self.spent >= self.limit.limit
        return self.limit.limit - self.spent - self.held < self.short_of

    def is_over(self, now: float) -> bool:
        """Whether the window of which it knows has ended."""
        return self.resets_at is not None and now >= self.resets_at and not self.is_endless

    @property
    def is_endless(self) -> bool:
        """Whether its window never ends as a whole: it rolls, or there is none."""
        return self.window is None or isinstance(self.window, Rolling)

    def next_threshold(self, told: int) -> None:
        """So many thresholds of this window have been told."""
        self.alerted = told
        self.next_alert = self._threshold(told)

    def _threshold(self, told: int) -> int:
        shares = self.limit.alert_at
        return math.ceil(shares[told] * self.limit.limit) if told < len(shares) else _NEVER

    def __str__(self) -> str:
        return words.told(self.limit, self.values)


class Rule:
    """The limits of one kind, scope, window and mode. At most one of them holds for a call.

    The one for a single value stands in place of the one for each; with a tag among the
    scopes, whose value the caller chooses, the lowest stands.

    Attributes:
        scopes: For whom.
        head: What the keys of its counts begin with.
        of_attempt: Whether another deployment may have another count.
        once: Whether a call counts once, however many attempts it takes.
        by_one: Whether it counts ones: requests, calls at once.
        shadow_calls: Whether calls that are shadows of others count.
        seeded: Whether the state asks the books about what was before it; set by the plugin.
    """

    __slots__ = (
        "_counts", "_reads", "by_one", "head", "kind", "limits", "mode", "of_attempt", "once",
        "scopes", "seeded", "shadow_calls", "window",
    )  # fmt: skip

    def __init__(self, limits: Sequence[Limit]) -> None:
        first = limits[0]
        self.limits = sorted(limits, key=_rank)
        self.kind: Kind = first.kind
        self.mode: Mode = first.mode
        self.window: Window | None = window_of(first.window)
        self.scopes: tuple[Scope, ...] = first.scopes
        self._reads = tuple(scope.reader for scope in self.scopes)
        self.of_attempt = any(scope.of_attempt for scope in self.scopes)
        self.by_one = self.kind in ("requests", "concurrency")
        self.once = self.by_one and not any(scope.counts_attempts for scope in self.scopes)
        self.shadow_calls = first.counted
        self.seeded = False
        self.head = first.head
        self._counts: dict[str | tuple[str | None, ...] | None, Count | None] = {}

    def is_for(self, shadow_of: str | None) -> bool:
        """Whether a call counts that is the shadow of this one; None for one that is no shadow."""
        return self.shadow_calls == "with" or (self.shadow_calls == "only") == (shadow_of is not None)

    def count(self, context: Context, attempt: Attempt | None, tags: Mapping[str, str]) -> Count | None:
        """The count of this call; None if none of the limits is for it."""
        reads = self._reads
        value: str | tuple[str | None, ...] | None
        if len(reads) == 1:
            value = reads[0](context, attempt, tags)
        else:
            value = tuple([read(context, attempt, tags) for read in reads])
        found = self._counts.get(value, _UNKNOWN)
        return self._made(value) if found is _UNKNOWN else found  # type: ignore[return-value]

    def count_of(self, values: tuple[str | None, ...]) -> Count | None:
        """The count for these values of the scopes; None if none of the limits is for them."""
        value = values[0] if len(values) == 1 else values
        found = self._counts.get(value, _UNKNOWN)
        return self._made(value) if found is _UNKNOWN else found  # type: ignore[return-value]

    def counts(self) -> list[Count]:
        """Every count that is known."""
        return [count for count in list(self._counts.values()) if count is not None]

    def forget(self) -> None:
        """Know nothing any more."""
        self._counts.clear()

    def _made(self, value: str | tuple[str | None, ...] | None) -> Count | None:
        values = value if isinstance(value, tuple) else (value,)
        count = None
        for limit in self.limits:
            if all(scope.only in (None, one) for scope, one in zip(limit.scopes, values, strict=True)):
                count = Count(self, limit, values)
                break
        if len(self._counts) >= MOST_COUNTS:
            for old in list(self._counts)[: MOST_COUNTS // 4]:
                self._counts.pop(old, None)
        return self._counts.setdefault(value, count)


def rules_of(limits: Iterable[Limit]) -> list[Rule]:
    """The limits in groups of which at most one holds for a call; those that count ones first.

    Raises:
        ValueError: Two are for the same.
    """
    groups: dict[object, dict[object, Limit]] = {}
    for limit in limits:
        names = tuple(scope.name for scope in limit.scopes)
        group = groups.setdefault((limit.kind, names, limit.window, limit.mode, limit.counted), {})
        only = tuple(scope.only for scope in limit.scopes)
        if only in group:
            raise ValueError(f"there is another {words.kind_of(limit)}; keep one of them")
        group[only] = limit
    rules = [Rule(list(group.values())) for group in groups.values()]
    return sorted(rules, key=lambda rule: not rule.by_one)


def _rank(limit: Limit) -> tuple[int, int]:
    if any(scope.untrusted for scope in limit.scopes):
        return limit.limit, 0
    return -sum(scope.only is not None for scope in limit.scopes), limit.limit
