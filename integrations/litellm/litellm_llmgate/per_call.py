"""What the application asks of the gateway for one call, in the call's metadata."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final, cast, get_args

from litellm_llmgate.errors import INVALID_CALL, CallDenied
from llmgate_plugins.errors import RequestDenied
from llmgate_plugins.types import OnBreak

__all__ = ["CALL_ID", "ON_BREAK", "OURS", "call_id_of", "check_word", "on_break_of", "proxy_key"]

OURS: Final = "llmgate"
"""What the names in a call's metadata begin with that are llmgate's own."""
ON_BREAK: Final = "llmgate_on_break"
"""What happens if a stream breaks after its first content: as `Request.on_break`."""
CALL_ID: Final = "llmgate_call_id"
"""The call's id: a repeat with the same id is the same call."""

LONGEST_ID: Final = 255
_LONGEST_SHOWN: Final = 40
_CHOICES: Final = get_args(OnBreak)

proxy_key: ContextVar[str | None] = ContextVar("litellm_llmgate_proxy_key", default=None)
"""Whose request this is in the proxy; None in a process of the application's own."""


def on_break_of(kwargs: Mapping[str, Any]) -> OnBreak | None:
    """What the call's metadata says; None if nothing.

    Raises:
        CallDenied: There is no such choice.
    """
    said = _said(kwargs, ON_BREAK)
    if said is None:
        return None
    if said not in _CHOICES:
        raise _invalid(f"metadata {ON_BREAK} must be one of {', '.join(_CHOICES)}")
    return cast("OnBreak", said)


def call_id_of(kwargs: Mapping[str, Any]) -> str | None:
    """The id that the call's metadata gives; None if it gives none.

    In the proxy it counts within the caller's key alone, so that nobody can ask for another's
    answer. A group that LiteLLM falls back to is another call, with an id made from this one.

    Raises:
        CallDenied: It is no id.
    """
    given = _said(kwargs, CALL_ID)
    if given is None:
        return None
    if not isinstance(given, str) or not 0 < len(given) <= LONGEST_ID:
        raise _invalid(f"metadata {CALL_ID} must be text of 1 to {LONGEST_ID} characters")
    key = proxy_key.get()
    if key is not None:
        given = hashlib.sha256(f"{len(key)}:{key}{given}".encode()).hexdigest()
    return f"{given}/{kwargs['model']}" if kwargs.get("fallback_depth") else given


def check_word(name: str) -> None:
    """Check that llmgate knows this name of its own.

    Raises:
        CallDenied: It does not. Without a misspelt id a repeat would be sent again.
    """
    if name not in (CALL_ID, ON_BREAK):
        raise _invalid(
            f"metadata {name[:_LONGEST_SHOWN]!r} is not known; "
            f"of its own llmgate knows {CALL_ID} and {ON_BREAK} there"
        )


def _said(kwargs: Mapping[str, Any], name: str) -> Any:
    metadata = kwargs.get("metadata") or kwargs.get("litellm_metadata")
    return metadata.get(name) if isinstance(metadata, Mapping) else None


def _invalid(reason: str) -> CallDenied:
    return CallDenied(RequestDenied(reason, code=INVALID_CALL))
