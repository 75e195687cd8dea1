"""What a call may be counted under."""

from __future__ import annotations

from typing import Final, Literal, get_args

from llmgate_plugins.records import DecisionRecord

__all__ = ["SUBJECTS", "Subject", "named", "subject_of"]

Subject = Literal[
    "all", "policy", "alias", "tenant", "team", "project", "user", "feature", "cohort", "environment"
]
SUBJECTS: Final[tuple[Subject, ...]] = get_args(Subject)


def subject_of(by: Subject, record: DecisionRecord) -> str | None:
    """The name of what a call is counted under; None if it has none."""
    if by == "all":
        return "all"
    if by == "alias":
        return record.model
    if by == "policy":
        return record.policy or record.context.policy or "default"
    name: str | None = getattr(record.context, by)
    return name


def named(by: str, name: str) -> str:
    """As the subject of a sentence."""
    return "The gateway" if by == "all" else f"{by.capitalize()} {name}"
