"""What a span says of a call and of an attempt, without a word of what was said."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import islice
from math import isfinite
from typing import Any, Final
from urllib.parse import urlsplit

from llmgate_plugins.context import FACTS
from llmgate_plugins.plugins.telemetry import names as n
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.selections import MOST_NAMED
from llmgate_plugins.types import NANO, Attempt, Deployment, Outcome, Request

__all__ = [
    "attempt_attributes",
    "call_attributes",
    "error_type",
    "request_attributes",
    "skipped_attributes",
]

LONGEST: Final = 256
"""Characters of a tag: callers may send anything."""
MOST_TAGS: Final = 32
"""Tags that are told: a span holds 128 attributes, and those it drops for more are the call's own."""

_NUMBERS: Final = (
    ("max_completion_tokens", n.MAX_TOKENS, int),
    ("max_output_tokens", n.MAX_TOKENS, int),
    ("max_tokens", n.MAX_TOKENS, int),
    ("temperature", n.TEMPERATURE, float),
    ("top_p", n.TOP_P, float),
    ("top_k", n.TOP_K, int),
    ("frequency_penalty", n.FREQUENCY_PENALTY, float),
    ("presence_penalty", n.PRESENCE_PENALTY, float),
    ("seed", n.SEED, int),
)
_OUTPUT_TYPES: Final = {"json_object": "json", "json_schema": "json", "text": "text"}


def request_attributes(request: Request) -> dict[str, Any]:
    """What was asked for."""
    found: dict[str, Any] = {n.STREAM: request.stream}
    params = request.params
    for param, name, kind in _NUMBERS:
        value = params.get(param)
        if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
            found[name] = kind(value)
    choices = params.get("n")
    if isinstance(choices, int) and choices != 1:
        found[n.CHOICE_COUNT] = choices
    stop = params.get("stop") or params.get("stop_sequences")
    if isinstance(stop, str | list | tuple):
        found[n.STOP_SEQUENCES] = (stop,) if isinstance(stop, str) else tuple(map(str, stop))
    level = params.get("reasoning_effort")
    if isinstance(level, str):
        found[n.REASONING_LEVEL] = level
    output = _output_type(params)
    if output is not None:
        found[n.OUTPUT_TYPE] = output
    return found


def _output_type(params: Mapping[str, Any]) -> str | None:
    modalities = params.get("modalities")
    if isinstance(modalities, list | tuple) and "audio" in modalities:
        return "speech"
    wanted = params.get("response_format")
    if isinstance(wanted, Mapping):
        return _OUTPUT_TYPES.get(str(wanted.get("type")))
    return "json" if isinstance(wanted, type) else None


def call_attributes(record: DecisionRecord) -> dict[str, Any]:
    """How a call ended, and what it took."""
    usage = record.usage
    found: dict[str, Any] = {
        n.PROVIDER: n.OURSELVES,
        n.CALL_ID: record.call_id,
        n.CALL_STATUS: record.status,
        n.ALIAS: record.model,
        n.ATTEMPTS: len(record.attempts),
    }
    known: dict[str, Any] = {
        n.TIME_TO_FIRST_CHUNK: record.first_token,
        n.ERROR_TYPE: error_type(record),
        n.ANSWERED_BY: record.denied_by,
        n.REASON: record.reason or None,
        n.POLICY: record.policy,
        n.POLICY_VERSION: record.policy_version,
        n.RULE: record.rule,
        n.SHADOW_OF: record.shadow_of,
        n.DROPPED: _dropped(record),
        n.PROBLEMS: len(record.problems) or None,
        **{n.CONTEXT + name: getattr(record.context, name) for name in FACTS},
        **{n.EXPERIMENT + name: arm for name, arm in islice(record.experiments.items(), MOST_NAMED)},
        **{
            n.TAG + name[:LONGEST]: str(value)[:LONGEST]
            for name, value in islice(record.tags.items(), MOST_TAGS)
        },
    }
    sent = [one for one in record.attempts if one[1].status != "skipped"]
    if sent:
        attempt, outcome = sent[-1]
        found |= {
            n.PROVIDER: n.provider(attempt.deployment.provider),
            n.INPUT_TOKENS: usage.total_input,
            n.OUTPUT_TOKENS: usage.total_output,
            n.COST: record.cost / NANO,
            n.ESTIMATED: usage.estimated,
            n.DEPLOYMENT: attempt.deployment.id,
            **_server(attempt.deployment),
        }
        known |= {
            n.RESPONSE_ID: outcome.response_id,
            n.RESPONSE_MODEL: outcome.model,
            n.FINISH_REASONS: (outcome.finish_reason,) if outcome.finish_reason else None,
            n.REGION: attempt.deployment.region,
            n.CACHE_READ_TOKENS: usage.cached_input or None,
            n.CACHE_WRITE_TOKENS: usage.cache_write + usage.cache_write_1h or None,
            n.REASONING_TOKENS: usage.reasoning or None,
        }
    return found | {name: value for name, value in known.items() if value is not None}


