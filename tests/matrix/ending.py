"""The rows F72, F73 and F83: what is in the books of a process that ended, or forked."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from llmgate_plugins.ledger import open_ledger
from llmgate_plugins.testing import Fault

from .dying import PIECES, die_on, file_of
from .expectations import Expect, Row
from .playing import ANSWERS, Seen, simulators

__all__ = ["ENDING", "FORKING"]

LATER = 10.0**10
"""A Unix time at which everything is long over."""


@cache
def _ended(surface: str) -> tuple[Any, Path]:
    """All processes of a surface, run once. The directory lives as long as this process."""
    directory = tempfile.TemporaryDirectory(prefix="llmgate-matrix-")
    simulator = simulators()["a"]
    for name, fault in (
        ("silent", Fault("stall")),
        ("hanging", Fault("stall", after=PIECES)),
        ("healthy", None),
    ):
        provider = simulator.provider(name)
        provider.reply(ANSWERS["a"])
        if fault is not None:
            provider.fail_always(fault)
    die_on(surface, simulator.url, Path(directory.name))
    return directory, Path(directory.name)


def _play(row: Row, mode: str, surface: str) -> Seen:
    way = {"F72": "exit", "F73": "kill", "F83": "fork"}[row.id]
    _, directory = _ended(surface)
    ledger = open_ledger(f"sqlite:///{file_of(directory, way, mode)}")
    ledger.recover(older_than=0, now=LATER)
    seen = Seen(rows=ledger.attempts(), calls=ledger.calls(), left=way != "fork")
    ledger.close()
    if way == "fork":
        of_child, of_parent = (file_of(directory, who, mode).read_text() for who in ("child", "parent"))
        seen.text = of_child
        if of_parent != of_child:
            seen.misses.append(f"the parent got {of_parent!r}")
    return seen


ENDING = (
    Row(
        id="F72",
        what="the interpreter ends in mid-call",
        at=None,
        expect=Expect(told="nothing", tries="a:cancelled", books="U"),
        streams={"tries": "a:abandoned", "books": "E"},
        alone=True,
        play=_play,
        note="the books alone are looked at",
    ),
    Row(
        id="F73",
        what="kill -9 in mid-call",
        at=None,
        expect=Expect(told="nothing", tries="a:unknown", books="U", calls=0),
        alone=True,
        play=_play,
        note="recovery books the intent at its estimate; the books alone are looked at",
    ),
)
FORKING = (
    Row(
        id="F83",
        what="fork after a call",
        at=None,
        expect=Expect(told="a", tries="a a a", books="A A A", calls=3),
        alone=True,
        play=_play,
        note="parent and child both go on; answers and books are looked at",
    ),
)
