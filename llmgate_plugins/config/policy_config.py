"""The section `policies`: who may use what, and in which order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from llmgate_plugins.config.deployment_config import Name
from llmgate_plugins.config.problems import closest
from llmgate_plugins.config.quantities import Duration, Share, UsdPerMillion
from llmgate_plugins.config.section import Section
from llmgate_plugins.policies import Policy, Sticky, Target
from llmgate_plugins.policies.policy import NEAR_ONE
from llmgate_plugins.policies.preferences import PREFERENCES, UNWEIGHED
from llmgate_plugins.types import OnBreak

__all__ = ["LatencyGoal", "PolicyConfig", "Requirements", "TargetConfig"]


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _preferred(value: Any) -> Any:
    words = value if isinstance(value, Mapping) else (value,)
    for word in words:
        if not isinstance(word, str) or word in PREFERENCES:
            continue
        near = closest(word, PREFERENCES, 0.75)
        if near or _PLAIN.fullmatch(word) is None:
            raise PydanticCustomError(
                "preference",
                "must be one of {known}, or what a plugin scores; {near}",
                {"known": ", ".join(PREFERENCES), "near": near or "write one of them"},
            )
    return value


def _weighable(weights: Mapping[str, float]) -> Mapping[str, float]:
    for name in weights:
        if name in UNWEIGHED:
            raise PydanticCustomError(
                "weights", "{name} has no scores to be weighed; write prefer: {name} alone", {"name": name}
            )
    return _whole(weights)


def _whole(weights: Mapping[str, float]) -> Mapping[str, float]:
    total = sum(weights.values())
    if abs(total - 1) > NEAR_ONE:
        raise PydanticCustomError(
            "weights",
            "weights must sum to 1, not to {total}; change one of them",
            {"total": f"{total:g}"},
        )
    return weights


_PLAIN: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
"""What a third party may call a preference."""

Weights = Annotated[Mapping[Name, Share], AfterValidator(_weighable)]
Preferred = Annotated[
    Annotated[Name, Tag("(name)")] | Annotated[Weights, Tag("(weights)")],
    Discriminator(lambda value: "(weights)" if isinstance(value, Mapping) else "(name)"),
    BeforeValidator(_preferred),
]
"""The name of a preference, or names with weights that sum to 1."""

Names = Annotated[tuple[Name, ...], BeforeValidator(_one_or_many, json_schema_input_type=Name | list[Name])]
"""One name or a list of them."""


Stable = Literal[
    "tenant", "team", "project", "user", "feature", "cohort", "environment", "key", "region",
    "data_class", "session", "priority",
]  # fmt: skip


class MostPrice(Section):
    """The most that a deployment may cost. One whose price is not known is not eligible."""

    input: UsdPerMillion | None = Field(None, description="US dollars per million input tokens.")
    cached_input: UsdPerMillion | None = Field(None, description="The same, of those from a cache.")
    cache_write: UsdPerMillion | None = Field(None, description="The same, of those written to a cache.")
    output: UsdPerMillion | None = Field(None, description="US dollars per million output tokens.")
    reasoning: UsdPerMillion | None = Field(None, description="The same, of those spent on reasoning.")
    call: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        None, description="US dollars that the call at hand may be expected to cost."
    )

    @model_validator(mode="before")
    @classmethod
    def _prices(cls, value: Any) -> Any:
        if isinstance(value, str | int | float | list):
            raise PydanticCustomError(
                "most_price",
                "is no mapping of prices; write {input: 3, output: 15}, in US dollars per million tokens, "
                "or {call: 0.2}",
            )
        return value

    def most(self) -> dict[str, float]:
        """What is written."""
        return {name: float(value) for name, value in self if value is not None}


class Requirements(Section):
    """What a deployment must be to serve at all. Undeclared is not good enough."""

    region: Names = Field((), description="Regions of which it must declare one.")
    data_class: Names = Field((), description="Data classes a call may have under this policy.")
    cleared: bool = Field(
        False, strict=True, description="Whether it must declare the call's data class (`data_classes`)."
    )
    capabilities: Names = Field((), description='What it must be able to do: "tools", "vision" ...')
    provider: Names = Field((), description="Providers of which it must be one.")
    only: Names = Field((), description='Only these: deployment ids, providers or "provider/model".')
    ignore: Names = Field((), description='Never these: deployment ids, providers or "provider/model".')
    terms: Names = Field(
        (), description="What its provider must have agreed to: no_retention, no_training ..."
    )
    max_price: MostPrice = Field(default_factory=MostPrice, description="The most it may cost.")
    context_fit: bool = Field(
        False,
        strict=True,
        description="Whether its context window must be known to hold the request and its answer.",
    )
    own: Mapping[str, Any] = Field(default_factory=dict, description="Words for plugins' own constraints.")


class TargetConfig(Section):
    """What a policy hands calls on to: another policy, or some of the deployments."""

    policy: Name | None = Field(None, description="A policy that then applies as well.")
    only: Names = Field((), description='Only these: deployment ids, providers or "provider/model".')
    weight: Share | None = Field(
        None, description="Its share of calls. All have one or none has; then they are tried in order."
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.policy is None) == (not self.only):
            raise PydanticCustomError("target", "names either a policy or, by only, deployments; write one")
        return self


def _weighed(targets: tuple[TargetConfig, ...]) -> tuple[TargetConfig, ...]:
    weights = [one.weight for one in targets if one.weight is not None]
    if 0 < len(weights) < len(targets):
        raise PydanticCustomError("weights", "some have no weight; give each one, or none")
    if weights:
        _whole({str(index): weight for index, weight in enumerate(weights)})
    return targets


class LatencyGoal(Section):
    """How fast and how sure calls should be: goals for ranking and for alerts, not limits."""

    p50: Duration | None = Field(None, description="Half of the calls end within this time.")
    p95: Duration | None = Field(None, description="95 of 100 calls end within this time.")
    p99: Duration | None = Field(None, description="99 of 100 calls end within this time.")
    success: Annotated[Share, Field(gt=0, lt=1)] | None = Field(
        None, description="The share of calls that succeed: 99%."
    )


class StickyConfig(Section):
    """Calls that belong together are kept where a provider's prompt cache is warm, if that saves money."""

    by: Literal["session", "prefix"] = Field(
        "session", description="What belongs together: calls of a session, or of one system prompt and tools."
    )
    idle: Duration | None = Field(
        None, description="When the cache counts as cold; left out: what the provider says, 5m or 10m."
    )
    second: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = Field(
        0.001, description="US dollars that a second is worth, where the policy prefers the fastest."
    )


