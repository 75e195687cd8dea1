"""Days on which something ends, as people write them."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Final

__all__ = ["KEY_EXPIRES", "moment_of"]

KEY_EXPIRES: Final = "key_expires"
"""Where a deployment's `info` says until when its key is good."""


def moment_of(value: object) -> datetime | None:
    """When something ends: of a date, the end of that day in UTC. None for None.

    Raises:
        ValueError: It is neither a date nor a time.
    """
    if value is None:
        return None
    if isinstance(value, str):
        try:
            whole_day = len(value) <= len("2026-12-31")
            value = date.fromisoformat(value) if whole_day else datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"{value!r} is no date; write 2026-12-31") from None
    if isinstance(value, datetime):
        return value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime.combine(value, time(tzinfo=UTC)) + timedelta(days=1)
    raise ValueError(f"{value!r} is no date; write 2026-12-31")
