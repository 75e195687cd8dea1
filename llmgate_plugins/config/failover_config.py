"""The section that says what happens when something fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from llmgate_plugins.config.litellm_settings import FallbackList
from llmgate_plugins.config.quantities import Duration, Share
from llmgate_plugins.config.section import Section
from llmgate_plugins.types import OnBreak

__all__ = ["FailoverConfig", "TimeLimits"]

ON_BREAK = (
    "When a stream breaks after its first content: raise an error with the partial text; restart "
    "with a signal; resume as one whole answer; hold everything back until it is whole."
)


class TimeLimits(Section):
    """How long the phases of one attempt may take. What is left out is learned or has its default."""

    connect: Duration | None = Field(None, description="Until there is a connection; 5 s.")
    first_token: Duration | None = Field(
        None,
        description="Until a stream's first content while others are left to try: 30 s at first, then "
        "what the model's own history suggests.",
    )
    longest: Duration | None = Field(
        None, description="Until a stream's first content when nothing is left to try; 300 s."
    )
    whole: Duration | None = Field(
        None, description="Until a whole answer is there, while others are left to try; 120 s."
    )
    thinking: Duration | None = Field(
        None, description="In place of first_token for models that think; 120 s."
    )
    gap: Duration | None = Field(None, description="Between two chunks of a stream; 20 s.")


class FailoverConfig(Section):
    """What happens when a deployment fails, keeps silent or breaks off."""

    max_attempts: int | None = Field(
        None, ge=1, le=100, strict=True, description="Most attempts under one alias; 3."
    )
    patience: Duration | None = Field(
        None, description="Longest Retry-After that is waited out before another alias is tried; 5 s."
    )
    on_break: OnBreak = Field("raise", description=ON_BREAK)
    timeouts: TimeLimits = Field(default_factory=TimeLimits, description="How long things may take.")
    hedge: Share = Field(
        0.0,
        description="Share of calls that may be sent to a second deployment while the first keeps silent: "
        "5% is one in twenty. 0: none.",
    )
    retry_share: Share = Field(
        0.2,
        description="Failing further attempts at a provider, as a share of the calls to it.",
    )
    context_window: FallbackList = Field(
        default_factory=dict, description="Alias -> aliases to use when the prompt is too long."
    )
    content_policy: FallbackList = Field(
        default_factory=dict,
        description="Alias -> aliases that may answer what its provider refused to.",
    )

    def for_failover(self) -> dict[str, Any]:
        """Arguments of the plugin `Failover`."""
        return {"retry_share": self.retry_share, **_given(self, "max_attempts", "patience")}

    def for_patience(self) -> dict[str, Any]:
        """Arguments of the plugin `Patience`."""
        return {"hedge": self.hedge, **_given(self.timeouts, *TimeLimits.model_fields)}


def _given(section: Section, *names: str) -> Mapping[str, Any]:
    return {name: value for name in names if (value := getattr(section, name)) is not None}