def _sticky(value: Any) -> Any:
    return {"by": value} if isinstance(value, str) else value


class PolicyConfig(Section):
    """A named set of rules; the application names it in the context, `default` applies otherwise."""

    prefer: Preferred | None = Field(
        None,
        description="Which deployment to try first: ordered (as in the file), weighted, cheapest, fastest, "
        "most_reliable, balanced, best_rated (by feedback), a name that a plugin scores, or several "
        "with weights that sum to 1. Left out: no opinion.",
    )
    require: Requirements = Field(
        default_factory=Requirements, description="What a deployment must be to serve."
    )
    fallback_to: Names = Field((), description="Aliases to try when all deployments of the alias failed.")
    deadline: Duration | None = Field(None, description="Longest time for a call with all its attempts.")
    max_attempts: int | None = Field(
        None, ge=1, le=100, strict=True, description="Most attempts of one call."
    )
    slo: LatencyGoal | None = Field(None, description="How fast and how sure calls should be.")
    on_break: OnBreak | None = Field(
        None,
        description="As `failover: on_break`, for the calls of this policy: raise, restart, resume or hold.",
    )
    version: str | None = Field(
        None,
        min_length=1,
        description="Names this state of the policy in the books. Left out: digits that change with its "
        "content.",
    )

    targets: Annotated[tuple[TargetConfig, ...], AfterValidator(_weighed)] = Field(
        (),
        description="What calls are handed on to: drawn by weight, or the first in order that has an "
        "eligible deployment. What this policy requires holds there too.",
    )
    sticky: Annotated[
        StickyConfig | None, BeforeValidator(_sticky, json_schema_input_type=str | StickyConfig | None)
    ] = Field(None, description="Keep calls where a provider's prompt cache is warm: session or prefix.")
    by: Stable | None = Field(
        None, description="Fact of the context by whose value targets are drawn: the same user, the same one."
    )

    def policy(self) -> Policy:
        """As the plugin takes it."""
        required = {name: value for name, value in self.require if name != "max_price"}
        goals = (
            {name: getattr(self.slo, name) for name in ("p50", "p95", "p99", "success")} if self.slo else {}
        )
        return Policy(
            **required,
            **goals,
            max_price=self.require.max_price.most(),
            prefer=self.prefer,
            fallback_to=self.fallback_to,
            deadline=self.deadline,
            max_attempts=self.max_attempts,
            on_break=self.on_break,
            targets=[Target(policy=one.policy, only=one.only, weight=one.weight) for one in self.targets],
            by=self.by,
            sticky=None if self.sticky is None else Sticky(**dict(self.sticky)),
            version=self.version,
        )
