"""What a provider says it charges for a request, in nano-dollars."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Any, Final

from llmgate_plugins.money import NANO

__all__ = ["CHARGE_KEYS", "charge_in"]

CHARGE_KEYS: Final = ("cost", "cost_in_usd_ticks")
"""Where a usage report names a charge."""

_MOST: Final = 1_000_000 * NANO
_TICKS: Final = 10  # xAI's: 10**10 in a dollar, so ten in a nano-dollar


def charge_in(fields: Mapping[str, Any]) -> int | None:
    """The charge in a usage report, rounded up; None where there is none, or none to be believed.

    OpenRouter's `cost` is all of it, what it pays for inference included, save for requests
    with a key of one's own (`is_byok`): there `cost` is its fee, and the provider charges
    `cost_details.upstream_inference_cost` on top. Perplexity's is a mapping with a
    `total_cost`. xAI counts ticks.
    """
    ticks = fields.get("cost_in_usd_ticks")
    if type(ticks) is int:
        return _believable(-(-ticks // _TICKS))
    cost = fields.get("cost")
    if isinstance(cost, Mapping):
        cost = cost.get("total_cost")
    nanos = _nanos(cost)
    if nanos is not None and fields.get("is_byok") is True:
        details = fields.get("cost_details")
        upstream = _nanos(details.get("upstream_inference_cost")) if isinstance(details, Mapping) else None
        return None if upstream is None else _believable(nanos + upstream)
    return nanos


def _nanos(usd: Any) -> int | None:
    if isinstance(usd, bool) or not isinstance(usd, int | float):
        return None
    try:
        exact = (Decimal(str(usd)) * NANO).to_integral_value(rounding=ROUND_CEILING)
        return _believable(int(exact))
    except (InvalidOperation, ValueError, OverflowError):
        return None


def _believable(nanos: int) -> int | None:
    return nanos if 0 <= nanos <= _MOST else None
