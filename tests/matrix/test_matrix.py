"""One test per cell: a failure, in a mode, on a surface."""

from __future__ import annotations

import pytest

from .playing import misses, play
from .rows import ROWS
from .surfaces import SURFACES

CELLS = [(row, mode, surface) for surface in SURFACES for row in ROWS for mode in row.modes]


@pytest.mark.parametrize(
    ("row", "mode", "surface"), CELLS, ids=[f"{row.id}-{mode}-{surface}" for row, mode, surface in CELLS]
)
def test_cell(row, mode, surface):
    assert misses(row, mode, surface, play(row, mode, surface)) == []
