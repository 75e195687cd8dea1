"""`llmgate budgets`: how much of each limit is spent, held and left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import click

from llmgate_plugins.cli.output import count, print_json, print_table, short, wrapped
from llmgate_plugins.cli.reading import refuse_no_books
from llmgate_plugins.errors import ConfigurationError

if TYPE_CHECKING:
    from llmgate_plugins.config import GatewayConfig
    from llmgate_plugins.plugins.limits import Limit, LimitStanding

__all__ = ["budgets"]

BAR: Final = 10
LONGEST: Final = 24


@click.command("budgets")
@click.option(
    "--config", "-c", "file", metavar="FILE", default="llmgate.yaml", help="The configuration; llmgate.yaml."
)
@click.option(
    "--scope",
    "-s",
    "scopes",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="Only limits per team, say, or those of team=search. May be given often.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def budgets(file: str, scopes: tuple[str, ...], as_json: bool) -> None:
    """Say how much of each budget and limit is spent, held and left.

    A state that processes share is asked for it; else the ledger says it: what is in the
    memory of another process cannot be seen.
    """
    from llmgate_plugins.assembly.limits import configured_limits
    from llmgate_plugins.config import load_config

    config = load_config(file)
    limits = configured_limits(config).limits
    now = time.time()
    rows = [row for row in _read(file, config, limits, now) if _is_wanted(row, scopes)] if limits else []
    if as_json:
        print_json({"at": now, "limits": [row.to_dict() for row in rows]})
        return
    if not limits:
        click.echo(wrapped(f"{file} has no limits. Write some under budgets: or limits:."))
        return
    rows = [row for row in rows if row.kind != "concurrency" or row.held]
    for limit in limits:
        _print(limit, [row for row in rows if row.limit is limit])
    nobody = [limit for limit in limits if not any(row.limit is limit for row in rows)]
    if nobody:
        click.echo(f"{count(len(nobody), 'limit')} not shown: nothing to tell of.")


def _read(file: str, config: GatewayConfig, limits: Sequence[Limit], now: float) -> Sequence[LimitStanding]:
    from llmgate_plugins.insight.standings import read_standings
    from llmgate_plugins.ledger import open_ledger
    from llmgate_plugins.state import MemoryState, open_state

    state = open_state(config.state_url())
    if config.ledger.address != "memory":
        refuse_no_books(config.ledger.address)
    elif isinstance(state, MemoryState):
        raise ConfigurationError(
            f"{file} keeps its books in memory, where nobody else can read them; write "
            "ledger: sqlite:///llmgate.db"
        )
    ledger = open_ledger(config.ledger.address)
    try:
        return asyncio.run(read_standings(limits, ledger=ledger, state=state, now=now))
    finally:
        ledger.close()


def _is_wanted(row: LimitStanding, scopes: Iterable[str]) -> bool:
    for wanted in scopes:
        name, equals, value = wanted.partition("=")
        if name == "global" and not row.scope:
            continue
        if name not in row.scope or (equals and row.scope[name] != value):
            return False
    return True


def _print(limit: Limit, rows: Sequence[LimitStanding]) -> None:
    from llmgate_plugins.plugins.limits import words

    if not rows:
        return
    resets = {row.resets_at for row in rows} - {None}
    click.echo(wrapped(words.title(limit), "  "))
    for moment in sorted(resets, key=lambda at: at or 0.0):
        click.echo(f"  resets {words.moment(moment or 0.0, limit.window)}")  # type: ignore[arg-type]
    print_table(
        [
            (
                f"  {_name(row)}",
                words.amount(row.kind, row.spent) if row.kind != "concurrency" else "",
                words.amount(row.kind, row.held) if row.held else "-",
                _bar(row.share),
                _word(row),
            )
            for row in sorted(rows, key=lambda row: -row.share)
        ],
        [
            "  " + (", ".join(scope.name for scope in limit.scopes) or "all calls"),
            "spent",
            "held",
            "used",
            "",
        ],
        right=[1, 2],
    )
    click.echo()


def _name(row: LimitStanding) -> str:
    if not row.scope:
        return "all"
    return short(", ".join(_value(value) for value in row.scope.values()), LONGEST)


def _value(value: str | None) -> str:
    """One name, so that an empty one can be told from none."""
    return "(none)" if value is None else value or '""'


def _bar(share: float) -> str:
    full = min(BAR, int(share * BAR))
    return f"[{'#' * full}{'.' * (BAR - full)}] {share:4.0%}"


def _word(row: LimitStanding) -> str:
    """What follows from it."""
    if row.share < 1:
        return ""
    return {"hard": "used up", "soft": "passed", "shadow": "would refuse"}[row.mode]