def _dropped(record: DecisionRecord) -> tuple[str, ...] | None:
    """ "region: 3": for each reason, how many deployments were left out for it."""
    counts = record.brief().get("dropped")
    return (
        tuple(f"{reason}: {number}" for reason, number in islice(counts.items(), MOST_NAMED))
        if counts
        else None
    )


def attempt_attributes(attempt: Attempt, outcome: Outcome) -> dict[str, Any]:
    """How an attempt ended. No name of the GenAI conventions: whoever adds up their spans has the call's."""
    deployment, usage, failure = attempt.deployment, outcome.usage, outcome.failure
    found: dict[str, Any] = {
        n.ATTEMPT_NUMBER: attempt.number,
        n.ATTEMPT_REASON: attempt.reason,
        n.ATTEMPT_STATUS: outcome.status,
        n.ALIAS: attempt.alias,
        n.DEPLOYMENT: deployment.id,
        n.DEPLOYMENT_PROVIDER: n.provider(deployment.provider),
        n.DEPLOYMENT_MODEL: deployment.model,
        n.ATTEMPT_INPUT: usage.total_input,
        n.ATTEMPT_OUTPUT: usage.total_output,
        n.COST: outcome.cost / NANO,
        n.ESTIMATED: usage.estimated,
        **_server(deployment),
    }
    known = {
        n.REGION: deployment.region,
        n.ATTEMPT_MODEL: outcome.model,
        n.ATTEMPT_FIRST_TOKEN: outcome.first_token,
        n.ERROR_TYPE: failure.error_class.value if failure is not None else None,
        n.HTTP_STATUS: failure.status if failure is not None else None,
    }
    return found | {name: value for name, value in known.items() if value is not None}


def skipped_attributes(attempt: Attempt, outcome: Outcome) -> dict[str, Any]:
    """Why an attempt was never sent."""
    return {
        n.ATTEMPT_NUMBER: attempt.number,
        n.ATTEMPT_REASON: attempt.reason,
        n.ATTEMPT_STATUS: outcome.status,
        n.ATTEMPT_SKIPPED: outcome.skipped or "",
        n.ALIAS: attempt.alias,
        n.DEPLOYMENT: attempt.deployment.id,
    }


def error_type(record: DecisionRecord) -> str | None:
    """The class of a call's failure, the code of its denial, or the name of its error; None for none."""
    if record.status == "denied":
        return record.reason or "denied"
    if record.status != "error":
        return None
    for _, outcome in reversed(record.attempts):
        if outcome.failure is not None:
            return outcome.failure.error_class.value
    return (record.error or n.OTHER).partition(":")[0]


def _server(deployment: Deployment) -> Mapping[str, Any]:
    url = deployment.endpoint.base_url
    return {} if url is None else _host(url)


@lru_cache(maxsize=1024)
def _host(url: str) -> Mapping[str, Any]:
    """Host and port of an address, and nothing else of it."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or (80 if parts.scheme == "http" else 443)
    except ValueError:  # no address at all; the attempt says so better
        return {}
    return {} if host is None else {n.SERVER_ADDRESS: host, n.SERVER_PORT: port}
