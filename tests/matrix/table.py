"""All rows of the matrix together, and what they look like: in a terminal, as JSON, and as a page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from .ending import ENDING, FORKING
from .expectations import Expect, Row
from .leaving import LEAVING
from .rows import ROWS as PROVIDERS
from .surfaces import MODES, STREAMS, SURFACES, WHOLE
from .trouble import TROUBLE

__all__ = ["ROWS", "Cell", "cells", "lines", "page"]

ROWS: Final[tuple[Row, ...]] = (*PROVIDERS, *LEAVING, *ENDING, *TROUBLE, *FORKING)
Cell = tuple[Row, str, str]
PARTS: Final[Mapping[str, Sequence[Row]]] = {
    "What a provider does": PROVIDERS,
    "Callers that leave, processes that end": (*LEAVING, *ENDING),
    "The gateway's own troubles": (*TROUBLE, *FORKING),
}


def cells(only: Iterable[str] = ()) -> Iterator[Cell]:
    """Every cell, surface by surface, or those of some rows: "F25" is also "F25-alone"."""
    wanted = tuple(only)
    for surface in SURFACES:
        for row in ROWS:
            if not wanted or row.id in wanted or row.id.partition("-")[0] in wanted:
                for mode in row.modes:
                    yield row, mode, surface


# ---------------------------------------------------------------- in a terminal

HEAD = f"{'':17}{'':38}{'core':>6}{'langchain':>10}{'litellm':>8}"


def lines(found: Mapping[tuple[str, str, str], Sequence[str]]) -> Iterator[str]:
    """The table: a mark per mode (sync, async, stream, astream), `+` as it must be, `!` not.

    Args:
        found: What is amiss, by (id, mode, surface) of each cell that was run.
    """
    yield "sync, async, stream, astream: + as it must be, * as the host can, ! not"
    yield HEAD
    for row in ROWS:
        marks = ["".join(_mark(row, mode, surface, found) for mode in MODES) for surface in SURFACES]
        if any(mark.strip() for mark in marks):
            yield f"{row.id:16} {row.what[:37]:38}{marks[0]:>6}{marks[1]:>10}{marks[2]:>8}"


def _mark(row: Row, mode: str, surface: str, found: Mapping[tuple[str, str, str], Sequence[str]]) -> str:
    if (row.id, mode, surface) not in found:
        return " "
    if found[row.id, mode, surface]:
        return "!"
    usual = row.expected(mode, "")
    return "+" if row.expected(mode, surface) == usual else "*"


# ---------------------------------------------------------------- as a page

INTRODUCTION = """\
# The fault matrix

Every failure that is known, in every mode (sync, async, stream, async stream) and on every surface: plain
calls, LangChain and a registered LiteLLM router. {cells} cells, each a real call over HTTP to simulated
providers. The tests run all of them, and this page is written from the same data. To see it run:

    python tests/matrix                  # all, as a table
    python tests/matrix --only F25       # one failure
    python tests/matrix --json           # for programs
    python tests/matrix --write          # this page

How to read it:

- The alias has two deployments, `a` (where it goes wrong) and `b` (another address, another key), or `a`
  alone.
- *the caller gets*: whose answer, or the class of the error. `StreamInterrupted` carries all the text that
  was delivered. The ledger says the same. No plain call takes for an answer what is none; where a host's
  client hides from the gateway what went wrong, [the last table](#what-a-host-decides) says so.
- *attempts*, in their order: `a:rate_limit` failed with this class, `b` answered.
- *slept*: seconds between attempts; always 0 where another deployment is asked.
- *health*: what is known afterwards. `closed` is a count towards an ejection.
- *tokens*: taken from the retry budget.
- *booked*, per attempt: `0` nothing, `A` as the provider reported it, `E` an estimate of what was
  delivered, `U` what may be billed, since nobody knows: the input of a stream that brought nothing; of a
  whole answer that never came, also the output expected of it. Each attempt has one row, and the rows add
  up to the call's cost.
"""


def page() -> str:
    """`docs/explanation/fault-matrix.md`."""
    out = [INTRODUCTION.format(cells=sum(1 for _ in cells()))]
    for title, rows in PARTS.items():
        out += [f"## {title}", "", *_table(rows), ""]
    out += [
        "## What a host decides",
        "",
        "Where a host cannot do as plain calls do, what is seen there instead, and why. See also",
        "[what only LiteLLM can decide](litellm-limits.md).",
        "",
        *_differences(),
    ]
    return "\n".join(out).rstrip() + "\n"


def _table(rows: Sequence[Row]) -> Iterator[str]:
    yield "| id | what goes wrong | the caller gets | attempts | slept | health | tokens | booked | differs |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in rows:
        where = sorted({name.partition("/")[0] for name in row.differs})
        for modes, label in _kinds(row):
            want = row.expected(modes[0], "")
            what = f"{row.what}{label}" + (f" ({row.note})" if row.note else "")
            told = "its own way of leaving" if want.told == "BaseException" else want.told
            yield (
                f"| {row.id} | {what} | {told} | {_code(want.tries) or 'none'} | {_slept(want)} | "
                f"{want.health or '-'} | {want.tokens:g} | {_code(want.books) or '-'} | "
                f"{', '.join(where)} |"
            )


def _kinds(row: Row) -> Iterator[tuple[Sequence[str], str]]:
    """Whole answers and streams apart where they differ."""
    kinds = [[mode for mode in row.modes if mode in kind] for kind in (WHOLE, STREAMS)]
    if not row.streams or not all(kinds):
        yield row.modes, ""
        return
    yield kinds[0], ", whole"
    yield kinds[1], ", streamed"


def _slept(want: Expect) -> str:
    low, high = want.slept
    return "0" if high == 0 else f"{low:g} to {high:g}"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _differences() -> Iterator[str]:
    yield "| id | where | why | what is seen there |"
    yield "|---|---|---|---|"
    for row in ROWS:
        for where, differs in row.differs.items():
            changes = "; ".join(
                f"{NAMES.get(name, name)}: {value or 'nothing'}" for name, value in differs.changes.items()
            )
            yield f"| {row.id} | {where} | {differs.why} | {changes} |"


NAMES: Final = {"told": "the caller gets", "tries": "attempts", "books": "booked"}
