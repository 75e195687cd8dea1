"""Signatures of webhooks by the Standard Webhooks specification, for senders and receivers."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence
from typing import Final

from llmgate_plugins.secrets import Secret

__all__ = ["ID", "SIGNATURE", "TIMESTAMP", "Secrets", "secrets_of", "sign", "verify_signature"]

# https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md, version 1.0.0
ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"
_VERSION: Final = "v1"
_PREFIX: Final = "whsec_"

Secrets = str | Secret | Sequence[str | Secret]
"""One secret, or several while one is being replaced by another."""


def secrets_of(secrets: Secrets) -> tuple[Secret, ...]:
    """Each as a `Secret`."""
    many = [secrets] if isinstance(secrets, str | Secret) else secrets
    return tuple(one if isinstance(one, Secret) else Secret(one) for one in many)


def sign(body: bytes, *, id: str, timestamp: int, secrets: Secrets) -> Mapping[str, str]:
    """The headers that show who sent this body, and when.

    Raises:
        ValueError: A secret is no base64 after "whsec_".
        SecretNotFound: A reference leads nowhere.
    """
    signed = f"{id}.{timestamp}.".encode() + body
    signatures = [f"{_VERSION},{_signature(signed, one)}" for one in secrets_of(secrets)]
    return {ID: id, TIMESTAMP: str(timestamp), SIGNATURE: " ".join(signatures)}


def verify_signature(
    body: bytes,
    headers: Mapping[str, str],
    secrets: Secrets,
    *,
    tolerance: float = 300.0,
    now: float | None = None,
) -> None:
    """Make sure that a webhook is from whom it should be, as it was sent, and not an old one sent again.

    Args:
        body: The bytes of the request, as they came.
        headers: Its headers; names in any case.
        secrets: The secret; "whsec_" and base64, or any other text. Several while it is changed.
        tolerance: Seconds by which the two clocks may differ, the way included.
        now: Unix time; None for the machine's.

    Raises:
        ValueError: It is not genuine, or too old. Answer with status 400 or 401.
    """
    told = {name.lower(): value for name, value in headers.items()}
    missing = [name for name in (ID, TIMESTAMP, SIGNATURE) if not told.get(name)]
    if missing:
        raise ValueError(f"the header {missing[0]} is missing")
    try:
        timestamp = int(told[TIMESTAMP])
    except ValueError:
        raise ValueError(f"{TIMESTAMP} is no Unix time") from None
    if abs((time.time() if now is None else now) - timestamp) > tolerance:
        raise ValueError(f"it was sent more than {tolerance:g} s ago, or the clocks differ by that")
    signed = f"{told[ID]}.{timestamp}.".encode() + body
    given = [one.partition(",") for one in told[SIGNATURE].split()]
    ours = [_signature(signed, one).encode() for one in secrets_of(secrets)]
    theirs = [text.encode() for version, _, text in given if version == _VERSION]
    # All are compared, and each in constant time.
    if not any([hmac.compare_digest(one, other) for one in ours for other in theirs]):  # noqa: C419
        raise ValueError("the signature is not ours")


def _signature(signed: bytes, secret: Secret) -> str:
    return base64.b64encode(hmac.new(_key(secret.reveal()), signed, hashlib.sha256).digest()).decode()


def _key(secret: str) -> bytes:
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("a secret that begins with whsec_ goes on in base64, and this does not") from None
