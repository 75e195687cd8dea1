"""Which failure speaks against whom: the breaker it feeds, and what that breaker is like."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Literal, NamedTuple

from llmgate_plugins.classification import reaction_to
from llmgate_plugins.types import Deployment, ErrorClass, Failure, Scope

__all__ = ["HARD", "ILLNESS", "QUICK", "Ailment", "Finding", "Key", "finding", "keys_of"]


class Ailment(StrEnum):
    """Kinds of failure that heal together; each has breakers of its own."""

    THROTTLE = "throttle"
    OVERLOAD = "overload"
    """Overloaded, 5xx, and answers that are none."""
    TRANSPORT = "transport"
    """No connection, or one that was cut."""
    SLOW = "slow"
    QUALITY = "quality"
    """Empty answers."""
    MONEY = "money"
    KEY = "key"
    CERTIFICATE = "certificate"
    MODEL = "model"
    """The model is gone, or this pair of key and model may not be used, or not from here."""


HARD: Final = frozenset({Ailment.MONEY, Ailment.KEY, Ailment.CERTIFICATE, Ailment.MODEL})
"""The next call would fail the same way, so one failure ejects, and nothing but a probe is sent there."""

QUICK: Final = frozenset({Ailment.TRANSPORT, Ailment.OVERLOAD})
"""Asking whether it has healed costs next to nothing, so it is asked often."""

ILLNESS: Final = frozenset({Ailment.TRANSPORT, Ailment.OVERLOAD, Ailment.SLOW, Ailment.QUALITY})
"""Any of these on a probe shows that a deployment is not well yet, whichever it was ejected for."""

_AILMENTS: Final[Mapping[ErrorClass, tuple[Ailment, str]]] = {
    ErrorClass.RATE_LIMIT: (Ailment.THROTTLE, "throttled"),
    ErrorClass.OVERLOADED: (Ailment.OVERLOAD, "ejected_overload"),
    ErrorClass.SERVER: (Ailment.OVERLOAD, "ejected_overload"),
    ErrorClass.BAD_RESPONSE: (Ailment.OVERLOAD, "ejected_overload"),
    ErrorClass.UNKNOWN: (Ailment.OVERLOAD, "ejected_overload"),
    ErrorClass.CONNECTION: (Ailment.TRANSPORT, "ejected_transport"),
    ErrorClass.TRUNCATED: (Ailment.TRANSPORT, "ejected_transport"),
    ErrorClass.TIMEOUT: (Ailment.SLOW, "ejected_slow"),
    ErrorClass.EMPTY_RESPONSE: (Ailment.QUALITY, "ejected_quality"),
    ErrorClass.QUOTA: (Ailment.MONEY, "no_money"),
    ErrorClass.AUTHENTICATION: (Ailment.KEY, "bad_key"),
    ErrorClass.PERMISSION: (Ailment.KEY, "bad_key"),
    ErrorClass.MODEL_NOT_FOUND: (Ailment.MODEL, "model_gone"),
    ErrorClass.REGION: (Ailment.MODEL, "region_refused"),
}
"""Which failures count at all is said by the table of reactions."""

_CODES: Final[Mapping[tuple[ErrorClass, str], tuple[Ailment, str]]] = {
    (ErrorClass.CONNECTION, "certificate"): (Ailment.CERTIFICATE, "bad_certificate"),
    (ErrorClass.TIMEOUT, "connect_timeout"): (Ailment.TRANSPORT, "ejected_transport"),
}

_NOT_ALLOWED: Final = (Ailment.MODEL, "not_allowed")
"""A permission that lacks for one model, where the key is good for others."""


class Key(NamedTuple):
    """Whom a breaker is about: `scope` is one of these three words.

    Words and not members of `Scope`, whose hash is computed in Python, and this is looked up
    at every call.
    """

    scope: Literal["deployment", "credential", "provider"]
    name: str


class Finding(NamedTuple):
    """What a failure says.

    Attributes:
        wait: Seconds the provider asks to wait, if it does.
        gone: It will not come back, as far as the provider is concerned.
    """

    key: Key
    ailment: Ailment
    reason: str
    wait: float | None
    gone: bool


def finding(failure: Failure, deployment: Deployment) -> Finding | None:
    """What a failure says about health; None if nothing, as for all that is the request's own fault."""
    health = reaction_to(failure).health
    if health == "nothing":
        return None
    key = _blamed(failure.scope, deployment)
    ailment, reason = _ailment(failure)
    if key is None:
        return None
    wait = failure.retry_after
    return Finding(key, ailment, reason, wait if wait is not None and wait > 0 else None, health == "retires")


def _ailment(failure: Failure) -> tuple[Ailment, str]:
    error_class = failure.error_class
    special = _CODES.get((error_class, failure.code)) if failure.code is not None else None
    if special is not None:
        return special
    if error_class is ErrorClass.PERMISSION and failure.scope is not Scope.CREDENTIAL:
        return _NOT_ALLOWED
    if error_class is ErrorClass.TIMEOUT and (failure.status or 0) >= 500:
        error_class = ErrorClass.SERVER  # a 504 is an answer: a proxy's, at once or after its own patience
    return _AILMENTS.get(error_class, _AILMENTS[ErrorClass.SERVER])


def _blamed(scope: Scope, deployment: Deployment) -> Key | None:
    if scope in (Scope.DEPLOYMENT, Scope.MODEL):
        return Key("deployment", deployment.id)
    if scope is Scope.CREDENTIAL:
        credential = deployment.credential
        if credential is None:
            return Key("deployment", deployment.id)
        return Key("credential", credential)
    if scope is Scope.PROVIDER:
        return Key("provider", deployment.provider)
    return None


def keys_of(deployment: Deployment) -> tuple[Key, ...]:
    """Everybody whose illness is this deployment's too. Not cheap: the id of a credential is a digest."""
    own, provider = Key("deployment", deployment.id), Key("provider", deployment.provider)
    credential = deployment.credential
    if credential is None:
        return own, provider
    return own, Key("credential", credential), provider
