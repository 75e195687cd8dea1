"""One policy as a value: its constraints, its preference, its targets."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, get_args

from llmgate_plugins.policies.sticky import Sticky
from llmgate_plugins.types import BUCKETS, EMPTY, OnBreak

__all__ = ["NEAR_ONE", "Policy", "Target", "digest"]

NEAR_ONE: Final = 1e-6
"""How far weights that must sum to 1 may be off: thirds cannot be written exactly."""

_LISTS: Final = (
    "region", "data_class", "capabilities", "provider", "only", "ignore", "terms", "fallback_to",
)  # fmt: skip
_SECONDS: Final = ("deadline", "p50", "p95", "p99")
_PRICED: Final = (*BUCKETS, "call")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a policy hands a call on to: another policy, or some of the deployments.

    Attributes:
        policy: Name of a policy that then applies as well.
        only: Deployment ids, providers or "provider/model": nothing else.
        weight: The share of calls it gets; None in a policy whose targets are tried in order.
    """

    policy: str | None = None
    only: Sequence[str] = ()
    weight: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "only", _names("only", self.only))
        if (self.policy is None) == (not self.only):
            raise ValueError("a target names either a policy or, by `only`, deployments")
        if self.weight is not None:
            _number("weight", self.weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What one policy asks for. What is not declared is never good enough.

    Attributes:
        prefer: Which deployment to try first: the name of a preference, or names with weights
            that sum to 1; None for no opinion.
        region: A deployment must declare one of these.
        data_class: The call's context must declare one of these.
        cleared: Whether a deployment must declare the call's data class among its own.
        capabilities: A deployment must declare all of these.
        provider: A deployment must be of one of these.
        only, ignore: Deployment ids, providers or "provider/model": nothing else, never these.
        terms: Its provider must have agreed to all of these ("no_retention", "no_training").
        max_price: Bucket of tokens ("input", "output", ...) -> the most that a million of them
            may cost, in US dollars; "call" -> the most that this call may be expected to cost.
        context_fit: Whether its context window must be known to hold the request and its answer.
        own: What constraints of third parties ask for, by name; see `Call.policies`.
        fallback_to: Aliases to go on with, where the application named none itself.
        deadline: Seconds for a call with all its attempts.
        max_attempts: Most attempts of one call, fallbacks included.
        p50, p95, p99: Goals in seconds, for preferences that keep them.
        success: The same for the share of calls that succeed: 0.99.
        on_break: What happens when a stream breaks after its first content, where the call
            itself does not say: "raise", "restart", "resume" or "hold" (see `Request`).
        targets: What the call is handed on to: drawn by weight, or the first in order that has
            an eligible deployment. What this policy asks for holds there too.
        by: The fact of the context ("user", "tenant") by whose value targets are drawn, so that
            the same user always gets the same; None to draw anew for each call.
        sticky: Whether calls that belong together are kept where a provider's cache is warm.
        name: As it was configured; filled in by whoever holds several.
        version: Names this state of the policy in the books; None for eight hex digits that
            change with its content.

    Raises:
        ValueError: A value makes no sense; the message names the field.
    """

    prefer: str | Mapping[str, float] | None = None
    region: Sequence[str] = ()
    data_class: Sequence[str] = ()
    cleared: bool = False
    capabilities: Sequence[str] = ()
    provider: Sequence[str] = ()
    only: Sequence[str] = ()
    ignore: Sequence[str] = ()
    terms: Sequence[str] = ()
    max_price: Mapping[str, float] = field(default=EMPTY)
    context_fit: bool = False
    own: Mapping[str, Any] = field(default=EMPTY)
    fallback_to: Sequence[str] = ()
    deadline: float | None = None
    max_attempts: int | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    success: float | None = None
    on_break: OnBreak | None = None
    targets: Sequence[Target] = ()
    by: str | None = None
    sticky: Sticky | Mapping[str, Any] | None = None
    name: str | None = None
    version: str | None = None

    def __post_init__(self) -> None:
        for name in _LISTS:
            object.__setattr__(self, name, _names(name, getattr(self, name)))
        for name in _SECONDS:
            value = getattr(self, name)
            if value is not None and not _number(name, value):
                raise ValueError(f"{name} must be above 0, not {value!r}")
        if self.prefer is not None:
            _check_preference(self.prefer)
        for bucket, most in self.max_price.items():
            if bucket not in _PRICED:
                raise ValueError(f"max_price must be of {', '.join(_PRICED)}, not of {bucket!r}")
            _number(f"max_price of {bucket}", most)
        attempts = self.max_attempts
        if attempts is not None and (type(attempts) is not int or attempts < 1):
            raise ValueError(f"max_attempts must be a whole number of at least 1, not {attempts!r}")
        if self.on_break is not None and self.on_break not in get_args(OnBreak):
            raise ValueError(f"on_break must be one of {', '.join(get_args(OnBreak))}, not {self.on_break!r}")
        if isinstance(self.sticky, Mapping):
            object.__setattr__(self, "sticky", Sticky(**self.sticky))
        object.__setattr__(self, "targets", tuple(map(_target, self.targets)))
        _check_weights(self.targets)
        if self.version is None:
            object.__setattr__(self, "version", digest(self.content()))

    def content(self) -> str:
        """All that it says, as one text: the same for two policies that say the same."""
        said = []
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name not in ("name", "version") and value != one.default:
                said.append((one.name, sorted(value.items()) if isinstance(value, Mapping) else value))
        return repr(said)


def digest(content: str) -> str:
    """Eight hex digits that change with the content."""
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _names(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        raise ValueError(  # noqa: TRY004 - every refusal here is a ValueError
            f"{name} must be a list of names, not the text {value!r}"
        )
    return tuple(value)


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ValueError(f"{name} must be a number, 0 or more, not {value!r}")
    return value


def _check_preference(prefer: object) -> None:
    if isinstance(prefer, str) and prefer:
        return
    if not isinstance(prefer, Mapping) or not prefer:
        raise ValueError(f"prefer must be a name, or names with weights, not {prefer!r}")
    total = sum(_number(f"the weight of {name!r}", weight) for name, weight in prefer.items())
    if abs(total - 1) > NEAR_ONE:
        raise ValueError(f"the weights of prefer must sum to 1, not to {total:g}")


def _target(given: Any) -> Target:
    return given if isinstance(given, Target) else Target(**given)


def _check_weights(targets: Sequence[Target]) -> None:
    weights = [one.weight for one in targets if one.weight is not None]
    if not weights:
        return
    if len(weights) < len(targets):
        raise ValueError("either all targets have a weight, or none has one and they are tried in order")
    if abs(sum(weights) - 1) > NEAR_ONE:
        raise ValueError(f"the weights of targets must sum to 1, not to {sum(weights):g}")
