"""A value that does not show itself, and references that are resolved late."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from llmgate_plugins.errors import SecretNotFound

__all__ = ["Secret", "scrub"]

MASK = "****"

_known: dict[str, None] = {}
"""Every value that was revealed in this process, so that `scrub` can find it in text.

Bounded: the oldest value is forgotten first."""
_KNOWN_LIMIT = 4096


class Secret:
    """A secret or a reference to one. Shows neither in any form but `reveal()`.

    References are resolved at the first `reveal()`, never before:
    `env:NAME` and `os.environ/NAME` (environment), `file:PATH` (whole file, trailing
    newline dropped), `keyring:SERVICE/USER` (package keyring). Anything else is the
    secret itself. It cannot be pickled, copied, formatted or turned into JSON with
    its value.

    Args:
        value: The secret or a reference.
        resolvers: Further schemes: name -> function of what follows the colon.
    """

    __slots__ = ("_reference", "_resolvers", "_value")

    def __init__(self, value: str, *, resolvers: Mapping[str, Callable[[str], str]] | None = None) -> None:
        scheme, _, _ = value.partition(":")
        self._resolvers = {**_RESOLVERS, **(resolvers or {})}
        is_reference = (scheme in self._resolvers and scheme != value) or value.startswith("os.environ/")
        self._reference: str | None = value if is_reference else None
        self._value: str | None = None if is_reference else value

    @property
    def reference(self) -> str | None:
        """The reference, which is safe to show; None when given as a value."""
        return self._reference

    @property
    def id(self) -> str:
        """A short name for it that is safe to show and the same in every process."""
        if self._reference is not None:
            return self._reference
        return hashlib.sha256(b"llmgate:" + (self._value or "").encode()).hexdigest()[:8]

    def reveal(self) -> str:
        """The secret itself.

        Raises:
            SecretNotFound: The reference leads nowhere.
        """
        if self._value is None and self._reference is not None:
            value = _resolve(self._reference, self._resolvers)
            if not value:
                raise SecretNotFound(f"{self._reference} is empty", reference=self._reference)
            self._value = value
        revealed = self._value or ""
        _remember(revealed)
        return revealed

    def __repr__(self) -> str:
        return f"Secret({MASK}, id={self.id})"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and (self._reference, self._value) == (
            other._reference,
            other._value,
        )

    def __hash__(self) -> int:
        return hash(self.id)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: Any) -> Secret:
        return self

    def __reduce__(self) -> Any:
        if self._reference is not None:
            return (Secret, (self._reference,))
        raise TypeError("a Secret given as a value cannot be pickled; use a reference such as env:NAME")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, Secret) else Secret(_text(value)),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda secret: secret.reference or MASK, return_schema=core_schema.str_schema()
            ),
            json_schema_input_schema=core_schema.str_schema(),
        )


def scrub(text: str) -> str:
    """The text with every secret that was revealed in this process masked.

    Values shorter than eight characters are left alone: masking them would
    destroy ordinary words.
    """
    for value in list(_known):
        if value in text:
            text = text.replace(value, MASK)
    return text


def _remember(value: str) -> None:
    if len(value) >= 8 and value not in _known:
        while len(_known) >= _KNOWN_LIMIT:
            _known.pop(next(iter(_known)), None)
        _known[value] = None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ValueError("must be text: a reference such as env:NAME, or the secret itself")


def _from_environment(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise SecretNotFound(
            f"environment variable {name} is not set", reference=f"env:{name}", remedy=f"export {name}=..."
        ) from None


def _from_file(path: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise SecretNotFound(f"cannot read {path}: {error.strerror}", reference=f"file:{path}") from None


def _from_keyring(name: str) -> str:
    service, _, user = name.partition("/")
    try:
        import keyring  # optional: extra `keyring`
    except ImportError:
        _missing_keyring(name)
    value = keyring.get_password(service, user)
    if value is None:
        raise SecretNotFound(
            f"the keyring has no password for {user!r} at {service!r}", reference=f"keyring:{name}"
        )
    return str(value)


def _missing_keyring(name: str) -> NoReturn:
    raise SecretNotFound(
        "the package keyring is not installed",
        reference=f"keyring:{name}",
        remedy="pip install 'llmgate-plugins[keyring]'",
    ) from None


_RESOLVERS: Mapping[str, Callable[[str], str]] = {
    "env": _from_environment,
    "file": _from_file,
    "keyring": _from_keyring,
}


def _resolve(reference: str, resolvers: Mapping[str, Callable[[str], str]]) -> str:
    if reference.startswith("os.environ/"):
        return _from_environment(reference.removeprefix("os.environ/"))
    scheme, _, rest = reference.partition(":")
    return resolvers[scheme](rest)
