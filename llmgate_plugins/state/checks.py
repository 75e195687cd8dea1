"""What a state refuses to be asked, whichever it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from llmgate_plugins.services import Reservation

__all__ = ["LONGEST_LEASE", "check_actual", "check_reservations"]

LONGEST_LEASE: Final = 86_400.0
"""Seconds a lease lasts at the most. So long after a state began, a limit without a window holds
nothing any more that the state does not know of. The scripts for Redis say the same."""


def check_reservations(reservations: Sequence[Reservation], ttl: float) -> None:
    """Raise `ValueError` for an amount below 0, or a window or a `ttl` that is not above 0."""
    if not ttl > 0:
        raise ValueError(f"a lease needs a ttl above 0, not {ttl!r}")
    for wanted in reservations:
        if wanted.amount < 0 or wanted.estimate < 0:
            raise ValueError(
                f"cannot reserve {wanted.amount} of {wanted.key!r} (estimate {wanted.estimate}): "
                "amounts are 0 or more"
            )
        window = wanted.window
        if isinstance(window, int | float) and not window > 0:
            raise ValueError(f"the window of {wanted.key!r} must be above 0 seconds, not {window!r}")


def check_actual(actual: Mapping[str, int]) -> None:
    """Raise `ValueError` for a negative amount."""
    for key, amount in actual.items():
        if amount < 0:
            raise ValueError(f"cannot settle {key!r} at {amount}: what was spent is 0 or more")
