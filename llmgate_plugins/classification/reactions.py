"""What follows from each kind of failure, as data: where else, again, at what price, how booked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from llmgate_plugins.types import ErrorClass, Failure, Scope

__all__ = ["CODES", "REACTIONS", "SCOPED", "Reaction", "reaction_to"]

Elsewhere = Literal["sibling", "other_account", "larger_window", "allowed_only", "never"]
Health = Literal["counts", "pauses", "ejects", "retires", "nothing"]
Booked = Literal["nothing", "estimate", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """What to do about a failure, and what it costs.

    Attributes:
        elsewhere: Where else the same request may succeed: on any "sibling" (and then on
            a fallback); on one with another key ("other_account"); on one with larger
            limits ("larger_window"); only where the policy names a model for it
            ("allowed_only"); "never".
        again: Whether the same deployment may be asked again.
        at_once: Asked again without a delay, once.
        retry_cost: What a retry takes from the retry budget. A throttled or unreached
            provider has done no work: its retry is cheap (AWS prices a transient error
            14 and a throttled one 5 of 500 tokens).
        health: "counts" towards an ejection; "pauses" until the provider's reset;
            "ejects" at once; "retires" for good; "nothing".
        booked: "nothing" was billed; an "estimate" of what was delivered; "unknown": the
            request may have been worked on. Of a stream that brought nothing, the input is
            booked; of a whole answer that never came, also the output that was expected.
        alarm: An operator has to do something about it: it will not heal by itself.
    """

    elsewhere: Elsewhere
    again: bool = False
    at_once: bool = False
    retry_cost: float = 0.0
    health: Health = "nothing"
    booked: Booked = "nothing"
    alarm: bool = False


_NEVER: Final = Reaction(elsewhere="never")
_ACCOUNT: Final = Reaction(elsewhere="other_account", health="ejects", alarm=True)
_GONE: Final = Reaction(elsewhere="sibling", health="ejects", alarm=True)
_RETIRED: Final = replace(_GONE, health="retires")
_TRANSIENT: Final = Reaction(elsewhere="sibling", again=True, retry_cost=1.0, health="counts")
_UNREACHED: Final = replace(_TRANSIENT, retry_cost=0.4)

REACTIONS: Final[Mapping[ErrorClass, Reaction]] = {
    ErrorClass.RATE_LIMIT: Reaction(elsewhere="sibling", again=True, retry_cost=0.4, health="pauses"),
    ErrorClass.QUOTA: _ACCOUNT,
    ErrorClass.AUTHENTICATION: _ACCOUNT,
    ErrorClass.PERMISSION: _ACCOUNT,
    ErrorClass.REGION: replace(_GONE, alarm=False),
    ErrorClass.MODEL_NOT_FOUND: _GONE,
    ErrorClass.INVALID_REQUEST: _NEVER,
    ErrorClass.CONTEXT_LENGTH: Reaction(elsewhere="larger_window"),
    ErrorClass.CONTENT_POLICY: Reaction(elsewhere="allowed_only"),
    ErrorClass.TOO_LARGE: Reaction(elsewhere="larger_window"),
    ErrorClass.CONFLICT: Reaction(elsewhere="never", again=True, retry_cost=1.0),
    ErrorClass.TIMEOUT: replace(_TRANSIENT, booked="unknown"),
    ErrorClass.CONNECTION: replace(_TRANSIENT, booked="unknown"),
    ErrorClass.OVERLOADED: _TRANSIENT,
    ErrorClass.SERVER: _TRANSIENT,
    ErrorClass.BAD_RESPONSE: replace(_TRANSIENT, booked="unknown"),
    ErrorClass.EMPTY_RESPONSE: replace(_TRANSIENT, booked="estimate"),
    ErrorClass.TRUNCATED: replace(_TRANSIENT, booked="estimate"),
    ErrorClass.LOCAL: _NEVER,
    ErrorClass.UNKNOWN: Reaction(elsewhere="sibling", retry_cost=1.0, health="counts", booked="unknown"),
}
"""By class, for a failure of the class's usual scope."""

CODES: Final[Mapping[tuple[ErrorClass, str], Reaction]] = {
    (ErrorClass.CONNECTION, "refused"): _UNREACHED,
    (ErrorClass.CONNECTION, "dns"): _UNREACHED,
    (ErrorClass.CONNECTION, "certificate"): replace(_GONE, retry_cost=0.4),
    (ErrorClass.CONNECTION, "unreachable"): _UNREACHED,
    (ErrorClass.CONNECTION, "stale_connection"): Reaction(elsewhere="sibling", again=True, at_once=True),
    (ErrorClass.TIMEOUT, "connect_timeout"): _UNREACHED,
    (ErrorClass.MODEL_NOT_FOUND, "gone"): _RETIRED,
    (ErrorClass.MODEL_NOT_FOUND, "model_decommissioned"): _RETIRED,
    (ErrorClass.MODEL_NOT_FOUND, "model_deprecated"): _RETIRED,
    (ErrorClass.LOCAL, "redirect"): replace(_NEVER, alarm=True),
    (ErrorClass.LOCAL, "proxy"): replace(_NEVER, alarm=True),
}
"""Codes that tell apart what one class holds; most are the classification's own."""


SCOPED: Final[Mapping[tuple[ErrorClass, Scope], Reaction]] = {
    # What a request brought upon itself says nothing about who served it.
    **{(one, Scope.REQUEST): replace(usual, health="nothing") for one, usual in REACTIONS.items()},
    # More than this model's tokens per minute at once: it can never succeed here.
    (ErrorClass.TOO_LARGE, Scope.MODEL): Reaction(elsewhere="sibling"),
    # A quota of this model for the day: another model of the same account may serve.
    (ErrorClass.QUOTA, Scope.MODEL): Reaction(elsewhere="sibling", health="ejects"),
    # Refused by one client before anything was sent: another may take the same request.
    (ErrorClass.LOCAL, Scope.REQUEST): Reaction(elsewhere="sibling"),
    (ErrorClass.TRUNCATED, Scope.REQUEST): replace(_NEVER, booked="estimate"),
    # A status that nobody knows, so no retry; yet it may have been worked on.
    (ErrorClass.UNKNOWN, Scope.REQUEST): replace(_NEVER, booked="unknown"),
}
"""Where the same class means something else in another scope."""


def reaction_to(failure: Failure) -> Reaction:
    """What follows from this failure: by its code, else by its class, within its scope."""
    if failure.code is not None:
        special = CODES.get((failure.error_class, failure.code))
        if special is not None:
            return special
    usual = REACTIONS[failure.error_class]
    if failure.scope is Scope.CALLER or failure.scope is Scope.LOCAL:
        return _NEVER
    return SCOPED.get((failure.error_class, failure.scope), usual)
