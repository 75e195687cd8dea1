"""What a gateway hands to its plugins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from llmgate_plugins.alerts import NO_ALERTS, Alerts
from llmgate_plugins.services.chance import Random
from llmgate_plugins.services.clock import Clock, Sleeper
from llmgate_plugins.services.ledger import Ledger
from llmgate_plugins.services.pending import MaybePending
from llmgate_plugins.services.state import State
from llmgate_plugins.types import Deployment, Request

if TYPE_CHECKING:
    from llmgate_plugins.context import Call, Context
    from llmgate_plugins.decisions import Scores

__all__ = ["Score", "Services"]


class Score(Protocol):
    """Asks plugins how a preference of theirs values deployments."""

    def __call__(
        self,
        preference: str,
        request: Request,
        deployments: Sequence[Deployment],
        context: Context,
        call: Call,
    ) -> MaybePending[Scores | None]:
        """What the first plugin says that knows the preference (hook `score_deployments`); None if
        none does. One that fails is passed over, and noted in the call's record."""


def _nobody_scores(
    preference: str,  # noqa: ARG001 - as of `Score`
    request: Request,  # noqa: ARG001
    deployments: Sequence[Deployment],  # noqa: ARG001
    context: Context,  # noqa: ARG001
    call: Call,  # noqa: ARG001
) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Services:
    """What a gateway hands to plugins and drivers. One of each per gateway.

    Attributes:
        plugins: (name, plugin) of all, in run order: what one shows publicly (`Health.report`) others
            may read.
        score: Asks for preferences that are not built in.
    """

    clock: Clock
    random: Random
    sleeper: Sleeper
    state: State
    ledger: Ledger
    alerts: Alerts = NO_ALERTS
    plugins: tuple[tuple[str, object], ...] = ()
    score: Score = _nobody_scores
