"""Codes of the classification's own: what they tell apart, and by which signs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, TypeAlias

from llmgate_plugins.classification.reading import Facts
from llmgate_plugins.classification.tables import WORDS
from llmgate_plugins.types import ErrorClass, Failure
from llmgate_plugins.types import ErrorClass as E

__all__ = [
    "NAME_CODES",
    "PATH_PHRASES",
    "PHRASE_CODES",
    "STATUS_CODES",
    "NameCode",
    "code_of",
    "more_exactly",
]

NameCode: TypeAlias = tuple[ErrorClass, str]

NAME_CODES: Final[Mapping[str, tuple[E, str]]] = {
    name: (error_class, code)
    for error_class, code, names in (
        (
            E.CONNECTION,
            "certificate",
            "SSLCertVerificationError CertificateError ClientConnectorCertificateError",
        ),
        (E.CONNECTION, "dns", "gaierror ClientConnectorDNSError NameResolutionError"),
        (E.CONNECTION, "refused", "ConnectionRefusedError"),
        (
            E.CONNECTION,
            "stale_connection",
            "ServerDisconnectedError RemoteDisconnected ConnectionClosedError",
        ),
        (
            E.CONNECTION,
            "unreachable",
            "ConnectError ClientConnectorError NewConnectionError EndpointConnectionError",
        ),
        (E.TIMEOUT, "connect_timeout", "ConnectTimeout ConnectTimeoutError ConnectionTimeoutError"),
        (E.LOCAL, "pool_timeout", "PoolTimeout EmptyPoolError"),
        (E.LOCAL, "proxy", "ProxyError ClientProxyConnectionError ClientHttpProxyError ProxyConnectionError"),
        (E.LOCAL, "redirect", "TooManyRedirects"),
    )
    for name in names.split()
}
"""What a class name tells beyond the failure's class, by class name along the whole MRO.
A cause that knows it more exactly wins."""

PHRASE_CODES: Final[Mapping[E, tuple[tuple[str, str], ...]]] = {
    E.CONNECTION: (
        ("certificate_verify_failed", "certificate"),
        ("certificate verify failed", "certificate"),
        ("name or service not known", "dns"),
        ("nodename nor servname", "dns"),
        ("name resolution", "dns"),
        ("getaddrinfo failed", "dns"),
        ("no address associated with hostname", "dns"),
        ("connection refused", "refused"),
        ("all connection attempts failed", "unreachable"),
        # A connection that was kept open too long: the other side had hung up before we wrote.
        ("disconnected without sending a response", "stale_connection"),
        ("closed connection without response", "stale_connection"),
    ),
}
"""The same, by what a message says. What stands first wins."""

STATUS_CODES: Final[Mapping[int, str]] = {
    405: "wrong_path",
    407: "proxy",
    410: "gone",
    **dict.fromkeys(range(300, 400), "redirect"),
}
"""The same, by status, where the provider gave no code."""

PATH_PHRASES: Final = (
    *("invalid url", "unrecognized request url", "unknown request url", "no route matched"),
    *("not a chat model", "only supported in v1/"),  # the model is there, by another path
)
"""A 404 with one of these, or one that speaks of no model or deployment, is a "wrong_path"."""

CODED: Final = frozenset(
    {ErrorClass.CONNECTION, ErrorClass.TIMEOUT, ErrorClass.LOCAL, ErrorClass.MODEL_NOT_FOUND}
)
"""Classes that hold what a code of our own tells apart."""

OVERRULED: Final = frozenset({ErrorClass.CONNECTION, ErrorClass.MODEL_NOT_FOUND})
"""Those where it says more than a code that was given: a client's, or a "not_found"."""


def more_exactly(deeper: Failure, facts: Facts, name_code: NameCode | None) -> Failure:
    """What a cause turned out to be, with the code that the error around it can name."""
    if deeper.code is not None or deeper.error_class not in CODED:
        return deeper
    code = _own_code(deeper.error_class, deeper.status, facts, name_code)
    return replace(deeper, code=code) if code is not None else deeper


def code_of(
    error_class: ErrorClass, status: int | None, facts: Facts, name_code: NameCode | None
) -> str | None:
    """The code to tell: the provider's, or one of the classification's own."""
    if error_class not in CODED or (facts.code is not None and error_class not in OVERRULED):
        return facts.code
    return _own_code(error_class, status, facts, name_code) or facts.code


def _own_code(
    error_class: ErrorClass, status: int | None, facts: Facts, name_code: NameCode | None
) -> str | None:
    """A code of the classification's own, for what one class does not tell apart."""
    if name_code is not None and name_code[0] is error_class:
        told = _phrase_code(error_class, facts.text) if name_code[1] == "unreachable" else None
        return told or name_code[1]
    if error_class is ErrorClass.MODEL_NOT_FOUND:
        return _which_404(status, facts)
    if status is not None:
        return STATUS_CODES.get(status) if error_class is ErrorClass.LOCAL else None
    return _phrase_code(error_class, facts.text)


def _phrase_code(error_class: ErrorClass, text: str) -> str | None:
    for phrase, code in PHRASE_CODES.get(error_class, ()):
        if phrase in text:
            return code
    return None


def _which_404(status: int | None, facts: Facts) -> str | None:
    """Whether a path leads nowhere, or a model is not there (None), or is not there any more."""
    if status == 404 and not any(word in WORDS for word in facts.words):
        text = facts.text
        if any(phrase in text for phrase in PATH_PHRASES):
            return "wrong_path"
        named = "model" in text or "deployment" in text or "inference profile" in text
        return None if named else "wrong_path"
    return STATUS_CODES.get(status) if status is not None and facts.code is None else None
