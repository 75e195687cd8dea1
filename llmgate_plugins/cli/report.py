"""`llmgate report`: what was asked, how it went and what it cost, as a table or as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from llmgate_plugins.cli.output import (
    beginning,
    cells,
    count,
    print_json,
    print_table,
    seconds,
    short,
    usd,
    width,
    wrapped,
)
from llmgate_plugins.cli.reading import (
    config_option,
    ledger_of,
    ledger_option,
    shadow_option,
    span_options,
    understood,
    waiting,
    where_option,
    writing,
)
from llmgate_plugins.types import NANO

if TYPE_CHECKING:
    from llmgate_plugins.insight import Report
    from llmgate_plugins.services import ShadowCalls

__all__ = ["report"]


class Column(NamedTuple):
    """How a measure is shown."""

    header: str
    show: Callable[[dict[str, Any]], str]


def _number(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: _many(row[name])


def _time(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: seconds(row[name])


def _usd(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: "-" if row[name] is None else usd(round(row[name] * NANO))


def _share(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: "-" if row[name] is None else f"{100 * row[name]:.1f}"


def _many(number: int) -> str:
    """A number of up to seven characters."""
    if number < 1_000_000:
        return f"{number:,}"
    return f"{number / 1e6:.1f}M" if number < 1e9 else f"{number / 1e9:.2f}G"


def _classes(row: dict[str, Any]) -> str:
    most = sorted(row["error_classes"].items(), key=lambda one: -one[1])
    return " ".join(f"{name}:{number}" for name, number in most) or "-"


COLUMNS: Final[Mapping[str, Column]] = {
    "requests": Column("requests", _number("requests")),
    "success_rate": Column("ok %", _share("success_rate")),
    "success_interval": Column(
        "ok % (95% sure)",
        lambda row: (
            "-"
            if row["success_rate_low"] is None
            else f"{100 * row['success_rate_low']:.1f}-{100 * row['success_rate_high']:.1f}"
        ),
    ),
    "p50_s": Column("p50", _time("p50_s")),
    "p95_s": Column("p95", _time("p95_s")),
    "p99_s": Column("p99", _time("p99_s")),
    "first_token_p50_s": Column("1st p50", _time("first_token_p50_s")),
    "first_token_p95_s": Column("1st p95", _time("first_token_p95_s")),
    "first_token_p99_s": Column("1st p99", _time("first_token_p99_s")),
    "calls": Column("calls", _number("calls")),
    "denied": Column("denied", _number("denied")),
    "answered": Column("answered", _number("answered")),
    "attempts": Column("attempts", _number("attempts")),
    "successes": Column("good", _number("successes")),
    "failures": Column("failed", _number("failures")),
    "retries": Column("retries", _number("retries")),
    "failovers": Column("failovers", _number("failovers")),
    "hedges": Column("hedges", _number("hedges")),
    "throttles": Column("throttled", _number("throttles")),
    "timeouts": Column("timeouts", _number("timeouts")),
    "tokens": Column("tokens", _number("tokens")),
    "tokens_in": Column("in", _number("tokens_in")),
    "tokens_out": Column("out", _number("tokens_out")),
    "estimated": Column("estimated", _number("estimated")),
    "cost_usd": Column("cost", _usd("cost_usd")),
    "cost_per_request_usd": Column("$/request", _usd("cost_per_request_usd")),
    "cost_per_1k_tokens_usd": Column("$/1k tok", _usd("cost_per_1k_tokens_usd")),
    "error_classes": Column("failures by class", _classes),
}
"""What tables can show, by the name it has as data."""

_WANTED: Final = (
    *("requests", "cost_usd", "success_rate", "p50_s", "p95_s", "tokens", "cost_per_1k_tokens_usd"),
    *("first_token_p95_s", "throttles", "timeouts", "failovers", "p99_s"),
)
"""Columns of a table, those that matter most first, for as many as there is room."""

_SHOWN: Final = (
    *("requests", "success_rate", "p50_s", "p95_s", "p99_s", "first_token_p95_s", "throttles", "timeouts"),
    *("failovers", "tokens", "cost_usd", "cost_per_1k_tokens_usd"),
)
"""The same in the order in which they are shown."""

_LONGEST: Final = 28
_SHORTEST: Final = 9
"""Characters of a name in a table."""
_MEASURES: Final = 20
"""Characters that two measures take at the least."""


@click.command("report")
@click.option("--by", "by", default="model", show_default=True, metavar="A,B", help="team, tag:job, day, ...")
@span_options
@where_option
@click.option(
    "--of", "of", type=click.Choice(["calls", "attempts"]), help="What requests are (default: by --by)."
)
@shadow_option
@click.option("--columns", "columns", metavar="A,B", help="Measures to show, in this order.")
@click.option("--sort", "order", metavar="NAME", help="A measure, largest first, or one of --by.")
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="The first N rows alone.")
@ledger_option
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option(
    "--parquet", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write Parquet."
)
def report(
    by: str,
    since: str | None,
    until: str | None,
    zone: str,
    where: tuple[str, ...],
    of: Any,
    shadow_calls: ShadowCalls,
    columns: str | None,
    order: str | None,
    top: int | None,
    ledger: str | None,
    config: str | None,
    as_json: bool,
    as_csv: bool,
    parquet: Path | None,
) -> None:
    """Report requests, times, failures, tokens and costs from the books.

    By facts of a call (team, user, policy, route, tag:NAME, day, ...) requests are calls, as
    their callers saw them; by facts of an attempt (model, provider, deployment, region,
    error_class, ...) they are attempts, as the providers served them.

    \b
    llmgate report --by team,model --since month
    llmgate report --by day --where team=search --where 'cost>0.01'
    """
    from llmgate_plugins.insight import read_report

    if as_json and as_csv:
        raise click.UsageError("--json and --csv print the same in two ways: choose one")
    names = _chosen(columns)
    url = ledger_of(ledger, config)
    with understood(), waiting("Reading the books"):
        whole = read_report(
            url,
            by=by,
            since=since,
            until=until,
            zone=zone,
            where=where,
            of=of,
            shadow_calls=shadow_calls,
        )
        shown = whole.ordered(order, top=top)
    if parquet is not None:
        with writing(parquet):
            shown.to_parquet(parquet)
        click.echo(f"{parquet}: {count(len(shown), 'row')}", err=as_json or as_csv)
    if as_json:
        print_json(shown.to_dict())
    elif as_csv:
        click.echo(shown.to_csv(), nl=False)
    elif parquet is None:
        _print(shown, len(whole), names)


def _chosen(columns: str | None) -> tuple[str, ...]:
    names = tuple(name.strip() for name in columns.split(",")) if columns else ()
    for name in names:
        if name not in COLUMNS:
            raise click.BadParameter(
                f"there is no {name!r}; there are: {', '.join(COLUMNS)}", param_hint="--columns"
            )
    return names


def _print(shown: Report, number: int, names: tuple[str, ...]) -> None:
    """A table, or what to do if there is nothing to show."""
    if not shown.totals.requests and not shown.totals.attempts:
        click.echo(wrapped(f"Nothing in the books {_when(shown)}{_which(shown)}."))
        click.echo(wrapped(_hint(shown)))
        return
    click.echo(wrapped(f"Requests are {shown.of}, {_when(shown)}{_which(shown)}."))
    click.echo()
    rows = [*shown.rows, shown.totals] if shown.by else [shown.totals]
    labels = [*_labels(shown), _totals_label(shown.by)] if shown.by else [["total"]]
    data = [row.to_dict() for row in rows]
    headers = list(shown.by) or [""]
    chosen = names or _that_fit(headers, labels, data)
    body = [
        [*label, *(COLUMNS[name].show(row) for name in chosen)]
        for label, row in zip(labels, data, strict=True)
    ]
    right = range(len(headers), len(headers) + len([name for name in chosen if name != "error_classes"]))
    print_table(body, [*headers, *(COLUMNS[name].header for name in chosen)], right=right)
    if len(shown) < number:
        click.echo(f"\n{len(shown)} of {count(number, 'row')}; the total is of all.")


def _that_fit(
    headers: Sequence[str], labels: Sequence[Sequence[str]], data: Sequence[Any]
) -> tuple[str, ...]:
    """As many of the wanted columns as fit beside the labels, at least the first two."""
    taken = sum(
        max(len(headers[place]), *(cells(label[place]) for label in labels)) + 2
        for place in range(len(headers))
    )
    chosen: list[str] = []
    for name in _WANTED:
        needed = max(len(COLUMNS[name].header), *(len(COLUMNS[name].show(row)) for row in data)) + 2
        if len(chosen) >= 2 and taken + needed - 2 > width():
            continue
        taken += needed
        chosen.append(name)
    return tuple(sorted(chosen, key=_SHOWN.index))


def _labels(shown: Report) -> list[list[str]]:
    """The names in a table's first columns, as long as they fit beside two measures."""
    groups = [dict(row.group) for row in shown.rows]
    if "hour" in shown.by:
        # How far the clock is ahead is told where it changes: an hour may be there twice.
        end = None if len({group["hour"][16:] for group in groups}) > 1 else 16
        groups = [group | {"hour": group["hour"][:end].replace("T", " ")} for group in groups]
    for most in range(_LONGEST, _SHORTEST, -1):
        labels = [[_label(row[name], most) for name in shown.by] for row in groups]
        taken = sum(max(map(cells, column)) + 2 for column in zip(shown.by, *labels, strict=True))
        if taken <= width() - _MEASURES:
            break
    return labels


def _label(value: object, most: int) -> str:
    if value is None:
        return "-"
    whole = short(str(value), 2 * len(str(value))) or '""'  # an empty name is not none
    if cells(whole) <= most:
        return whole
    end = (most - 3) // 2  # names that begin alike often end otherwise
    return f"{beginning(whole, most - 3 - end)}...{beginning(whole[::-1], end)[::-1]}"


def _totals_label(by: Sequence[str]) -> list[str]:
    return ["total", *("" for _ in by[1:])]


def _when(shown: Report) -> str:
    from llmgate_plugins.insight.spans import Span

    return f"from {Span(shown.since, shown.until).told(shown.zone)}"


def _which(shown: Report) -> str:
    shadows = {"with": ", shadow calls included", "only": ", shadow calls only"}.get(shown.shadow_calls, "")
    return shadows + (f", where {' and '.join(shown.where)}" if shown.where else "")


def _hint(shown: Report) -> str:
    if shown.since is not None or shown.until is not None or shown.where:
        return "Ask for a longer time or fewer conditions."
    return "Send a call through a gateway that keeps this ledger: llmgate chat --help"
