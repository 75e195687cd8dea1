"""The plugin that records what another policy would have done, and how often it agrees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from llmgate_plugins.context import Call, Context
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.plugins.estimates import probable_cost
from llmgate_plugins.policies import Rule, matcher
from llmgate_plugins.records import DecisionRecord, Selection
from llmgate_plugins.second_opinions import SECOND_OPINION, SecondOpinion
from llmgate_plugins.types import Deployment, Request

__all__ = ["ShadowPolicies", "ShadowPolicy"]

MOST_NOTED: Final = 4
"""Selections of one call that are noted; more than one only where it falls back to other aliases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowPolicy:
    """A policy that is asked as well.

    Attributes:
        policy: Its name.
        sample: Share of the calls, 0 to 1.
        when: Which calls, as conditions of a rule of policies have it.

    Raises:
        ValueError: The sample is no share.
    """

    policy: str
    sample: float = 1.0
    when: Mapping[str, Any] | str = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.sample <= 1:
            raise ValueError(f"sample is a share between 0 and 1, not {self.sample!r}")


class ShadowPolicies:
    """Decides under a second policy as well, and notes what that would have done.

    The first of `policies` whose lot a call draws and whose conditions it meets is asked, at
    the same moment and from the same state. Nothing is sent, learned or marked on its behalf.
    Which deployment it would have tried first, whom it would have dropped and what both
    choices should cost stands in `record.notes["shadow_policy"]`.
    """

    def __init__(self, policies: Iterable[ShadowPolicy]) -> None:
        self.policies: Final = tuple(policies)
        self._wanted = [matcher(Rule(use=one.policy, when=one.when)) for one in self.policies]

    @hookimpl(trylast=True)
    def admit_request(self, request: Request, context: Context, call: Call) -> None:
        """Have a call decided twice."""
        if call.is_shadow:
            return
        for one, is_wanted in zip(self.policies, self._wanted, strict=True):
            drawn = call.draw(f"shadow policy: {one.policy}") < one.sample
            if drawn and is_wanted(request, context):
                call.stash[SECOND_OPINION] = SecondOpinion(one.policy)
                return

    @hookimpl(tryfirst=True)
    def end_call(self, record: DecisionRecord, request: Request, call: Call) -> None:
        """Note what the second policy would have done."""
        second = call.stashed(SECOND_OPINION)
        if second is None:
            return
        note: dict[str, Any] = {"policy": second.policy}
        if second.error is not None:
            note["error"] = second.error
        tried = {attempt.deployment.id: attempt.deployment for attempt, _ in record.attempts}
        pairs = zip(record.selections, second.found, strict=False)
        note["selections"] = [
            _compared(real, found, best, request, tried) for real, (found, best) in list(pairs)[:MOST_NOTED]
        ]
        record.notes = {**record.notes, "shadow_policy": note}


def _compared(
    real: Selection,
    found: Selection,
    best: Deployment | None,
    request: Request,
    tried: Mapping[str, Deployment],
) -> dict[str, Any]:
    first = real.order[0] if real.order else None
    note: dict[str, Any] = {
        "alias": found.alias,
        "version": found.policy_version,
        "first": best.id if best is not None else None,
        "real_first": first,
        "dropped": dict(Counter(reason for reason, _ in found.dropped.values())),
    }
    if best is not None:
        note["expected_nano_usd"] = probable_cost(best, request)
    if first is not None and first in tried:
        note["real_expected_nano_usd"] = probable_cost(tried[first], request)
    return note
