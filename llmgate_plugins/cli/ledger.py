"""`llmgate ledger`: what stands in the books, how current their tables are, whether they agree."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmgate_plugins.cli.output import count, print_json, print_table, usd, wrapped
from llmgate_plugins.cli.reading import refuse_no_books
from llmgate_plugins.errors import ConfigurationError

if TYPE_CHECKING:
    from llmgate_plugins.config import LedgerConfig
    from llmgate_plugins.ledger import SqlLedger
    from llmgate_plugins.ledger.database import Database
    from llmgate_plugins.ledger.reconciling import Difference

__all__ = ["ledger"]

_SHOWN = 20
_KINDS = {
    "open": "attempt never settled",
    "no_call": "call never ended",
    "no_attempts": "attempts missing",
    "sum": "sums differ",
    "counter": "counter differs",
}

_which = click.argument("which", metavar="[LEDGER]", default="llmgate.yaml")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group()
def ledger() -> None:
    """Look after the books.

    LEDGER is a configuration (llmgate.yaml unless given), an SQLite file, or an address:
    sqlite:///FILE, postgresql://HOST/DATABASE.
    """


@ledger.command()
@_which
@_as_json
def status(which: str, as_json: bool) -> None:
    """Say what stands in LEDGER, and whether something waits to be done."""
    from llmgate_plugins.ledger.inspecting import inspect_ledger
    from llmgate_plugins.ledger.opening import open_database

    url, config = _address(which)
    database = open_database(url, durability=config.durability if config else None, reading=True)
    outbox = Path(config.outbox) if config and config.outbox else database.outbox
    with closing(_Engine(database)):
        found = inspect_ledger(database, outbox, time.time())
    if as_json:
        print_json(asdict(found))
        return
    rows: list[tuple[str, object]] = [
        ("ledger", found.name),
        ("tables", _version(found.version, found.current)),
        ("durability", found.durability),
        ("attempts", f"{found.attempts:,}"),
        ("calls", f"{found.calls:,}"),
        ("spent", usd(found.cost_nano_usd)),
        ("from", _moment(found.oldest)),
        ("to", _moment(found.newest)),
        ("under way", f"{found.open:,}"),
        ("to recover", f"{found.expired:,}" + (" (llmgate ledger recover)" if found.expired else "")),
        ("in outbox", f"{found.waiting:,} bytes"),
    ]
    for what, value in rows:
        click.echo(f"{what:<10}  {value}")


@ledger.command()
@_which
@_as_json
def upgrade(which: str, as_json: bool) -> None:
    """Bring the tables of LEDGER to this version. A copy of an SQLite file is made first."""
    from llmgate_plugins.ledger.opening import open_database
    from llmgate_plugins.ledger.upgrading import upgrade as bring_up_to_date

    url, _ = _address(which)
    database = open_database(url)
    with closing(_Engine(database)):
        done = bring_up_to_date(database)
    if as_json:
        print_json({"ledger": database.name, **asdict(done)})
    elif done.before == done.after:
        click.echo(wrapped(f"{database.name}: version {done.after} already, nothing to do"))
    elif done.before is None:
        click.echo(wrapped(f"{database.name}: new, with tables of version {done.after}"))
    else:
        click.echo(wrapped(f"{database.name}: from version {done.before} to {done.after}"))
        if done.copy is not None:
            click.echo(f"before: {done.copy}")


@ledger.command()
@_which
@click.option("--repair", is_flag=True, help="Make them agree. What the attempts say is true.")
@_as_json
def reconcile(which: str, repair: bool, as_json: bool) -> None:
    """Compare attempts with calls in LEDGER; exit code 1 if they do not agree.

    Reports attempts that nobody settled, calls that never ended, and sums that differ; for a
    configuration with limits and a state that processes share also its counters.
    """
    from llmgate_plugins.ledger.reconciling import differences
    from llmgate_plugins.ledger.reconciling import repair as make_agree

    with closing(_open(which)) as books:
        now = time.time()
        if repair:
            with books.changing() as connection:
                found = make_agree(connection, now)
        else:
            with books.reading() as connection:
                found = list(differences(connection, now))
        found += _counters(which, books, now, repair=repair)
    amiss = sum(not one.repaired for one in found)
    if as_json:
        print_json({"ledger": books.name, "agree": not amiss, "differences": [asdict(one) for one in found]})
    else:
        _print(found, books.name)
    if amiss:
        click.get_current_context().exit(1)


@ledger.command()
@_which
@click.option(
    "--older-than", type=float, metavar="SECONDS", help="By age, whatever an intent says of itself."
)
@_as_json
def recover(which: str, older_than: float | None, as_json: bool) -> None:
    """Book intents of dead processes at their estimate.

    Those whose time is over, or that do not say when that is and are an hour old. A gateway
    does this by itself every half minute.
    """
    with closing(_open(which)) as books:
        now = time.time()
        if older_than is None:
            recovered = books.recover_expired(now=now)
        else:
            recovered = books.recover(older_than=older_than, now=now)
    if as_json:
        print_json({"ledger": books.name, "recovered": recovered})
    else:
        click.echo(wrapped(f"{books.name}: {count(recovered, 'intent')} recovered"))


@ledger.command()
@_which
@click.option("--older-than", metavar="TIME", help='Whoever\'s they are: "90d", "12h".')
@_as_json
def purge(which: str, older_than: str | None, as_json: bool) -> None:
    """Remove rows that have been kept long enough, as the configuration's `retention` says.

    A gateway does this by itself once an hour.
    """
    from llmgate_plugins.config.quantities import parse_duration
    from llmgate_plugins.ledger import Retention

    with closing(_open(which)) as books:
        if older_than is not None:
            kept = Retention(default=parse_duration(older_than))
            removed = books.purge(now=time.time(), retention=kept, content_retention=kept)
        else:
            removed = books.purge(now=time.time())
    if as_json:
        print_json({"ledger": books.name, "removed": removed})
    else:
        click.echo(wrapped(f"{books.name}: {count(removed, 'row')} removed"))


def _counters(which: str, books: SqlLedger, now: float, *, repair: bool) -> list[Difference]:
    if "://" in which or not which.endswith((".yaml", ".yml", ".json")):
        return []
    from llmgate_plugins.assembly.limits import configured_limits
    from llmgate_plugins.config import load_config
    from llmgate_plugins.state import MemoryState, open_state

    config = load_config(which)
    limits = configured_limits(config).limits
    state = open_state(config.state_url()) if limits else MemoryState()
    if isinstance(state, MemoryState):
        return []
    from llmgate_plugins.insight.counters import reconcile_counters

    return asyncio.run(reconcile_counters(limits, ledger=books, state=state, now=now, repair=repair))


def _print(found: list[Difference], name: str) -> None:
    if not found:
        click.echo(wrapped(f"{name}: attempts and calls agree"))
        return
    rows = [
        (
            _KINDS[one.kind],
            one.column,
            f"{one.books:,}",
            "-" if one.kind in ("open", "no_call") else f"{one.other:,}",
            "yes" if one.repaired else "no",
            one.call_id,
        )
        for one in found[:_SHOWN]
    ]
    print_table(rows, ("what", "of", "attempts", "other", "repaired", "which"), right=(2, 3))
    if len(found) > _SHOWN:
        click.echo(f"... and {len(found) - _SHOWN} more (--json shows all)")
    amiss = sum(not one.repaired for one in found)
    repaired = len(found) - amiss
    click.echo(wrapped(f"{name}: {count(len(found), 'difference')}, {repaired} repaired"))


def _address(which: str) -> tuple[str, LedgerConfig | None]:
    """The address that an argument names, and what a configuration says besides."""
    if "://" in which:
        return which, None
    path = Path(which)
    if path.suffix in (".yaml", ".yml", ".json") or not path.exists():
        from llmgate_plugins.config import load_config

        config = load_config(path).ledger
        url = config.address
        if url == "memory":
            raise ConfigurationError(f"{which} keeps its books in memory; there is nothing to look after")
        return url, config
    return f"sqlite:///{path.absolute()}", None


def _open(which: str) -> SqlLedger:
    """The books that are there.

    Raises:
        ConfigurationError: There are none.
    """
    from llmgate_plugins.ledger import Retention, SqlLedger

    url, config = _address(which)
    refuse_no_books(url)
    if config is None:
        return SqlLedger(url)
    kept, contents = config.retention, config.content_retention
    return SqlLedger(
        url,
        durability=config.durability,
        outbox=config.outbox,
        retention=Retention(default=kept.default, tenants=kept.tenants),
        content_retention=Retention(default=contents.default, tenants=contents.tenants),
    )


class _Engine:
    """Lets go of a database's connections."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def close(self) -> None:
        self._database.engine.dispose()


def _version(found: int | None, current: int) -> str:
    if found is None:
        return "none yet"
    if found == current:
        return f"version {found}, current"
    way_out = "llmgate ledger upgrade" if found < current else "a newer llmgate wrote them"
    return f"version {found}, this llmgate has {current} ({way_out})"


def _moment(at: float | None) -> str:
    return "-" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
