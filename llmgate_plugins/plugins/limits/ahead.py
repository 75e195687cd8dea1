"""What limits would say to an attempt, without holding anything for it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

from llmgate_plugins.foresight import Objection
from llmgate_plugins.plugins.limits import words
from llmgate_plugins.plugins.limits.asked import Asked
from llmgate_plugins.plugins.limits.counts import Count
from llmgate_plugins.plugins.limits.exhausted import code_of
from llmgate_plugins.plugins.limits.limit import Instead
from llmgate_plugins.plugins.limits.seeding import held_by, used_of, where_of
from llmgate_plugins.state import MemoryState

__all__ = ["objections"]

Steps = Generator[Any, list[Any], list[Objection]]


def objections(asked: Asked) -> Steps:
    """Each enforced limit that has too little left, by the state, or else by the books.

    Yields what is asked of both, as `carried` takes it.
    """
    services = asked.services
    counts = [
        (count, wanted) for count, wanted in zip(asked.counts, asked.wanted, strict=True) if wanted.enforced
    ]
    standings = yield [services.state.spent(count.key, window=count.window) for count, _ in counts]
    unseen = _unseen(asked, [count for count, _ in counts])
    told = dict(zip(unseen, (yield list(unseen.values())), strict=True)) if unseen else {}
    found = []
    for (count, wanted), (spent, held) in zip(counts, standings, strict=True):
        if count in told:
            spent = max(spent, sum(amount for _, amount in used_of(count, told[count])))
            held = max(held, sum(held_by(count, one)[0] for one in told[count].open))
        left = max(count.limit.limit - spent - held, 0)
        if wanted.amount > left:
            found.append(_objection(count, left, wanted.amount))
    return found


def _unseen(asked: Asked, counts: list[Count]) -> dict[Count, Any]:
    """Counts that the memory of this process may not know all of -> what the books say of each."""
    services = asked.services
    if not isinstance(services.state, MemoryState) or not getattr(services.ledger, "durable", False):
        return {}
    now = services.clock.time()
    return dict(_questions(counts, now, asked))


def _questions(counts: list[Count], now: float, asked: Asked) -> Iterator[tuple[Count, Any]]:
    for count in counts:
        rule = count.rule
        if rule.window is not None:
            begin = rule.window.bounds(now)[0]
            yield (
                count,
                asked.services.ledger.standing(
                    where_of(count), since=begin, until=now + 1.0, shadow_calls=rule.shadow_calls
                ),
            )


def _objection(count: Count, left: int, wanted: int) -> Objection:
    rule, instead = count.rule, count.limit.on_exhausted
    kind = rule.kind
    detail = f"{count}: {words.amount(kind, left)} left, {words.amount(kind, wanted)} wanted at most"
    if isinstance(instead, Instead):
        whither = f"policy {instead.policy!r}" if instead.policy is not None else f"alias {instead.alias!r}"
        return Objection(
            action="elsewhere", reason=code_of(rule), detail=f"{detail}; goes on under {whither}"
        )
    return Objection(action="skip" if rule.of_attempt else "deny", reason=code_of(rule), detail=detail)
