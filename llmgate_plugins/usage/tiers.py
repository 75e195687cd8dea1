"""The words that providers have for how a request was served, as the tiers of a `Price`."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["tier_of"]

_PLAIN: Final = frozenset(
    {"", "default", "standard", "standard_only", "auto", "scale", "on_demand", "provisioned_throughput"}
)
"""Served at the plain price, or at none by the token."""

_SAME: Final = {
    "fast": "priority",  # OpenAI's other name of it, as LiteLLM's price table reads it, too
    "on_demand_priority": "priority",  # Gemini's traffic types
    "on_demand_flex": "flex",
    "batches": "batch",
}


def tier_of(word: Any, *, speed: Any = None, place: Any = None) -> str:
    """The tier of a request, "" for a plain one; further surcharges follow, by a space.

    Args:
        word: A `service_tier` or `trafficType`, as reported.
        speed: Anthropic's `speed`: "fast" is a surcharge of its own.
        place: Anthropic's `inference_geo`: "us" is a surcharge, too.
    """
    tier = ""
    if isinstance(word, str):
        name = word.strip().lower()
        tier = "" if name in _PLAIN else _SAME.get(name, name)[:40]
    if speed == "fast":
        tier = f"{tier} fast".lstrip()
    if place == "us":
        tier = f"{tier} us".lstrip()
    return tier
