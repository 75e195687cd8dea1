"""How limits stand, read by a process that makes no calls: from the books, or from a shared state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from llmgate_plugins.insight.reading import read_report
from llmgate_plugins.plugins.limits import Limit, LimitStanding
from llmgate_plugins.plugins.limits.counts import Count, Rule, rules_of
from llmgate_plugins.plugins.limits.standing import standing_of
from llmgate_plugins.plugins.pending import arrived
from llmgate_plugins.state import MemoryState

if TYPE_CHECKING:
    from llmgate_plugins.insight.report import ReportRow
    from llmgate_plugins.services import Ledger, State

__all__ = ["read_standings"]


async def read_standings(
    limits: Iterable[Limit], *, ledger: Ledger, state: State, now: float
) -> tuple[LimitStanding, ...]:
    """How these limits stand for everybody who called in their windows, as the ledger knows them.

    What is spent and held is asked of the state where processes share one; the memory of
    another process cannot be asked, and so the ledger says it.

    Args:
        now: Unix time.

    Raises:
        StorageError: Ledger or state cannot be read.
    """
    rows = []
    for rule in rules_of(limits):
        for count, row in _counts(rule, ledger, now):
            if isinstance(state, MemoryState):
                spent = _spent(rule, row) if row is not None else 0
                held = await _held(count, ledger, now)
            else:
                spent, held = await arrived(state.spent(count.key, window=count.window))
            rows.append(standing_of(count, spent, held, now, None))
    return tuple(rows)


def _counts(rule: Rule, ledger: Ledger, now: float) -> Iterator[tuple[Count, ReportRow | None]]:
    """Everybody who called in the window, and whom a limit names."""
    seen: dict[Count, ReportRow | None] = {}
    begin = rule.window.bounds(now)[0] if rule.window is not None else now - 86_400.0
    names = tuple(scope.name for scope in rule.scopes)
    report = read_report(
        ledger, by=names, since=begin, until=now + 1.0, of="attempts", shadow_calls=rule.shadow_calls
    )
    for row in report.rows if names else (report.totals,):
        count = rule.count_of(tuple(row.group.get(name) for name in names))
        if count is not None:
            seen[count] = row
    for limit in rule.limits:
        if all(scope.only is not None for scope in limit.scopes):
            named = rule.count_of(tuple(scope.only for scope in limit.scopes))
            if named is not None:
                seen.setdefault(named, None)
    yield from seen.items()


def _spent(rule: Rule, row: ReportRow) -> int:
    if rule.kind == "concurrency":
        return 0
    if rule.kind == "requests":
        return row.calls if rule.once else row.attempts
    return row.cost if rule.kind == "budget" else row.tokens_in + row.tokens_out


async def _held(count: Count, ledger: Ledger, now: float) -> int:
    """What attempts under way hold, as their rows say; those that should have ended long ago hold nothing."""
    if count.rule.mode == "soft" and not count.rule.by_one:
        return 0
    where = {scope.column: value for scope, value in zip(count.limit.scopes, count.values, strict=True)}
    begin = count.window.bounds(now)[0] if count.window is not None else now - 7_200.0
    standing = await arrived(
        ledger.standing(where, since=begin, until=now + 1.0, shadow_calls=count.rule.shadow_calls)
    )
    open_ = [one for one in standing.open if one.expires is None or one.expires > now]
    if count.rule.by_one:
        return len({one.call_id for one in open_}) if count.rule.once else len(open_)
    return sum(one.reserve if count.rule.kind == "budget" else one.reserve_tokens for one in open_)
