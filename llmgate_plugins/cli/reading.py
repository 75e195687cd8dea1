"""What commands that read the books have in common: which books, which span, and patience."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from llmgate_plugins.errors import ConfigurationError

if TYPE_CHECKING:
    from llmgate_plugins.config import GatewayConfig

__all__ = [
    "CONFIG",
    "config_of",
    "config_option",
    "ledger_of",
    "ledger_option",
    "refuse_no_books",
    "shadow_option",
    "span_options",
    "understood",
    "waiting",
    "where_option",
    "writing",
]

F = TypeVar("F", bound=Callable[..., Any])

CONFIG: Final = "llmgate.yaml"
"""The configuration that is read where none is named."""

ledger_option: Final = click.option(
    "--ledger", "ledger", metavar="URL", help="The ledger: FILE, sqlite:///FILE or postgresql://..."
)
config_option: Final = click.option(
    "--config", "config", metavar="FILE", help=f"The configuration that names it (default: {CONFIG})."
)
where_option: Final = click.option(
    "--where",
    "where",
    multiple=True,
    metavar="CONDITION",
    help='team=search,mail, team="R, D" or cost>0.01 (repeatable).',
)

shadow_option: Final = click.option(
    "--shadow",
    "shadow_calls",
    type=click.Choice(["without", "with", "only"]),
    default="without",
    show_default=True,
    help="Whether shadow calls count.",
)


def span_options(command: F) -> F:
    """`--since`, `--until` and `--zone`."""
    for option in (
        click.option("--zone", default="UTC", show_default=True, help="Where days begin: Europe/Berlin ..."),
        click.option("--until", metavar="WHEN", help="As --since; what is at that moment is left out."),
        click.option(
            "--since", metavar="WHEN", help="7d, 24h, today, yesterday, week, month, 2026-11-01, ..."
        ),
    ):
        command = option(command)
    return command


def config_of(config: str | None) -> GatewayConfig | None:
    """The configuration to go by: the one that is named, or the one here; None without either.

    Raises:
        ConfigurationError: It has a mistake.
    """
    if config is None and not Path(CONFIG).is_file():
        return None
    from llmgate_plugins.config import load_config  # pydantic models; not needed for --help

    return load_config(config or CONFIG)


def ledger_of(ledger: str | None, config: str | None) -> str:
    """The URL of the ledger to read.

    Raises:
        click.UsageError: Neither is given and there is no configuration here.
        ConfigurationError: The configuration has a mistake, or keeps its books in memory.
    """
    if ledger is not None:
        is_file = "://" not in ledger and Path(ledger).is_file()
        return f"sqlite:///{Path(ledger).absolute()}" if is_file else ledger
    known = config_of(config)
    if known is None:
        raise click.UsageError(
            f"there is no {CONFIG} here; name the books: --ledger sqlite:///FILE or --config FILE"
        )
    if known.ledger.url == "memory":
        raise ConfigurationError(
            f"{config or CONFIG} keeps its books in memory, where nobody else can read them; write "
            "ledger: sqlite:///llmgate.db"
        )
    return known.ledger.address


def refuse_no_books(url: str) -> None:
    """What only looks makes no books.

    Raises:
        ConfigurationError: There are none at this address.
    """
    from llmgate_plugins.ledger.opening import open_database
    from llmgate_plugins.ledger.upgrading import refuse_missing

    database = open_database(url, reading=True)
    try:
        refuse_missing(database)
    finally:
        database.engine.dispose()


@contextmanager
def understood() -> Iterator[None]:
    """A `ValueError` says what is wrong with an option."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say which file cannot be written, and why."""
    try:
        yield
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise click.ClickException(f"{path} cannot be written: {why}") from error


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Say on a terminal what takes so long, from the second second on."""
    if not sys.stderr.isatty():
        yield
        return
    over = threading.Event()
    began = time.monotonic()

    def tell() -> None:
        while not over.wait(1.0):
            click.echo(f"\r{what} ... {time.monotonic() - began:.0f} s ", err=True, nl=False)

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        click.echo("\r\x1b[K", err=True, nl=False)
