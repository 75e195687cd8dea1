"""At most so many calls a minute for each team."""

from __future__ import annotations

from collections.abc import Awaitable

from llmgate_plugins import Context, RequestDenied, Services, hookimpl
from llmgate_plugins.plugins.pending import then

CRITICAL = 3


class SpeedLimit:
    """Denies calls of a team that come too fast (code "speed"). Critical calls always pass.

    Args:
        per_minute: Calls a team may make in one minute of the clock.
    """

    def __init__(self, per_minute: int) -> None:
        if per_minute < 1:
            raise ValueError(f"per_minute must be at least 1, not {per_minute}")
        self.per_minute = per_minute

    @hookimpl
    def admit_request(self, context: Context, services: Services) -> Awaitable[None] | None:
        if context.priority >= CRITICAL:
            return None
        team = context.team or "everyone else"
        minute = int(services.clock.time() // 60)

        def judge(count: int) -> None:
            if count > self.per_minute:
                raise RequestDenied(
                    f"{team} is too fast; its limit is {self.per_minute} a minute",
                    code="speed",
                    retry_at=(minute + 1) * 60.0,
                )

        return then(services.state.add(f"speed:{team}:{minute}", ttl=60.0), judge)
