"""For whom a limit is: how a scope is written, and how its value is read off a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Final, Literal

from llmgate_plugins.context import Context
from llmgate_plugins.types import Attempt

__all__ = ["CALLER", "SENT", "BudgetScope", "Reader", "Scope", "key_of", "scopes_of"]

CALLER: Final = ("tenant", "team", "project", "user", "key", "feature", "cohort", "environment")
"""Fields of the context that a limit can be for."""
SENT: Final = ("alias", "model", "provider", "deployment", "region")
"""What a limit can be for that is known once a deployment is chosen."""

BudgetScope = Literal[
    "global",
    "tenant",
    "team",
    "project",
    "user",
    "key",
    "feature",
    "cohort",
    "environment",
    "alias",
    "model",
    "provider",
    "deployment",
    "region",
]
"""The scopes that have a name of their own."""

LONGEST: Final = 160
"""Characters of a value in a key; a longer one is shown by its begin and a digest."""

_COLUMNS: Final = {"user": "user_id", "key": "key_id"}
"""Columns of the ledger that are not called as the scope is."""

Reader = Callable[[Context, "Attempt | None", Mapping[str, str]], "str | None"]


@dataclass(frozen=True, slots=True)
class Scope:
    """One thing that a limit tells calls apart by.

    Attributes:
        name: "team", "model", "tag:job" ...
        only: The one value it is for; None for each.
    """

    name: str
    only: str | None = None

    @property
    def of_attempt(self) -> bool:
        """Whether its value differs among the attempts of a call."""
        return self.name in SENT

    @property
    def counts_attempts(self) -> bool:
        """Whether a request counts once for each attempt. Under an alias a call counts once."""
        return self.of_attempt and self.name != "alias"

    @property
    def untrusted(self) -> bool:
        """Whether the caller chooses its value."""
        return self.name.startswith("tag:")

    @property
    def column(self) -> str:
        """What of the ledger's attempts has its value: a column, "tag:NAME" or "extra:NAME"."""
        return _COLUMNS.get(self.name, self.name)

    @property
    def reader(self) -> Reader:
        """A function that reads its value off a call; None if the call leaves it open."""
        return _reader(self.name)


def scopes_of(written: str | Sequence[str]) -> tuple[Scope, ...]:
    """The scopes in "team", "tenant=acme" or a list of such; none for "global".

    Raises:
        ValueError: There is no such scope, or one is named twice.
    """
    return _scopes((written,) if isinstance(written, str) else tuple(written))


@lru_cache(maxsize=1024)
def _scopes(written: tuple[str, ...]) -> tuple[Scope, ...]:
    scopes = tuple(_scope(one) for one in written if one != "global")
    names = [scope.name for scope in scopes]
    if not written or len(set(names)) < len(names) or (scopes and "global" in written):
        raise ValueError(f"scope must name each thing once, and global alone, not {list(written)!r}")
    return tuple(sorted(scopes, key=lambda scope: scope.name))


def _scope(text: str) -> Scope:
    name, equals, only = text.partition("=")
    kind, _, rest = name.partition(":")
    known = name in CALLER or name in SENT or (kind in ("tag", "extra") and bool(rest))
    if not known or (equals and not only):
        names = ", ".join(("global", *CALLER, *SENT, "tag:NAME", "extra:NAME"))
        raise ValueError(f"scope must be one of {names}, or NAME=VALUE, not {text!r}")
    return Scope(name, only if equals else None)


@lru_cache(maxsize=1024)
def _reader(name: str) -> Reader:
    """A function that reads this scope's value."""
    kind, _, rest = name.partition(":")
    if kind == "tag":
        return lambda context, attempt, tags: tags.get(rest)  # noqa: ARG005 - one signature for all
    if kind == "extra":
        return lambda context, attempt, tags: context.extra.get(rest)  # noqa: ARG005
    if name == "alias":
        return lambda context, attempt, tags: attempt.alias if attempt is not None else None  # noqa: ARG005
    if name == "deployment":
        return lambda context, attempt, tags: attempt.deployment.id if attempt is not None else None  # noqa: ARG005
    if name in SENT:
        return lambda context, attempt, tags: (  # noqa: ARG005
            getattr(attempt.deployment, name) if attempt is not None else None
        )
    return lambda context, attempt, tags: getattr(context, name)  # noqa: ARG005


def key_of(head: str, values: Sequence[str | None]) -> str:
    """The key of one count in the state: never the same for other values.

    "budget:team:day@UTC:search"; a value that is open is left out with its colon.
    """
    if len(values) == 1:
        return head if values[0] is None else f"{head}:{_short(values[0])}"
    return ":".join((head, *("" if value is None else "=" + _escaped(_short(value)) for value in values)))


def _escaped(value: str) -> str:
    return value.replace("%", "%25").replace(":", "%3A")


def _short(value: str) -> str:
    if len(value) <= LONGEST:
        return value
    digest = blake2b(value.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
    return f"{value[: LONGEST - 26]}..{digest}"
