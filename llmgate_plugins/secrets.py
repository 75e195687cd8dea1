"""A value that does not show itself, and references that are resolved late."""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from llmgate_plugins.errors import SecretNotFound
from llmgate_plugins.masking import MASK, conceal, scrub

__all__ = ["Secret", "conceal", "scrub"]

Resolver = Callable[[str], str]


class Secret:
    """A secret or a reference to one. Shows neither in any form but `reveal()`.

    References are resolved at the first `reveal()`, never before:
    `env:NAME` and `os.environ/NAME` (environment), `file:PATH` (whole file, trailing
    newline dropped), `keyring:SERVICE/USER` (package keyring). Anything else is the
    secret itself. It cannot be pickled, formatted or turned into JSON with its value.

    What was found is kept: a variable that changes later is not read again, so that all
    clients made from one `Secret` use one key. Build a new gateway to rotate a key.

    Two references are equal when they say the same and are looked up in the same way,
    whether revealed or not. Thread-safe: a resolver is asked once.

    Args:
        value: The secret or a reference.
        resolvers: Further schemes: name -> function of what follows the colon.
    """

    __slots__ = ("_held", "_lock", "_reference", "_resolvers")

    def __init__(self, value: str, *, resolvers: Mapping[str, Resolver] | None = None) -> None:
        own = dict(resolvers or {})
        scheme, colon, _ = value.partition(":")
        is_reference = bool(colon and scheme in {**_RESOLVERS, **own}) or value.startswith(_VARIABLE)
        self._reference: str | None = value if is_reference else None
        self._resolvers: Mapping[str, Resolver] = own
        self._lock = threading.RLock()
        # A function, so that whoever walks over attributes and shows them shows no value.
        self._held: Callable[[], str] | None = None if is_reference else lambda: value

    @property
    def reference(self) -> str | None:
        """The reference, which is safe to show; None when given as a value."""
        return self._reference

    @property
    def id(self) -> str:
        """A short name for it that is safe to show and the same in every process."""
        if self._reference is not None:
            return self._reference
        return hashlib.sha256(b"llmgate:" + self._value().encode()).hexdigest()[:8]

    def reveal(self) -> str:
        """The secret itself. From now on `scrub` masks it in texts.

        Raises:
            SecretNotFound: The reference leads nowhere.
        """
        held = self._held
        if held is None:
            with self._lock:
                held = self._held
                if held is None:
                    value = self.look_up()
                    held = self._held = lambda: value
        revealed = held()
        conceal(revealed)
        return revealed

    def look_up(self) -> str:
        """What is found now, neither kept nor masked: for checks, and for addresses given by reference.

        Raises:
            SecretNotFound: The reference leads nowhere.
        """
        if self._reference is None:
            return self._value()
        value = _resolve(self._reference, self._resolvers)
        if not value:
            raise SecretNotFound(f"{self._reference} is empty", reference=self._reference)
        return value

    def _value(self) -> str:
        return self._held() if self._held is not None else ""

    def __repr__(self) -> str:
        return f"Secret({MASK}, id={self.id})"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret) or self._reference != other._reference:
            return False
        if self._reference is not None:
            return self._resolvers == other._resolvers
        return hmac.compare_digest(self._value().encode(), other._value().encode())

    def __hash__(self) -> int:
        return hash(self.id)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: Any) -> Secret:
        return self

    def __getstate__(self) -> NoReturn:
        raise TypeError("a Secret has no state to show; pickle it, or use its `reference`")

    def __reduce__(self) -> Any:
        if self._reference is not None:
            return (_remade, (self._reference, dict(self._resolvers)))
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


def _remade(reference: str, resolvers: Mapping[str, Resolver]) -> Secret:
    return Secret(reference, resolvers=resolvers)


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


_VARIABLE = "os.environ/"
_RESOLVERS: Mapping[str, Resolver] = {
    "env": _from_environment,
    "file": _from_file,
    "keyring": _from_keyring,
}


def _resolve(reference: str, own: Mapping[str, Resolver]) -> str:
    if reference.startswith(_VARIABLE):
        return _from_environment(reference.removeprefix(_VARIABLE))
    scheme, _, rest = reference.partition(":")
    return (own.get(scheme) or _RESOLVERS[scheme])(rest)
