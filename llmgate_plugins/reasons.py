"""Every reason code of the built-in plugins: stable words that stand in records, books, spans and errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from llmgate_plugins.policies import reasons as of_policies

__all__ = ["REASONS", "Reason"]

Decision = Literal["dropped", "skipped", "gave up", "denied"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason code.

    Attributes:
        code: The word.
        decision: "dropped": a deployment was no candidate; "skipped": an attempt was not sent, the
            call went on; "gave up": failover ended; "denied": the call was refused.
        plugin: Who says so.
        meaning: What it means.
    """

    code: str
    decision: Decision
    plugin: str
    meaning: str


_DROPPED: Final[Mapping[str, Mapping[str, str]]] = {
    "ContextConstraints": {"region": "The context is bound to a region, and it does not declare that one."},
    "Policies": of_policies.REASONS,
    "Capabilities": {
        "no_tools": "The request has tools, and it is known not to call any.",
        "no_json_schema": "A JSON schema is asked for, and it is known not to keep to one.",
        "no_vision": "There are pictures, and it is known not to see.",
        "no_audio_input": "There is sound, and it is known not to hear.",
        "no_pdf_input": "There is a PDF, and it is known not to read any.",
        "no_reasoning": "Reasoning is asked for, and it is known not to reason.",
    },
    "ContextFit": {"context_window": "An attempt of this call was too long, and its window is no larger."},
    "Health": {
        "throttled": "Its provider refuses more for now; until the provider's reset.",
        "ejected_overload": "It failed too often: overloaded, 5xx, answers that are none.",
        "ejected_transport": "It cannot be reached, or breaks off.",
        "ejected_slow": "It ran into timeouts too often.",
        "ejected_quality": "It gave empty answers too often.",
        "no_money": "Its account has no money.",
        "bad_key": "Its key is refused.",
        "bad_certificate": "Its certificate does not hold.",
        "model_gone": "Its provider does not have the model.",
        "no_path": "Its address knows no path for this kind of call, and others may.",
        "region_refused": "Its provider refuses this region.",
        "not_allowed": "Its key may not use this model.",
        "probing": "It is ejected, and another call is finding out whether it has healed.",
    },
}
_SKIPPED: Final[Mapping[str, Mapping[str, str]]] = {
    "Limits": {
        "budget": "A budget has too little left for the worst case there.",
        "limit": "A limit of requests, tokens or calls at once has no room.",
    },
    "RateLimits": {
        "rate_limit": "Its turn would not come in time.",
        "busy": "Another deployment is free sooner.",
    },
    "Health": {"probing": "It is ejected, and another call is finding out whether it has healed."},
    "Failover": {"retry_budget": "Too many attempts are retries already."},
    "Patience": {"hedge_budget": "Too many attempts are hedges already."},
    "LedgerAccounting": {
        "ledger": "Its intent cannot be written, and nothing may be sent that is not booked."
    },
    "the engine": {
        "wait_past_deadline": "A plugin wanted it to wait for longer than the call has.",
        "cancelled": "The caller's task was cancelled before it was sent.",
        "abandoned": "The caller had left before it was sent.",
    },
}
_GAVE_UP: Final[Mapping[str, Mapping[str, str]]] = {
    "Failover": {"retry_budget": "Too many attempts are retries already."},
    "Health": {"ejected": "The last one that was left is ejected now."},
}
_DENIED: Final[Mapping[str, Mapping[str, str]]] = {
    "Policies": of_policies.DENIALS,
    "Limits": {
        "budget": "A budget has too little left for this call.",
        "limit": "A limit of requests, tokens or calls at once has no room.",
        "budget_unavailable": "A hard limit cannot be checked: the state does not answer.",
    },
    "Idempotency": {"call_id_reused": "The call id was used for another request."},
    "the LiteLLM adapter": {
        "address": "A call brought an address or a key of its own.",
        "invalid_call": "What it says for llmgate makes no sense.",
    },
}


def _all() -> Iterator[Reason]:
    families: tuple[tuple[Decision, Mapping[str, Mapping[str, str]]], ...] = (
        ("dropped", _DROPPED),
        ("skipped", _SKIPPED),
        ("gave up", _GAVE_UP),
        ("denied", _DENIED),
    )
    for decision, by_plugin in families:
        for plugin, codes in by_plugin.items():
            for code, meaning in codes.items():
                yield Reason(code=code, decision=decision, plugin=plugin, meaning=meaning)


REASONS: Final = tuple(_all())
"""All of them, in the order of a call's life. A third party's plugin has words of its own."""
