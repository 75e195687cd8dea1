"""What the books keep of an attempt, its end and its call, read out in one go: plain values in one order.

To read them out and to write them down as JSON takes a call a fraction of what its rows take,
which are made of them later: by the ledger's writer, or by whoever finds them in an outbox after
a crash, of this version or another. So their order is a file format: first the kind of row, then
one tuple for each object that they were read out of, since to unpack them into one costs a call
as much as to read them. What a later version has to say comes at the end of a tuple, or of all, and
who reads them takes what an older one does not say for nothing, and leaves out what it does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, Final, TypeAlias

from llmgate_plugins.context import NOBODY, Context
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import AttemptIntent, Settlement
from llmgate_plugins.types import BUCKETS, Deployment

__all__ = ["CONTEXT_COLUMNS", "READERS", "Facts", "call_facts", "intent_facts", "settlement_facts"]

Facts: TypeAlias = tuple[Any, ...]
"""Text, numbers, mappings of text, and tuples of such (lists, once they were JSON); None for nothing."""

CONTEXT_COLUMNS: Final = {
    "tenant": "tenant",
    "team": "team",
    "project": "project",
    "user": "user_id",  # `user` is a reserved word of SQL, and names the database's own user
    "feature": "feature",
    "cohort": "cohort",
    "environment": "environment",
    "key": "key_id",
    "region": "required_region",  # `region` is where the deployment runs
    "data_class": "data_class",
    "policy": "policy",
}
"""Field of `Context` -> column, in both tables."""

# All of them read by one call of C, which is most of what this costs.
_intent: Final = attrgetter(
    *("call_id", "number", "at", "alias", "reason", "estimate", "reserve", "reserve_tokens", "expires"),
    "selection",
)
_call: Final = attrgetter(
    "model", "operation", "stream", "context.priority", "trace_id", "policy", "policy_version", "shadow_of"
)
_end: Final = attrgetter(
    *("status", "at", "cost", "latency", "first_token", "finish_reason", "model", "error_class", "scope"),
    *("code", "http_status"),
)
_usage: Final = attrgetter("estimated", "tier", *BUCKETS)
_closing: Final = attrgetter(
    *("call_id", "at", "model", "operation", "stream", "status", "latency", "first_token", "denied_by"),
    *("reason", "error", "trace_id", "policy", "policy_version", "rule", "shadow_of"),
)
_sent: Final = attrgetter("deployment.id", "deployment.provider", "deployment.model", "alias")
_came: Final = attrgetter("status", "model", "cost")


def intent_facts(intent: AttemptIntent) -> Facts:
    """Of an attempt that is about to be made; see `opened_columns`."""
    call = intent.call
    told = None if call is None else _call(call)
    return ("open", _intent(intent), intent.labels or None, _deployment(intent.deployment), told)


def settlement_facts(settled: tuple[str, int, Settlement]) -> Facts:
    """Of the end of one; see `settled_columns`."""
    call_id, number, settlement = settled
    price = settlement.price
    of = None if price is None else (price.source, price.as_of)
    return ("settle", (call_id, number), _end(settlement), _usage(settlement.usage), of)


def call_facts(record: DecisionRecord) -> Facts:
    """Of a call that is over: all but how it was decided; see `closed_columns`."""
    attempts = []
    for attempt, outcome in record.attempts:
        failure = outcome.failure
        went_wrong = None if failure is None else failure.error_class
        attempts.append((_sent(attempt), _came(outcome), _usage(outcome.usage), went_wrong))
    tags, experiments = record.tags or None, record.experiments or None
    return ("close", _closing(record), tags, experiments, _who(record.context), attempts)


READERS: Final[Mapping[str, Callable[[Any], Facts]]] = {
    "open": intent_facts,
    "settle": settlement_facts,
    "close": call_facts,
}
"""By kind: what reads them out of what is handed over."""


_deployments: dict[int, tuple[Deployment, Facts]] = {}
"""By its id in memory: a deployment, and its facts. It is kept, so that the id stays its own."""


def _deployment(deployment: Deployment) -> Facts:
    known = _deployments.get(id(deployment))
    if known is not None:
        return known[1]
    price = deployment.price
    facts = (
        deployment.id,
        deployment.provider,
        deployment.model,
        deployment.region,
        deployment.credential,
        None if price is None else (price.source, price.as_of),
    )
    if len(_deployments) >= 1024:
        _deployments.clear()
    _deployments[id(deployment)] = (deployment, facts)
    return facts


_latest: tuple[Context, Facts] = (NOBODY, (None, NOBODY.priority, None))
"""Who called last, and the facts that say so: most calls in a row have the same."""


def _who(context: Context) -> Facts:
    global _latest
    known, facts = _latest
    if known is not context:
        columns = {
            column: value
            for name, column in CONTEXT_COLUMNS.items()
            if (value := getattr(context, name)) is not None
        }
        facts = (columns or None, context.priority, context.extra or None)
        _latest = (context, facts)
    return facts
