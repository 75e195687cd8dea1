"""Why a policy leaves a deployment out: stable words that stand in records, books and alerts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["DENIALS", "REASONS"]

REASONS: Final[Mapping[str, str]] = {
    "region": "It declares none of the regions asked for, or no region at all.",
    "provider": "It is of none of the providers asked for.",
    "not_in_policy": "It is none of those that `only` names.",
    "ignored": "It is one of those that `ignore` names.",
    "capability": "It does not declare a capability asked for.",
    "terms": "Its provider has not agreed to a term asked for.",
    "data_class": "It is not cleared for the class of data of this call.",
    "price": "It costs more than `max_price` allows.",
    "price_unknown": "`max_price` is set, and nobody knows its price.",
    "context_window": "Its context window is too small for this request, or not known.",
}
"""Reason code of a dropped deployment -> what it means, in the order in which they are looked at."""

DENIALS: Final[Mapping[str, str]] = {
    "policy": "The call names a policy that does not exist.",
    "data_class": "Data of this class, or of none that is declared, is not allowed under the policy.",
}
"""Code of a denied call -> what it means."""
