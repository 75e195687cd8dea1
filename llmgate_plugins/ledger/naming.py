"""What attempts are told apart by: columns, the caller's tags ("tag:NAME"), further facts ("extra:NAME")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmgate_plugins.context import NOBODY, Context
from llmgate_plugins.ledger.facts import CONTEXT_COLUMNS
from llmgate_plugins.types import EMPTY

__all__ = ["EXTRA", "TAG", "check_columns", "compared_value", "labels_of"]

TAG: Final = "tag:"
EXTRA: Final = "extra:"

_COMPARED = (
    *CONTEXT_COLUMNS.values(),
    *("requested_model", "alias", "deployment", "provider", "model", "region", "credential", "operation"),
)
"""Columns of attempts that say who or what it was, as text."""


def labels_of(context: Context, tags: Mapping[str, str] = EMPTY) -> Mapping[str, str]:
    """The labels of an `AttemptIntent`: who is calling, and the caller's tags.

    Trusted facts stand under the names of `Context`, further facts under "extra:NAME",
    tags under "tag:NAME". So no tag can pass for a fact, whatever its name.
    """
    if context is NOBODY and not tags:
        return EMPTY
    labels = {name: value for name in CONTEXT_COLUMNS if (value := getattr(context, name)) is not None}
    for name, value in context.extra.items():
        labels[EXTRA + name] = value
    for name, value in tags.items():
        labels[TAG + name] = value
    return labels


def check_columns(where: Mapping[str, str | None]) -> None:
    """Raises `ValueError` for what is nothing of an attempt's row that can be compared."""
    for name in where:
        if name not in _COMPARED and (not name.startswith((TAG, EXTRA)) or name in (TAG, EXTRA)):
            known = ", ".join((*_COMPARED, f"{TAG}NAME", f"{EXTRA}NAME"))
            raise ValueError(f"attempts cannot be told apart by {name!r}; there are: {known}")


def compared_value(row: Mapping[str, Any], name: str) -> Any:
    """What of an attempt's row is called so: a column, "tag:NAME" or "extra:NAME"."""
    for prefix, column in ((TAG, "tags"), (EXTRA, "extra")):
        if name.startswith(prefix):
            return row[column].get(name.removeprefix(prefix))
    return row[name]
