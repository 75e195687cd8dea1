"""`llmgate config`: check a configuration file, print its JSON Schema."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmgate_plugins.errors import Problem

if TYPE_CHECKING:
    from llmgate_plugins.config import Report

__all__ = ["config"]

_WIDTH = 80


@click.group()
def config() -> None:
    """Check the configuration, describe it to editors."""


@config.command()
@click.argument("file", default="llmgate.yaml")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--no-secrets",
    "--offline-secrets",
    "no_secrets",
    is_flag=True,
    help="Do not look whether keys can be found.",
)
@click.option("--no-plugins", is_flag=True, help="Do not look whether plugins are installed.")
def check(file: str, as_json: bool, no_secrets: bool, no_plugins: bool) -> None:
    """Say everything that is wrong with FILE (default: llmgate.yaml).

    Reads llmgate.yaml and LiteLLM's config.yaml. Exit code 0 if there is no mistake in
    it, 2 if there is.
    """
    from llmgate_plugins.config import check_config  # pydantic models; not needed for --help

    report = check_config(file, secrets=not no_secrets, plugins=not no_plugins)
    if as_json:
        click.echo(json.dumps(_as_json(file, report), indent=2))
    else:
        _print(file, report)
    if not report.ok:
        sys.exit(2)


@config.command()
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Write it to a file.")
def schema(output: Path | None) -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    from llmgate_plugins.config import config_schema

    text = json.dumps(config_schema(), indent=2)
    if output is None:
        click.echo(text)
        return
    try:
        output.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        click.echo(f"{output}: cannot be written: {error.strerror}", err=True)
        sys.exit(2)


def _print(file: str, report: Report) -> None:
    _list("Mistakes", report.errors)
    _list("Good to know", report.warnings)
    if report.config is not None:
        entries, names = report.config.model_list, {entry.model_name for entry in report.config.model_list}
        size = f"{_count(len(entries), 'deployment')} of {_count(len(names), 'model')}"
        click.echo(_wrapped(f"{file}: ok, {size}, {_count(len(report.warnings), 'warning')}"))
    else:
        counts = f"{_count(len(report.errors), 'mistake')}, {_count(len(report.warnings), 'warning')}"
        click.echo(_wrapped(f"{file}: {counts}"))


def _list(heading: str, problems: Iterable[Problem]) -> None:
    lines = [_wrapped(str(problem)) for problem in problems]
    if lines:
        click.echo("\n".join((f"{heading}:", *lines, "")))


def _wrapped(text: str) -> str:
    width = min(_WIDTH, shutil.get_terminal_size((_WIDTH, 24)).columns)
    return textwrap.fill(
        text, width=max(width, 40), subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("" if number == 1 else "s")


def _as_json(file: str, report: Report) -> dict[str, object]:
    return {
        "file": file,
        "ok": report.ok,
        "deployments": len(report.config.model_list) if report.config else None,
        "errors": [asdict(problem) for problem in report.errors],
        "warnings": [asdict(problem) for problem in report.warnings],
    }
