"""The sections for copies of calls, and for second opinions on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from llmgate_plugins.config.deployment_config import Name
from llmgate_plugins.config.quantities import Duration, Share
from llmgate_plugins.config.section import Section

__all__ = ["ShadowConfig", "ShadowPolicyConfig"]

When = Mapping[Name, Any] | str


class ShadowConfig(Section):
    """Copies of calls to another deployment, alias or policy, once their callers have the answer."""

    name: Name | None = Field(None, description="For records and reports; left out: where the copies go.")
    to: Name | None = Field(None, description="An alias or a deployment's id; left out: as was asked.")
    policy: Name | None = Field(None, description="The policy under which copies go on.")
    sample: Share = Field(1.0, description="Share of the calls that are copied: 5%.")
    when: When | None = Field(None, description="Which calls, as in rules; left out: all.")
    deadline: Duration = Field(60.0, description="How long a copy may take.")
    attempts: int = Field(1, ge=1, strict=True, description="Most attempts of one copy.")
    similarity: bool = Field(
        False,
        strict=True,
        description="Whether the words of both answers are compared.",
    )

    @model_validator(mode="after")
    def _goes_somewhere(self) -> ShadowConfig:
        if self.to is None and self.policy is None:
            raise PydanticCustomError("shadow", "goes nowhere; write to: ALIAS or policy: NAME")
        return self

    @property
    def title(self) -> str:
        """Its name, or where the copies go."""
        return self.name or self.to or self.policy or ""


class ShadowPolicyConfig(Section):
    """A policy that is asked what it would have done. Nothing is sent on its behalf."""

    policy: Name = Field(description="Its name among the policies.")
    sample: Share = Field(1.0, description="Share of the calls: 10%.")
    when: When | None = Field(None, description="Which calls, as in rules; left out: all.")
