"""Values in the JSON columns `tags` and `extra`, by name, in each database's own way."""

from __future__ import annotations

import re
from typing import Any, Final

from sqlalchemy import ColumnElement, Text, cast, func, literal, select

from llmgate_plugins.ledger.naming import EXTRA, TAG
from llmgate_plugins.ledger.schema import attempts

__all__ = ["compared", "label"]

_PLAIN: Final = re.compile(r"[A-Za-z0-9_ .:/@-]+")


def compared(name: str, dialect: str) -> ColumnElement[str | None]:
    """What of an attempt is called so: a column, "tag:NAME" or "extra:NAME"."""
    for prefix, column in ((TAG, attempts.c.tags), (EXTRA, attempts.c.extra)):
        if name.startswith(prefix):
            return label(column, name.removeprefix(prefix), dialect)
    return attempts.c[name]


def label(column: ColumnElement[Any], name: str, dialect: str) -> ColumnElement[str | None]:
    """One value of a JSON column of labels; NULL if there is none of that name.

    Args:
        dialect: "sqlite" or "postgresql".
    """
    if dialect != "sqlite":
        return cast(column.op("->>")(literal(name, Text)), Text)
    if _PLAIN.fullmatch(name):  # by path, which is fast, where the name can be written in one
        return func.json_extract(column, literal(f'$."{name}"'), type_=Text)
    labels = func.json_each(column).table_valued("key", "value")
    return cast(select(labels.c.value).where(labels.c.key == name).scalar_subquery(), Text)
