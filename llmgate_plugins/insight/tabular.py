"""Rows of plain values as CSV, Parquet and DataFrames."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from llmgate_plugins.errors import ConfigurationError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["csv_text", "frame_of", "guarded", "schema_of", "write_csv", "write_parquet"]

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001 - wide ones
"""How a text begins that a spreadsheet takes for a formula, some only where wide characters are usual."""
_END: Final = "\r\n"
"""Of a line, as the writer has it."""


def guarded(value: Any) -> Any:
    """The value; a text that a spreadsheet would run gets an apostrophe, as OWASP advises."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


class _EndingInNewline:
    """A file in which lines end with a newline alone.

    The writer puts in quotes what its lines end with, and must for a carriage return, which
    would begin a row; only from Python 3.13 on it does so by itself."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, line: str) -> None:
        self._file.write(f"{line.removesuffix(_END)}\n")


def write_csv(file: TextIO, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> int:
    """Write a heading and rows, with `guarded` cells; how many rows."""
    writer = csv.writer(_EndingInNewline(file))
    writer.writerow([guarded(column) for column in columns])
    number = 0
    for number, row in enumerate(rows, start=1):  # noqa: B007 - how many is what is asked for
        writer.writerow([guarded(row[column]) for column in columns])
    return number


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Rows as CSV; of none, the heading."""
    file = io.StringIO()
    write_csv(file, rows, columns)
    return file.getvalue()


def frame_of(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Rows as a DataFrame.

    Args:
        columns: What it has even without rows; None for what the rows have.

    Raises:
        ConfigurationError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ModuleNotFoundError as missing:
        raise ConfigurationError("a DataFrame needs pandas: pip install pandas") from missing
    return pd.DataFrame.from_records([dict(row) for row in rows], columns=columns)


def schema_of(kinds: Mapping[str, type]) -> Any:
    """The Parquet schema of columns with values of these kinds; None without pyarrow, as the writer says."""
    try:
        import pyarrow as pa
    except ModuleNotFoundError:
        return None
    of = {int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    return pa.schema([(name, of.get(kind, pa.string())) for name, kind in kinds.items()])


def write_parquet(path: str | Path, chunks: Iterable[Sequence[Mapping[str, Any]]], schema: Any = None) -> int:
    """Write a Parquet file, one row group for each chunk; how many rows.

    Args:
        schema: A pyarrow schema; None for what the first chunk has.

    Raises:
        ConfigurationError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as missing:
        raise ConfigurationError("Parquet needs pyarrow: pip install 'llmgate-plugins[parquet]'") from missing
    number = 0
    writer = None
    try:
        for chunk in chunks:
            table = pa.Table.from_pylist([dict(row) for row in chunk], schema=schema)
            schema = table.schema
            writer = writer or pq.ParquetWriter(str(path), schema)
            writer.write_table(table)
            number += len(chunk)
        if writer is None:  # a file without rows has its columns all the same
            writer = pq.ParquetWriter(str(path), schema or pa.schema([]))
    finally:
        if writer is not None:
            writer.close()
    return number
