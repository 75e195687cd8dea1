"""What all commands print alike: tables for 80 columns, amounts, times, JSON."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import click

from llmgate_plugins.types import NANO, Usage

__all__ = [
    "beginning",
    "cells",
    "clock_time",
    "count",
    "heading",
    "pairs",
    "print_json",
    "print_table",
    "seconds",
    "short",
    "table",
    "tokens",
    "usd",
    "width",
    "wrapped",
]

WIDTH: Final = 80


def width() -> int:
    """Columns to print for: those of the terminal, but at most 80."""
    return max(40, min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns))


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def heading(text: str) -> None:
    """A heading with a blank line before it."""
    click.echo(f"\n{text}\n{'-' * len(text)}")


def table(
    rows: Iterable[Sequence[object]],
    headers: Sequence[str],
    *,
    right: Iterable[int] = (),
    room: int | None = None,
) -> list[str]:
    """Lines of a table whose last column is folded where the line would get too long.

    Args:
        right: Columns that are set flush right, counted from 0.
        room: Columns of the screen to use; None for all.
    """
    body = [[str(cell) for cell in row] for row in rows]
    shown = [list(headers), *body]
    widths = [max(cells(row[place]) for row in shown) for place in range(len(headers))]
    flush = set(right)
    lines = []
    for row in shown:
        set_out = [
            " " * (size - cells(cell)) + cell if place in flush else cell + " " * (size - cells(cell))
            for place, (cell, size) in enumerate(zip(row, widths, strict=True))
        ]
        before, last = "  ".join(set_out[:-1]), set_out[-1]
        taken = cells(before)
        left = max((room or width()) - taken - 2, 16)
        folded = _folded(last if len(set_out) - 1 in flush else last.rstrip(), left)
        lines.append(f"{before}  {folded[0]}".rstrip())
        lines += [f"{' ' * taken}  {piece}" for piece in folded[1:]]
    return lines


def print_table(
    rows: Iterable[Sequence[object]], headers: Sequence[str], *, right: Iterable[int] = ()
) -> None:
    """Print such a table; nothing if it has no rows."""
    rows = list(rows)
    if rows:
        click.echo("\n".join(table(rows, headers, right=right)))


def short(text: str, most: int = 28) -> str:
    """A text that somebody else chose, on so many columns: what moves the cursor is not printed."""
    plain = "".join(one if one.isprintable() else "?" for one in text)
    return plain if cells(plain) <= most else f"{beginning(plain, most - 3)}..."


def cells(text: str) -> int:
    """How many columns of a terminal it takes: characters of Chinese, Japanese or Korean take two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # tables of widths; mostly not wanted

    return cell_len(text)


def beginning(text: str, most: int) -> str:
    """As much of it as fits on so many columns."""
    while cells(text) > most:
        text = text[:-1]
    return text


def _folded(text: str, most: int) -> list[str]:
    """The text in lines of so many columns, at least one."""
    wide = cells(text) > len(text)
    return textwrap.wrap(text, most // 2 if wide and cells(text) > most else most) or [""]


def wrapped(text: str, indent: str = "") -> str:
    """The text in lines of the terminal's width, those after the first indented."""
    return textwrap.fill(
        text, width(), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def usd(nano: int) -> str:
    """Nano-dollars as dollars: cents as usual, less than a cent with two telling digits."""
    dollars = nano / NANO
    if nano == 0:
        return "$0"
    if dollars >= 0.01:
        return f"${dollars:,.2f}" if dollars >= 1 else f"${dollars:.4f}"
    return f"${dollars:.{_places(dollars)}f}"


def _places(dollars: float) -> int:
    places = 2
    while places < 9 and dollars * 10**places < 10:
        places += 1
    return places


def clock_time(at: float) -> str:
    """A moment of Unix time as the local clock shows it: "14:05:09"."""
    return datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S")


def seconds(value: float | None) -> str:
    """A time: "12 ms", "1.25 s"; "-" if not known."""
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 0.9995 else f"{value:.2f} s"


def tokens(usage: Usage) -> str:
    """Tokens in and out: "12 in, 30 out"; with "about" where they were estimated."""
    about = "about " if usage.estimated else ""
    return f"{about}{usage.total_input} in, {usage.total_output} out"


def count(number: int, thing: str) -> str:
    """ "1 call", "2 calls"."""
    return f"{number} {thing}" + ("" if number == 1 else "s")


def pairs(items: Iterable[str], option: str) -> Mapping[str, str]:
    """Reads KEY=VALUE as often as given.

    Raises:
        click.BadParameter: One has no "=".
    """
    read = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{item!r} must be KEY=VALUE", param_hint=option)
        read[key] = value
    return read
