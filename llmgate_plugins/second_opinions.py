"""What selection would have come to under another policy, at the same moment, from the same state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from llmgate_plugins.context import StashKey
from llmgate_plugins.records import Selection
from llmgate_plugins.types import Deployment

__all__ = ["SECOND_OPINION", "SecondOpinion"]


@dataclass(slots=True)
class SecondOpinion:
    """Put one on a call (`call.stash[SECOND_OPINION]`) when it is admitted to have it filled in.

    Every selection of that call is then made twice: by all plugins for a call like it that is
    `hypothetical` and under this policy, and then as ever. Nothing comes of the first.

    Attributes:
        policy: Its name.
        found: (selection, best deployment or None) of each selection.
        error: Why there is none, as of the last one: the policy denies the call, say.
    """

    policy: str
    found: list[tuple[Selection, Deployment | None]] = field(default_factory=list)
    error: str | None = None


SECOND_OPINION: Final[StashKey[SecondOpinion]] = StashKey("llmgate.second_opinion")
