"""`llmgate forecast`: what the month will have cost, and the day a budget runs out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from llmgate_plugins.cli.output import print_json, print_table, short, usd, wrapped
from llmgate_plugins.cli.reading import (
    config_of,
    config_option,
    ledger_of,
    ledger_option,
    shadow_option,
    understood,
    waiting,
    where_option,
)

if TYPE_CHECKING:
    from llmgate_plugins.insight import BudgetOutlook, Forecast, ForecastRow
    from llmgate_plugins.plugins.limits import Budget
    from llmgate_plugins.services import ShadowCalls

__all__ = ["forecast"]


@click.command("forecast")
@click.option("--by", "by", default="", metavar="A,B", help="A row for each: team, model, tag:job, ...")
@click.option("--zone", default="UTC", show_default=True, help="Where months begin: Europe/Berlin ...")
@where_option
@shadow_option
@ledger_option
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def forecast(
    by: str,
    zone: str,
    where: tuple[str, ...],
    shadow_calls: ShadowCalls,
    ledger: str | None,
    config: str | None,
    as_json: bool,
) -> None:
    """Forecast what this month will have cost at its end, and when budgets run out.

    In four cases of five it will be between the two amounts given. Budgets are those of the
    configuration.

    \b
    llmgate forecast --by team
    """
    from llmgate_plugins.insight import read_forecast

    url = ledger_of(ledger, config)
    budgets = _budgets(config)
    with understood(), waiting("Reading the books"):
        told = read_forecast(url, by=by, zone=zone, where=where, budgets=budgets, shadow_calls=shadow_calls)
    if as_json:
        print_json(told.to_dict())
        return
    _print(told, _windows(budgets, told.zone))


def _budgets(config: str | None) -> tuple[Budget, ...]:
    known = config_of(config)
    if known is None or not (known.budgets or known.limits):
        return ()
    from llmgate_plugins.assembly.limits import configured_limits
    from llmgate_plugins.insight.outlook import budgets_of

    return budgets_of([configured_limits(known)])


def _windows(budgets: Sequence[Budget], zone: str) -> Mapping[str, str]:
    """The windows of these budgets in words, by how the outlook names them: "month", "any 30 d".

    Args:
        zone: The one that the forecast is for; of another, it is said.
    """
    from llmgate_plugins.plugins.limits import words
    from llmgate_plugins.windows import window_of

    windows = [window_of(one.window) for one in budgets]
    spans = {str(one): words.span(one).removeprefix("per ").removeprefix("in ") for one in windows}
    return {name: span.removesuffix(f" ({zone})") for name, span in spans.items()}


def _print(told: Forecast, windows: Mapping[str, str]) -> None:
    today = datetime.fromtimestamp(told.now, UTC).astimezone(ZoneInfo(told.zone))
    if told.totals.method == "none" and not told.totals.spent:
        click.echo(wrapped(f"Nothing was spent in the eight weeks before {today:%Y-%m-%d} ({told.zone})."))
        return
    click.echo(wrapped(f"Spending of {told.month} at its end, as of {today:%Y-%m-%d %H:%M} ({told.zone})."))
    click.echo()
    rows = [*told.rows, told.totals]
    labels = [*([short(_name(row.group[name])) for name in told.by] for row in told.rows)]
    labels.append(["total", *("" for _ in told.by[1:])])
    body = [[*label, *_amounts(row)] for label, row in zip(labels, rows, strict=True)]
    heads = list(told.by) or [""]
    right = range(len(heads), len(heads) + 3)
    print_table(body, [*heads, "so far", "expected", "80% between", "learned from"], right=right)
    for note in dict.fromkeys(row.note for row in rows if row.note):
        click.echo(wrapped(f"\n{note[0].upper()}{note[1:]}."))
    _print_budgets(told.budgets, windows)


def _amounts(row: ForecastRow) -> list[str]:
    if row.expected is None or row.low is None or row.high is None:
        return [usd(row.spent), "-", "-", "no forecast"]
    return [
        usd(row.spent),
        usd(row.expected),
        f"{usd(row.low)} - {usd(row.high)}",
        f"{row.method}, {row.days} d",
    ]


def _print_budgets(budgets: Sequence[BudgetOutlook], windows: Mapping[str, str]) -> None:
    if not budgets:
        return
    click.echo("\nBudgets")
    body = [
        [
            short(", ".join(f"{name} {_name(value)}" for name, value in one.group.items()) or "all together"),
            windows[one.window] if one.mode == "hard" else f"{windows[one.window]}, {one.mode}",
            usd(one.limit),
            usd(one.spent),
            _runs_out(one),
        ]
        for one in budgets
    ]
    print_table(body, ["for", "window", "limit", "so far", "runs out"], right=(2, 3))


def _runs_out(one: BudgetOutlook) -> str:
    if one.spent >= one.limit:
        return "it is spent"
    if one.expected is None:
        return "no forecast"
    if one.runs_out is None:
        return "-" if one.earliest is None else f"perhaps, from {one.earliest} on"
    if one.latest == one.earliest:
        return str(one.runs_out)
    return f"{one.runs_out} ({one.earliest} - {one.latest or 'never'})"


def _name(value: Any) -> str:
    return "-" if value is None else str(value)
