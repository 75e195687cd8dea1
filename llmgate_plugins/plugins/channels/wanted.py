"""Which alerts a channel wants."""

from __future__ import annotations

from collections.abc import Sequence

from llmgate_plugins.alerts import SEVERITIES, TEST, Alert, Severity

__all__ = ["Wanted"]


class Wanted:
    """Picks alerts by severity and kind.

    Args:
        min_severity: The least severe that is wanted.
        kinds: Kinds that are wanted; empty for all.

    Raises:
        ValueError: No such severity, or `kinds` is one text.
    """

    __slots__ = ("kinds", "min_severity")

    def __init__(self, min_severity: Severity = "info", kinds: Sequence[str] = ()) -> None:
        if min_severity not in SEVERITIES:
            raise ValueError(f"min_severity must be one of {', '.join(SEVERITIES)}, not {min_severity!r}")
        if isinstance(kinds, str):
            raise ValueError(  # noqa: TRY004 - every refusal here is a ValueError
                f"kinds must be a list of kinds, not the text {kinds!r}"
            )
        self.min_severity, self.kinds = min_severity, frozenset(kinds)

    def __contains__(self, alert: Alert) -> bool:
        if alert.kind == TEST:
            return True
        if SEVERITIES.index(alert.severity) < SEVERITIES.index(self.min_severity):
            return False
        return not self.kinds or alert.kind in self.kinds
