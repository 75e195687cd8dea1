"""Exports: rows of the books as JSON Lines, CSV or Parquet, in their own columns or in those of FOCUS."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal, TextIO, TypeAlias

from sqlalchemy import select

from llmgate_plugins.insight.books import open_books
from llmgate_plugins.insight.conditions import Where, conditions_of
from llmgate_plugins.insight.facts import Level
from llmgate_plugins.insight.focus import FOCUS_COLUMNS, PriceOf, focus_rows
from llmgate_plugins.insight.spans import Moment, during, span_of
from llmgate_plugins.insight.tabular import schema_of, write_csv, write_parquet
from llmgate_plugins.ledger.plain import dump_json
from llmgate_plugins.ledger.schema import attempts, calls
from llmgate_plugins.services import Ledger
from llmgate_plugins.types import Price

__all__ = ["Format", "columns_of", "export_rows", "read_rows"]

Format: TypeAlias = Literal["jsonl", "csv", "parquet"]

_TABLES: Final = {"attempts": attempts, "calls": calls}
_LEFT_OUT: Final = ("problems", "decision")
"""Columns of calls that are documents of their own."""
_AT_ONCE: Final = 2_000
"""Rows that are in memory at a time."""


def columns_of(what: Level, *, focus: bool = False) -> tuple[str, ...]:
    """The columns of an export, in their order."""
    if focus:
        return FOCUS_COLUMNS
    return tuple(column.name for column in _TABLES[what].c if column.name not in _LEFT_OUT)


def read_rows(
    ledger: Ledger | str,
    what: Level = "attempts",
    *,
    since: Moment | None = None,
    until: Moment | None = None,
    zone: str = "UTC",
    where: Where = (),
    now: float | None = None,
) -> Iterator[dict[str, Any]]:
    """Rows of attempts or calls as plain values, oldest first, a few at a time.

    Args:
        ledger: A gateway's, or the URL of one in a database.
        what: "attempts" or "calls"; of calls without what was decided.
        since, until, zone, where, now: As of a report.

    Raises:
        ValueError: Something of this makes no sense.
        ConfigurationError: No such ledger.
        StorageError: It could not be read.
    """
    if what not in _TABLES:
        raise ValueError(f"attempts or calls can be exported, not {what!r}")
    conditions = conditions_of(where)
    for one in conditions:
        if what == "calls" and not one.of_calls:
            raise ValueError(f"calls cannot be chosen by {one}, which belongs to an attempt")
    span = span_of(since, until, now=time.time() if now is None else now, zone=zone)
    table = _TABLES[what]
    statement = select(*(table.c[name] for name in columns_of(what))).order_by(table.c.at)
    statement = statement.where(*during(span, table.c.at))
    with open_books(ledger) as books:
        statement = statement.where(*(one.clause(what, books) for one in conditions))
        reading = {"yield_per": _AT_ONCE}
        with books.connection.execute(statement, execution_options=reading) as result:
            for row in result.mappings():
                yield dict(row)


def export_rows(
    ledger: Ledger | str,
    to: str | Path | TextIO,
    what: Level = "attempts",
    *,
    format: Format | None = None,
    focus: bool = False,
    price_of: PriceOf | None = None,
    **which: Any,
) -> int:
    """Write rows to a file, however many, in little memory; how many they were.

    Args:
        ledger: A gateway's, or the URL of one in a database.
        to: A path, which is replaced when all is written (a pipe, a device or a link is written
            as it stands), or a text file that is open.
        what: "attempts" or "calls".
        format: None for what the path ends in.
        focus: In the columns of FOCUS 1.2; of attempts alone.
        price_of: List prices, to split an attempt's cost among its buckets of tokens for
            FOCUS; None for the catalogue's.
        which: `since`, `until`, `zone`, `where`, `now` as of a report.

    Raises:
        ValueError: Something of this makes no sense.
        ConfigurationError: No such ledger, or a package that is not installed.
        StorageError: The ledger could not be read.
    """
    if focus and what != "attempts":
        raise ValueError("FOCUS has a row for each charge: of attempts, not of calls")
    written = format or _format_of(to)
    rows: Iterable[dict[str, Any]] = read_rows(ledger, what, **which)
    if focus:
        rows = focus_rows(rows, price_of or _catalog_prices())
    columns = columns_of(what, focus=focus)
    if written == "parquet":
        if not isinstance(to, str | Path):
            raise ValueError("Parquet is written to a path, not to a stream of text")
        with _replacing(Path(to)) as path:
            return write_parquet(path, _chunks(rows), _schema(what, focus))
    if not isinstance(to, str | Path):
        return _write(to, rows, columns, written)
    with _replacing(Path(to)) as path, path.open("w", encoding="utf-8", newline="") as file:
        return _write(file, rows, columns, written)


def _write(file: TextIO, rows: Iterable[dict[str, Any]], columns: Sequence[str], format: Format) -> int:
    if format == "csv":
        return write_csv(file, map(_texts, rows), columns)
    number = 0
    for number, row in enumerate(rows, start=1):  # noqa: B007 - how many is what is asked for
        file.write(json.dumps(row, ensure_ascii=False, separators=(",", ":"), default=_number))
        file.write("\n")
    return number


def _texts(row: dict[str, Any]) -> dict[str, Any]:
    """A row for CSV: documents as JSON, money without an exponent."""
    return {name: _text(value) for name, value in row.items()}


def _text(value: Any) -> Any:
    if isinstance(value, dict | list):
        return dump_json(value)
    return f"{value:f}" if isinstance(value, Decimal) else value


def _number(value: Any) -> float:
    """A decimal for JSON, which has no others than these."""
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{value!r} cannot be written as JSON")


def _chunks(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    rows = iter(rows)
    while chunk := list(islice(rows, _AT_ONCE * 10)):
        yield [
            {
                name: dump_json(value) if isinstance(value, dict | list) else value
                for name, value in row.items()
            }
            for row in chunk
        ]


def _schema(what: Level, focus: bool) -> Any:
    """The Parquet schema: a column that is empty in the first rows has its type all the same."""
    if not focus:
        return schema_of({name: _TABLES[what].c[name].type.python_type for name in columns_of(what)})
    try:
        import pyarrow as pa
    except ModuleNotFoundError:
        return None  # the writer says what is missing
    money, price = pa.decimal128(28, 9), pa.decimal128(28, 15)
    kinds_of: Mapping[str, Any] = {
        **dict.fromkeys(("BilledCost", "EffectiveCost"), money),
        **dict.fromkeys(("ListCost", "ContractedCost", "ListUnitPrice", "ContractedUnitPrice"), price),
        **dict.fromkeys(("ConsumedQuantity", "PricingQuantity", "x_CostNanoUsd", "x_Number"), pa.int64()),
        **dict.fromkeys(("x_LatencyS", "x_FirstTokenS"), pa.float64()),
        "x_Estimated": pa.bool_(),
    }
    return pa.schema([(name, kinds_of.get(name, pa.string())) for name in FOCUS_COLUMNS])


def _format_of(to: str | Path | TextIO) -> Format:
    endings: Mapping[str, Format] = {
        ".jsonl": "jsonl",
        ".ndjson": "jsonl",
        ".csv": "csv",
        ".parquet": "parquet",
    }
    ending = Path(to).suffix.lower() if isinstance(to, str | Path) else ""
    if ending not in endings:
        raise ValueError(f"the format does not show in {str(to)!r}; give one of jsonl, csv, parquet")
    return endings[ending]


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A path beside this one, which takes its place when all went well.

    What is no file of its own, such as a pipe, a device or a link, is written as it stands."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        yield path
        return
    beside = path.with_name(f".{path.name}.part")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _catalog_prices() -> PriceOf:
    from llmgate_plugins.catalog import Catalog

    catalog = Catalog()
    known: dict[tuple[str, str], Price | None] = {}

    def price_of(provider: str, model: str) -> Price | None:
        if (provider, model) not in known:
            card = catalog.lookup(provider, model)
            known[provider, model] = card.price if card is not None else None
        return known[provider, model]

    return price_of
