"""Find what is secret among free-form settings and wrap it before anything else sees it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from pydantic import PlainSerializer, WithJsonSchema

from llmgate_plugins.masking import MASK
from llmgate_plugins.secrets import Secret

__all__ = ["Free", "is_placeholder", "is_reference", "is_secret_name", "secrets_in", "shield"]

_WORDS: Final = frozenset(
    {"key", "keys", "apikey", "secret", "secrets", "token", "password", "passwd", "passphrase", "pwd"}
    | {"credential", "credentials", "authorization", "auth", "bearer", "cookie", "jwt"}
)
# "input_cost_per_token" and its many kin count tokens; they hide nothing.
_COUNTING: Final = frozenset({"cost", "per", "limit", "max", "min", "budget", "price", "type"})
_SPLIT: Final = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])")
_SHAPES: Final = re.compile(
    r"(?:sk|pk|rk|gsk|xai|hf|ghp|gho|glpat|pplx|nvapi|csk|r8|tgp)[-_][A-Za-z0-9_-]{12,}"
    r"|AKIA[0-9A-Z]{16}|AIza[0-9A-Za-z_-]{30,}|eyJ[A-Za-z0-9_-]{20,}\.|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|Bearer\s+\S{8,}|://[^/\s]*:[^/\s]*@|[?&](?:api_?key|key|token|sig)=\S"
)
_PLACEHOLDERS: Final = frozenset(
    {"", "none", "null", "empty", "dummy", "fake", "fake-key", "not-needed", "no-key", "unused"}
)


def is_secret_name(name: str) -> bool:
    """Whether a setting of this name holds a secret, such as `aws_secret_access_key`."""
    words = {word.lower() for word in _SPLIT.split(name)}
    return bool(words & _WORDS) and not words & _COUNTING


def is_reference(value: object) -> bool:
    """Whether this text is a reference to a secret, not one itself."""
    return isinstance(value, str) and Secret(value).reference is not None


def is_placeholder(value: str) -> bool:
    """Whether this is what people write where no key is needed ("none", "EMPTY")."""
    return value.strip().lower() in _PLACEHOLDERS


def shield(name: str, value: Any) -> Any:
    """The setting with everything secret in it wrapped as `Secret`.

    Secret is what has such a name, what looks like a key, and what is given by
    reference: nobody can know what the reference leads to.
    """
    if isinstance(value, Secret) or value is None or isinstance(value, bool):
        return value
    if is_secret_name(name):
        return _whole(value)
    if name.lower().endswith("headers") and isinstance(value, Mapping):
        return {key: _whole(inner) for key, inner in value.items()}
    if isinstance(value, Mapping):
        return {key: shield(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [shield("", inner) for inner in value]
    if isinstance(value, str) and (is_reference(value) or _SHAPES.search(value)):
        return Secret(value)
    return value


def secrets_in(
    value: Any, path: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], Secret]]:
    """Every `Secret` in a shielded value, with where it stands."""
    if isinstance(value, Secret):
        yield path, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from secrets_in(inner, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from secrets_in(inner, (*path, index))


def _whole(value: Any) -> Any:
    """One secret of the whole value; a mapping (a service account, say) as JSON text."""
    if isinstance(value, Secret) or value is None:
        return value
    if isinstance(value, str):
        return Secret(value)
    return Secret(json.dumps(value, default=str))


def _masked(value: Any) -> Any:
    """The value as plain JSON values, secrets as their reference or a mask."""
    if isinstance(value, Secret):
        return value.reference or MASK
    if isinstance(value, Mapping):
        return {str(key): _masked(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(inner) for inner in value]
    return value


Free = Annotated[Any, PlainSerializer(_masked), WithJsonSchema({})]
"""A setting that is passed on as it is; dumps mask the secrets in it."""
