"""One test per cell: a failure, in a mode, on a surface; and the page says what the cells say."""

from __future__ import annotations

from pathlib import Path

import pytest

from .playing import misses, play
from .surfaces import SURFACES
from .table import ROWS, cells, lines, page

CELLS = list(cells())
PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "fault-matrix.md"
ORDINARY = 804
"""36 failures before or instead of an answer and 15 that are going on with callers and the gateway itself,
in four modes; 15 of whole answers and 17 of streams in two; all on three surfaces."""


@pytest.mark.parametrize(
    ("row", "mode", "surface"), CELLS, ids=[f"{row.id}-{mode}-{surface}" for row, mode, surface in CELLS]
)
def test_cell(row, mode, surface):
    assert misses(row, mode, surface, play(row, mode, surface)) == []


def test_no_failure_is_left_out():
    whole, streamed = set(range(37, 52)), set(range(52, 69))
    modes = {number: 2 if number in whole | streamed else 4 for number in range(1, 84)}
    told = {(int(row.id[1:3]), mode, surface) for row, mode, surface in CELLS}
    for number, wanted in modes.items():
        for surface in SURFACES:
            assert sum(one[0] == number and one[2] == surface for one in told) == wanted
    assert len(told) == ORDINARY
    assert len({row.id for row in ROWS}) == len(ROWS)


def test_every_difference_of_a_host_is_one_and_has_a_reason():
    for row in ROWS:
        for differs in row.differs.values():
            assert differs.why
            assert all(hasattr(row.expect, name) for name in differs.changes)
        for mode in row.modes:
            assert row.expected(mode, "core") == row.expected(mode, ""), "plain calls have no host to blame"


def test_the_page_says_what_the_cells_say():
    assert PAGE.read_text() == page(), "run: python tests/matrix --write"


def test_the_table_shows_each_cell_in_80_columns():
    found = {(row.id, mode, surface): () for row, mode, surface in CELLS}
    shown = list(lines(found))
    assert max(map(len, shown)) <= 80
    marks = sum(line[55:].count("+") + line[55:].count("*") for line in shown[2:])
    assert marks == len(CELLS)
    row, mode, surface = CELLS[0]
    assert "!" in "".join(list(lines({(row.id, mode, surface): ("told",)}))[2:])
