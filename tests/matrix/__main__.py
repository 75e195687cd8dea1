"""The matrix as a table: `python tests/matrix [--only F25] [--json] [--write]`."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import warnings
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

from matrix.playing import misses, play, simulators  # noqa: E402 - the path must be set first
from matrix.surfaces import close_loop  # noqa: E402
from matrix.table import Cell, cells, lines, page  # noqa: E402

PAGE = HERE.parents[1] / "docs" / "explanation" / "fault-matrix.md"


def main() -> int:
    """Run the cells for real; 1 if one of them is not as it must be."""
    given = argparse.ArgumentParser(prog="python tests/matrix", description="The fault matrix, run for real.")
    given.add_argument("--only", action="append", default=[], metavar="ID", help="F25; may be repeated")
    given.add_argument("--json", action="store_true", help="one JSON object, by cell")
    given.add_argument("--write", action="store_true", help=f"write {PAGE.name} and run nothing")
    asked = given.parse_args()
    if asked.write:
        PAGE.write_text(page())
        return 0
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    chosen = list(cells(asked.only))
    if not chosen:
        given.error(f"no failure is called {', '.join(asked.only)}")
    found = {(row.id, mode, surface): _run((row, mode, surface)) for row, mode, surface in chosen}
    amiss = {cell: what for cell, what in found.items() if what}
    if asked.json:
        print(json.dumps({"-".join(cell): what for cell, what in found.items()}, indent=1))
    else:
        print("\n".join(lines(found)))
        for cell, what in amiss.items():
            print(f"{'-'.join(cell)}:", *what, sep="\n    ")
        print(f"{len(found)} cells, {len(amiss)} not as they must be")
    close_loop()
    for one in simulators().values():
        one.close()
    return 1 if amiss else 0


def _run(cell: Cell) -> list[str]:
    try:
        return misses(*cell, play(*cell))
    except Exception as error:
        return [f"it could not be run: {type(error).__name__}: {error}"]


if __name__ == "__main__":
    sys.exit(main())
