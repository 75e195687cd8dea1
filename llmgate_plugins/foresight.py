"""What would become of a request, told without sending, reserving or writing anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from llmgate_plugins.context import Call, Context
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import MaybePending, Services
from llmgate_plugins.types import Attempt, Request

__all__ = ["Explanation", "Foreseen", "Foresees", "Objection"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """What a plugin would say to an attempt now.

    Attributes:
        action: "deny": the call is refused; "skip": this deployment is left out; "wait": it waits
            its turn; "elsewhere": it goes on under another policy or alias.
        reason: The code that would stand in the record.
        detail: In words, for people.
    """

    action: Literal["deny", "skip", "wait", "elsewhere"]
    reason: str
    detail: str = ""


@runtime_checkable
class Foresees(Protocol):
    """A plugin with `begin_attempt` that can say beforehand what it would object to."""

    def foresee(
        self, attempt: Attempt, request: Request, context: Context, call: Call, services: Services
    ) -> MaybePending[Sequence[Objection]]:
        """What it would say now. It looks, and takes nothing, books nothing and notes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """What one plugin would say to an attempt at one deployment."""

    deployment: str
    plugin: str
    objection: Objection


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What would become of a request.

    Attributes:
        record: As it would stand when the first attempt begins: admitted or denied, with a
            selection for its alias and for each fallback. Nothing was sent, so there are no attempts.
        foreseen: What plugins would say to attempts, of those that would be tried first.
        unknown: What this process does not know, and another might: as sentences.
    """

    record: DecisionRecord
    foreseen: tuple[Foreseen, ...] = ()
    unknown: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[str]:
        """Ids of the deployments that would be tried, in order, over all aliases."""
        refused = {one.deployment for one in self.foreseen if one.objection.action in ("deny", "skip")}
        if self.record.status == "open":
            for selection in self.record.selections:
                yield from (name for name in selection.order if name not in refused)

    @property
    def first(self) -> str | None:
        """Id of the deployment that would be asked first; None where none may serve."""
        return next(iter(self), None)

    @property
    def eligible(self) -> bool:
        """Whether the request would be sent, or answered by a plugin."""
        return self.record.status == "answered" or self.first is not None

    def to_dict(self) -> dict[str, Any]:
        """The explanation as plain JSON values."""
        return {
            "eligible": self.eligible,
            "first": self.first,
            "decision": self.record.to_dict(),
            "foreseen": [_told(one) for one in self.foreseen],
            "unknown": list(self.unknown),
        }


def _told(one: Foreseen) -> Mapping[str, str]:
    return {
        "deployment": one.deployment,
        "plugin": one.plugin,
        "action": one.objection.action,
        "reason": one.objection.reason,
        "detail": one.objection.detail,
    }
