"""The decision record: what was considered, what removed whom, what was chosen, how it went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self

from llmgate_plugins._building import quickly_built
from llmgate_plugins._record_values import attempt_of, tell_attempt, tell_usage, whole_attempt, whole_usage
from llmgate_plugins.context import NOBODY, Context
from llmgate_plugins.money import cost_per_1k
from llmgate_plugins.selections import Selection
from llmgate_plugins.types import BUCKETS, EMPTY, NANO, Attempt, Outcome, Usage

__all__ = ["CallStatus", "DecisionRecord", "Selection"]

CallStatus = Literal["open", "success", "answered", "denied", "error", "cancelled", "abandoned"]
"""`answered`: by a plugin or the host's cache, without an attempt."""


@quickly_built
@dataclass(slots=True, kw_only=True)
class DecisionRecord:
    """The story of one call. Handed to `end_call` when it is complete; frozen from then on by custom.

    Attributes:
        model: The alias asked for.
        at: When the call began, Unix time.
        status: How it ended.
        selections: Every choice made, in order.
        attempts: Every attempt with its outcome, skipped ones included.
        latency: Seconds from begin to end.
        first_token: Seconds from the call's begin to the first content of a stream.
        denied_by: The plugin that denied or answered.
        reason: Why it was denied, or why failover gave up ("retry_budget").
        problems: What went wrong in plugins without stopping the call: (plugin, hook, error).
        tags: The caller's labels, untrusted.
        policy, policy_version: The policy that was applied; None where none was.
        rule: Which rule chose that policy, as the configuration names it; None where none did.
        experiments: Experiment -> the arm this call was assigned to.
        units: Experiment -> a hash of what was assigned (a user, a session), where that is stable.
        shadow_of: The call this is a shadow of; None for a call that somebody waits for.
        shape: What the request looked like, without any of its content; see `shape_of`.
        trace_id: Of the OpenTelemetry trace this call is part of, 32 hex digits; None without one.
        notes: What plugins have to say of this call, by plugin and topic, as plain values:
            limits in shadow mode that would have refused it, say.
    """

    call_id: str
    model: str
    at: float
    context: Context = NOBODY
    tags: Mapping[str, str] = EMPTY
    operation: str = "chat"
    stream: bool = False
    status: CallStatus = "open"
    selections: list[Selection] = field(default_factory=list)
    attempts: list[tuple[Attempt, Outcome]] = field(default_factory=list)
    latency: float = 0.0
    first_token: float | None = None
    denied_by: str | None = None
    reason: str = ""
    error: str | None = None
    problems: list[tuple[str, str, str]] = field(default_factory=list)
    policy: str | None = None
    policy_version: str | None = None
    rule: str | None = None
    experiments: Mapping[str, str] = EMPTY
    units: Mapping[str, str] = EMPTY
    shadow_of: str | None = None
    shape: Mapping[str, Any] = EMPTY
    trace_id: str | None = None
    notes: Mapping[str, Any] = EMPTY

    @property
    def cost(self) -> int:
        """Nano-dollars of all attempts."""
        return sum(outcome.cost for _, outcome in self.attempts)

    @property
    def cost_per_1k(self) -> int | None:
        """Nano-dollars per thousand tokens of all attempts, rounded up; None where there are none."""
        return cost_per_1k(self.cost, self.usage)

    @property
    def usage(self) -> Usage:
        """Tokens of all attempts, bucket by bucket."""
        outcomes = [outcome.usage for _, outcome in self.attempts]
        if len(outcomes) == 1:
            return outcomes[0]
        return Usage(
            **{bucket: sum(getattr(one, bucket) for one in outcomes) for bucket in BUCKETS},
            estimated=any(one.estimated for one in outcomes),
            tier=tiers.pop() if len(tiers := {one.tier for one in outcomes if one.total}) == 1 else "",
        )

    @property
    def served_by(self) -> str | None:
        """Id of the deployment whose answer the caller got; None if none did."""
        if self.attempts and self.attempts[-1][1].ok:
            return self.attempts[-1][0].deployment.id
        return None

    def brief(self) -> dict[str, Any]:
        """Why it went this way, for an answer's metadata; what there is nothing to say of is left out.

        policy, policy_version, rule; experiments: experiment -> arm; shadow_of; dropped: reason
        code -> how many deployments, of all selections together.
        """
        told: dict[str, Any] = {}
        if self.policy is not None:
            told["policy"] = self.policy
            if self.policy_version is not None:
                told["policy_version"] = self.policy_version
        if self.rule is not None:
            told["rule"] = self.rule
        if self.experiments:
            told["experiments"] = dict(self.experiments)
        if self.shadow_of is not None:
            told["shadow_of"] = self.shadow_of
        dropped: Counter[str] = Counter()
        for selection in self.selections:
            if selection.dropped:
                dropped.update(selection.reasons)
        if dropped:
            told["dropped"] = dict(dropped)
        return told

    def told(self) -> dict[str, Any]:
        """What there is to say, as plain JSON values, without anything secret: what is null, zero, false
        or empty is left out. `from_dict` reads it."""
        usage, context, cost = self.usage, self.context, self.cost
        told: dict[str, Any] = {
            "call_id": self.call_id,
            "model": self.model,
            "at": self.at,
            "operation": self.operation,
        }
        if self.stream:
            told["stream"] = True
        told["status"] = self.status
        if (served_by := self.served_by) is not None:
            told["served_by"] = served_by
        if self.latency:
            told["latency_s"] = self.latency
        if self.first_token is not None:
            told["first_token_s"] = self.first_token
        if cost:
            told["cost_nano_usd"] = cost
            told["cost_usd"] = cost / NANO
            if each := cost_per_1k(cost, usage):
                told["cost_per_1k_nano_usd"] = each
        told["usage"] = tell_usage(usage)
        told["context"] = dict(_CALLED_BY_NOBODY) if context is NOBODY else _who(context)
        for name in _LABELS:
            if value := getattr(self, name):
                told[name] = value if isinstance(value, str) else dict(value)
        told["selections"] = [selection.told() for selection in self.selections]
        told["attempts"] = [tell_attempt(attempt, outcome) for attempt, outcome in self.attempts]
        if self.problems:
            told["problems"] = [
                {"plugin": plugin, "hook": hook, "error": error} for plugin, hook, error in self.problems
            ]
        return told

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON values, everything that can be said of a call, in one order."""
        told = self.told()
        none: dict[str, Any] = dict.fromkeys(_WHOLE)
        none |= {"stream": False, "latency_s": 0.0, "cost_nano_usd": 0, "cost_usd": 0.0, "reason": ""}
        none |= {name: {} for name in ("tags", "experiments", "units", "shape", "notes")}
        return {
            **none,
            "cost_per_1k_nano_usd": 0 if told["usage"].get("total") else None,
            "problems": [],
            **told,
            "usage": whole_usage(told["usage"]),
            "selections": [selection.to_dict() for selection in self.selections],
            "attempts": [whole_attempt(one) for one in told["attempts"]],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The record that `told` or `to_dict` told.

        What is worked out from the rest (cost, usage, who served) is worked out anew. Errors
        are not kept, and of a deployment and its price no more than a record tells.
        """
        call_id = values["call_id"]
        return cls(
            context=Context(**values.get("context") or {}),
            selections=[Selection.from_dict(one) for one in values.get("selections") or ()],
            attempts=[attempt_of(one, call_id) for one in values.get("attempts") or ()],
            problems=[(one["plugin"], one["hook"], one["error"]) for one in values.get("problems") or ()],
            latency=values.get("latency_s") or 0.0,
            first_token=values.get("first_token_s"),
            **{name: values[name] for name in _AS_THEY_ARE if values.get(name)},
        )

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """The record of a call's row in the ledger; of one that recovery closed, what the row says."""
        return cls.from_dict({**{name: row.get(name) for name in _IN_A_ROW}, **row["decision"]})


_IN_A_ROW: Final = ("call_id", "model", "at", "status", "shape")
"""Columns of a call's row that are told when its decision is not, or does not say."""
_AS_THEY_ARE: Final = (
    *("call_id", "model", "at", "tags", "operation", "stream", "status", "denied_by", "reason", "error"),
    *("policy", "policy_version", "rule", "experiments", "units", "shadow_of", "shape", "trace_id", "notes"),
)
"""Attributes that are told under their own names."""

_LABELS: Final = (
    *("tags", "denied_by", "reason", "error", "policy", "policy_version", "rule", "experiments", "units"),
    *("shadow_of", "shape", "trace_id", "notes"),
)
_WHOLE: Final = (
    *("call_id", "model", "at", "operation", "stream", "status", "served_by", "latency_s", "first_token_s"),
    *("cost_nano_usd", "cost_usd", "cost_per_1k_nano_usd", "usage", "context"),
    *(*_LABELS, "selections", "attempts", "problems"),
)
"""All that a record tells, in order."""


def _who(context: Context) -> dict[str, Any]:
    return {
        name: value
        for name in Context.__dataclass_fields__
        if (value := getattr(context, name)) not in (None, EMPTY)
    }


_CALLED_BY_NOBODY: Final = _who(NOBODY)
