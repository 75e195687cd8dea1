"""The section that puts questions to live traffic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from llmgate_plugins.config.deployment_config import Name
from llmgate_plugins.config.quantities import Duration, Share, Threshold
from llmgate_plugins.config.rule_config import When
from llmgate_plugins.config.section import Section
from llmgate_plugins.policies.policy import NEAR_ONE

__all__ = ["ArmConfig", "ExperimentConfig", "PromptConfig", "RollbackConfig", "StageConfig"]

Param = Literal[
    "temperature", "top_p", "max_tokens", "max_completion_tokens", "reasoning_effort", "verbosity", "seed",
    "presence_penalty", "frequency_penalty",
]  # fmt: skip
"""What an arm may set: how an answer is written, never where it comes from."""

_PLACE = "{prompt}"


def _one_place(template: str) -> str:
    if template.count(_PLACE) != 1:
        raise PydanticCustomError("template", "must say {prompt} once; that is where the user's words stand")
    return template


class PromptConfig(Section):
    """What is done to the messages. A plain text is short for {system: text}."""

    system: str | None = Field(None, min_length=1, description="A system prompt.")
    place: Literal["instead", "before", "after"] = Field(
        "instead", description="Whether it stands instead of the caller's own, before or after it."
    )
    template: Annotated[str, AfterValidator(_one_place)] | None = Field(
        None, description='Text around what the user wrote last, which stands at "{prompt}".'
    )

    @model_validator(mode="after")
    def _says_something(self) -> PromptConfig:
        if self.system is None and self.template is None:
            raise PydanticCustomError("prompt", "changes nothing; write system: ... or template: ...")
        return self


def _from_text(value: Any) -> Any:
    return {"system": value} if isinstance(value, str) else value


class ArmConfig(Section):
    """One way to treat a call. What it leaves out stays as it is."""

    name: Name = Field(description="Unique within its experiment.")
    weight: Share | None = Field(None, description="Its share: 0.1 or 10%. Left out where there are stages.")
    model: Name | None = Field(None, description="The alias that is asked instead.")
    policy: Name | None = Field(None, description="The policy under which the call goes on.")
    prompt: (
        Annotated[PromptConfig, BeforeValidator(_from_text, json_schema_input_type=str | PromptConfig)] | None
    ) = Field(None, description="Another system prompt, or a template around what the user wrote.")
    params: Mapping[Param, str | int | float] = Field(
        default_factory=dict, description="Call parameters in place of the caller's."
    )


class StageConfig(Section):
    """A step of a canary."""

    share: Annotated[Share, Field(gt=0, lt=1)] = Field(
        description="What the candidate gets: 1%. Not all of it: control is what it is compared with."
    )
    seconds: Duration = Field(
        validation_alias=AliasChoices("for", "seconds"), description="For how long at least: 1h."
    )
    calls: int = Field(100, ge=1, strict=True, description="Calls that the candidate must have had.")


class RollbackConfig(Section):
    """When a canary is taken back: as soon as one of these is sure."""

    errors: Share | None = Field(
        0.01, description="Its calls are in trouble more often than control's by more than this: 1%."
    )
    p95: Threshold | None = Field(
        None, description="More of its calls than of control's take longer than control's p95 and this: 20%."
    )
    cost: Threshold | None = Field(
        None, description="Its calls cost more than control's and this part of it, on average: 20%."
    )
    confidence: Annotated[Share, Field(ge=0.5, lt=1)] = Field(
        0.99, description="How sure, in all, however often one looks."
    )
    calls: int = Field(
        20, ge=1, strict=True, description="Calls each arm must have had before anything is concluded."
    )


class ExperimentConfig(Section):
    """A question put to live traffic. Each unit is assigned to an arm by its name, and stays there."""

    when: When | None = Field(None, description="For which calls, as in rules; left out: for all.")
    by: Name = Field(
        "user",
        description="What is assigned: user, session, tenant, team, ..., extra:NAME, or call. Calls "
        "without it are not.",
    )
    arms: tuple[ArmConfig, ...] = Field(
        description="Two or more; their weights sum to 1.", json_schema_extra={"minItems": 2}
    )
    control: Name | None = Field(
        None, description='The arm that others are compared with; left out: "control".'
    )
    stages: tuple[StageConfig, ...] = Field((), description="Of a canary: what its candidate gets, in turn.")
    rollback: RollbackConfig = Field(
        default_factory=RollbackConfig, description="When a canary is taken back."
    )
    then: Literal["promote", "stay"] = Field(
        "promote", description="After the last stage the candidate gets all calls, or stays at its share."
    )

    @model_validator(mode="after")
    def _adds_up(self) -> ExperimentConfig:
        weights = [arm.weight for arm in self.arms]
        if len(self.arms) < 2:
            raise PydanticCustomError("arms", "compares nothing; write two arms or more")
        if self.stages:
            if len(self.arms) != 2:
                raise PydanticCustomError(
                    "arms", "a canary has two arms; leave the others out, or the stages"
                )
            if any(weight is not None for weight in weights):
                raise PydanticCustomError(
                    "weights", "its stages say what each arm gets; leave the weights out"
                )
            shares = [stage.share for stage in self.stages]
            if any(later <= earlier for earlier, later in pairwise(shares)):
                raise PydanticCustomError("stages", "the shares of its stages must rise; put them in order")
        elif any(weight is None for weight in weights):
            raise PydanticCustomError("weights", "an arm has no weight; give each one, or write stages")
        else:
            total = math.fsum(weight or 0.0 for weight in weights)
            if abs(total - 1) > NEAR_ONE:
                raise PydanticCustomError(
                    "weights",
                    "the weights of its arms sum to {total}, not to 1; write weights that do",
                    {"total": f"{total:g}"},
                )
        return self
