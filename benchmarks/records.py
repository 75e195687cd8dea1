"""What a decision record costs: on the call's way, and in the ledger's thread, as plain values."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

from benchmarks.harness import Case, Suite
from llmgate_plugins import Attempt, Context, DecisionRecord, Deployment, Message, Request, Usage
from llmgate_plugins.selections import MOST_NAMED, Dropped, Selection
from llmgate_plugins.shape import shape_of
from llmgate_plugins.types import Outcome

__all__ = ["suites"]

REQUEST = Request(model="fast", messages=(Message(role="user", content="What is the capital of France?"),))
WHO = Context(team="search", user="ann")


class Group:
    """Deployments of one alias, and what is remembered of them between calls: ids, and who is dropped."""

    def __init__(self, number: int) -> None:
        self.deployments = [
            Deployment(id=f"d{place}", alias="fast", provider="openai", model="gpt-4o-mini")
            for place in range(number)
        ]
        self.ids = tuple(one.id for one in self.deployments)
        kept = max(number // 5, 8)
        self.left = self.deployments[:kept]
        self.dropped = Dropped(dict.fromkeys(self.ids[kept:], ("region", "Policies")))
        self.scores = {one.id: 0.25 for one in self.left[:MOST_NAMED]}
        self.attempt = Attempt(
            call_id="c", number=1, deployment=self.left[0], alias="fast", reason="first", started=0.0
        )
        self.outcome = Outcome(status="success", usage=Usage(input=12, output=3), cost=7, latency=0.4)

    def record(self) -> DecisionRecord:
        """All that is written down of a call that was answered at once, as the engine does."""
        record = DecisionRecord(call_id="c", model="fast", at=1.0, context=WHO)
        selection = Selection(alias="fast", considered=self.ids, order=self.ids)
        record.selections.append(selection)
        selection.dropped = self.dropped
        selection.ranked_by, selection.scores, selection.reason = "Policies", self.scores, "cheapest first"
        selection.order = tuple([one.id for one in islice(self.left, MOST_NAMED)])
        record.policy, record.policy_version, record.rule = "eu", "3", "rule 1"
        selection.policy, selection.policy_version = record.policy, record.policy_version
        selection.policies = ("eu",)
        record.attempts.append((self.attempt, self.outcome))
        record.status, record.latency = "success", 0.4
        record.shape = shape_of(REQUEST)
        return record


def suites() -> list[Suite]:
    """10 deployments and 10,000, beside each other."""
    groups = {f"{number:,} deployments": Group(number) for number in (10, 10_000)}
    return [
        Suite(
            name="decision record, written",
            unit="call",
            cases=tuple(Case(name=name, run=_again(group.record)) for name, group in groups.items()),
            limits_us=dict.fromkeys(groups, 5.0),
        ),
        Suite(
            name="decision record, as plain values",
            unit="call",
            cases=tuple(
                Case(name=name, run=_again(group.record().to_dict)) for name, group in groups.items()
            ),
        ),
    ]


def _again(work: Callable[[], Any]) -> Callable[[int], None]:
    def run(calls: int) -> None:
        for _ in range(calls):
            work()

    return run
