"""`llmgate export`: rows of the books, for other programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from llmgate_plugins.cli.output import count
from llmgate_plugins.cli.reading import (
    config_option,
    ledger_of,
    ledger_option,
    span_options,
    understood,
    waiting,
    where_option,
    writing,
)

if TYPE_CHECKING:
    from llmgate_plugins.insight.export import Format

__all__ = ["export"]


@click.command("export")
@click.argument("what", type=click.Choice(["attempts", "calls"]))
@click.option(
    "--format", "format", type=click.Choice(["jsonl", "csv", "parquet"]), help="Default: by -o, else jsonl."
)
@click.option("--focus", is_flag=True, help="In the columns of FOCUS 1.2 (attempts alone).")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Else to stdout."
)
@span_options
@where_option
@ledger_option
@config_option
def export(
    what: Any,
    format: Format | None,
    focus: bool,
    output: Path | None,
    since: str | None,
    until: str | None,
    zone: str,
    where: tuple[str, ...],
    ledger: str | None,
    config: str | None,
) -> None:
    """Write attempts or calls, oldest first, one row each.

    With --focus one row for each attempt and kind of token, in the columns of the FinOps Open
    Cost and Usage Specification; the costs of an attempt's rows add up to its cost.

    \b
    llmgate export attempts --since month -o attempts.parquet
    llmgate export attempts --focus --since 2026-11-01 -o november.csv
    """
    from llmgate_plugins.insight import export_rows

    if output is None and format == "parquet":
        raise click.UsageError("Parquet goes to a file: -o FILE")
    url = ledger_of(ledger, config)
    which: dict[str, Any] = {"since": since, "until": until, "zone": zone, "where": where}
    if output is None:
        with understood():
            export_rows(url, sys.stdout, what, format=format or "jsonl", focus=focus, **which)
        return
    with understood(), waiting("Writing"), writing(output):
        number = export_rows(url, output, what, format=format, focus=focus, **which)
    click.echo(f"{output}: {count(number, 'row')}")
