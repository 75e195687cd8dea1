"""What must hold when a simulated run has come to rest: the books, the holds, the breakers."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llmgate_plugins.classification.reactions import reaction_to
from llmgate_plugins.gateway import Gateway
from llmgate_plugins.plugins.health import State
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.testing.simulation.audit import AuditedLedger, AuditedState
from llmgate_plugins.testing.simulation.door import Door
from llmgate_plugins.testing.simulation.world import WINDOW as ERA
from llmgate_plugins.windows import Fixed

if TYPE_CHECKING:
    from llmgate_plugins.testing.simulation.run import Stage

__all__ = ["check_at_rest"]

SHARE, WINDOW = 0.2, 60.0
"""As `Failover` has it: further attempts per call, and seconds for which they gather."""


def check_at_rest(stage: Stage, gateway: Gateway, door: Door) -> None:
    """Check all that can only be told at the end.

    Raises:
        TypeError: The gateway's ledger and state are not audited ones.
    """
    ledger, state = gateway.services.ledger, gateway.services.state
    if not isinstance(ledger, AuditedLedger) or not isinstance(state, AuditedState):
        raise TypeError("a simulated gateway needs an AuditedLedger and an AuditedState")
    _check_rows(stage, ledger)
    _check_sums(stage, ledger, state)
    _check_holds(stage, state)
    _check_retries(stage)
    _check_health(stage, door)
    journal, streams = stage.journal, stage.providers.streams
    journal.check(
        streams.opened == streams.closed,
        "leak",
        lambda: f"{streams.opened} streams were opened and {streams.closed} closed",
    )
    journal.check(
        not stage.witness.begun,
        "I2",
        lambda: f"{len(stage.witness.begun)} attempts were begun and never ended",
    )


def _check_rows(stage: Stage, ledger: AuditedLedger) -> None:
    """I1, I2: a settled row for every attempt that was sent, and none for what was not."""
    journal = stage.journal
    expected = stage.witness.rows_expected()
    rows = ledger.rows()
    missing = [key for key in expected if key not in rows]
    journal.check(not missing, "I1", lambda: f"{len(missing)} attempts without a row: {missing[:3]}")
    unsent = [key for key in stage.providers.answers if key not in expected]
    journal.check(not unsent, "I1", lambda: f"{len(unsent)} sent and not recorded: {unsent[:3]}")
    for key, (status, cost) in rows.items():
        outcome = expected.get(key)
        if status == "intent":
            journal.violated("I2", f"attempt {key} was never settled")
        elif outcome is None:
            journal.check(
                status == "cancelled" and cost == 0,
                "I1",
                lambda key=key: f"attempt {key} has a row and was not sent",  # type: ignore[misc]
            )
        elif (status, cost) != (outcome.status, outcome.cost):
            journal.violated("I1", f"attempt {key}: the row says otherwise than its outcome")


def _check_sums(stage: Stage, ledger: AuditedLedger, state: AuditedState) -> None:
    """I4: attempts, calls and what the budgets have counted are the same money."""
    journal = stage.journal
    attempts = sum(cost for _, cost in ledger.rows().values())
    calls = ledger.cost_of_calls()
    journal.check(attempts == calls, "I4", lambda: f"attempts cost {attempts}, calls {calls}")
    team, everybody, deployment = (one for one in stage.world.limits if one.window in (ERA, Fixed(ERA)))
    spent: Counter[str] = Counter()
    for one in stage.witness.ended:
        spent[team.key(one.record.context.team)] += one.record.cost
        spent[everybody.key()] += one.record.cost
        for attempt, outcome in one.record.attempts:
            spent[deployment.key(attempt.deployment.id)] += outcome.cost
    counted = {
        key: state.spent(key, window=window)[0]
        for key, window in state.windows.items()
        if "budget:" in key and window in (ERA, Fixed(ERA))
    }
    wrong = [key for key in sorted(spent.keys() | counted.keys()) if spent[key] != counted.get(key, 0)]
    journal.check(
        not wrong, "I4", lambda: f"{wrong[0]}: spent {spent[wrong[0]]}, counted {counted.get(wrong[0])}"
    )
    told = counted.get(everybody.key(), 0)
    journal.check(told == attempts, "I4", lambda: f"attempts cost {attempts}, budgets counted {told}")


def _check_holds(stage: Stage, state: AuditedState) -> None:
    """I4: nothing is held when nobody calls."""
    left = [one.key for lease in state.open.values() for one in lease.reservations]
    stage.journal.check(not left, "I4", lambda: f"{len(left)} holds are left: {sorted(set(left))[:3]}")


@dataclass(slots=True)
class _Tally:
    """What one provider's retry budget was paid and what was taken from it: (moment, tokens)."""

    paid: list[tuple[float, float]] = field(default_factory=list)
    taken: list[tuple[float, float]] = field(default_factory=list)


def _check_retries(stage: Stage) -> None:
    """I5: what failed in vain at one provider stays within its share of the calls.

    As `Failover` prices it: a call's first attempt at a provider is free and pays in, so is
    one that succeeds; a further one that fails costs what its forerunner's failure says.
    Checked from the beginning, and over every window.
    """
    tallies: defaultdict[str, _Tally] = defaultdict(_Tally)
    for one in stage.witness.ended:
        _add_up(one.record, tallies)
    floor, at_once = stage.world.retry_floor, 2 * len(stage.world.plans)
    for provider, tally in tallies.items():
        begin = stage.providers.began
        for end, _ in tally.taken:
            for since in (begin, max(begin, end - WINDOW)):
                taken = sum(cost for at, cost in tally.taken if since <= at <= end)
                paid = sum(share for at, share in tally.paid if since - WINDOW <= at <= end)
                most = paid + floor * (end - since + WINDOW) + at_once
                if taken > most:
                    told = (
                        f"{provider}: further attempts took {taken:.1f} of {most:.1f} tokens by {end:.0f} s"
                    )
                    stage.journal.violated("I5", told)


def _add_up(record: DecisionRecord, tallies: defaultdict[str, _Tally]) -> None:
    cost: dict[str, float] = {}
    for attempt, outcome in record.attempts:
        if outcome.status == "skipped":
            continue
        provider = attempt.deployment.provider
        if provider not in cost:
            tallies[provider].paid.append((attempt.started, SHARE))
        elif outcome.status == "error" and cost[provider]:
            tallies[provider].taken.append((attempt.started + outcome.latency, cost[provider]))
        cost[provider] = 1.0 if outcome.failure is None else reaction_to(outcome.failure).retry_cost


def _check_health(stage: Stage, door: Door) -> None:
    """I10: long after all has healed no breaker keeps anybody out."""
    if door.health is None or not any(plan.steady for plans in stage.world.plans for plan in plans):
        return
    for row in door.health.report(stage.clock.monotonic()):
        well = row.state in (State.CLOSED, State.SLOW_START)
        stage.journal.check(
            well,
            "I10",
            lambda row=row: f"{row.name} ({row.ailment}) is still {row.state}",  # type: ignore[misc]
        )
