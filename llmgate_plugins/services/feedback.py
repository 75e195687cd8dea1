"""What somebody said of an answer."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Feedback"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What somebody said of a call's answer, afterwards.

    Attributes:
        id: Unique; the same feedback given twice is kept once.
        call_id: Of which call. It need not be in the books yet.
        at: Unix time.
        name: What was judged ("score", "helpful"): one call may be judged by several.
        score: How good it was; what a score means is the application's own.
        comment: In words.
        source: Who says so ("user", "judge").
        deployment: Id of the deployment whose answer it is about; None if nobody knows.
    """

    id: str
    call_id: str
    at: float
    name: str = "score"
    score: float | None = None
    comment: str | None = None
    source: str | None = None
    deployment: str | None = None
