"""`llmgate shadow`: copies of calls beside their originals, and what shadow policies would have done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from llmgate_plugins.cli.output import heading, print_json, print_table, short, usd, wrapped
from llmgate_plugins.cli.reading import (
    config_option,
    ledger_of,
    ledger_option,
    span_options,
    understood,
    waiting,
    where_option,
)

if TYPE_CHECKING:
    from llmgate_plugins.insight.shadows import Paired, PolicyRow, ShadowReport

__all__ = ["shadow"]


@click.command("shadow")
@span_options
@where_option
@ledger_option
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def shadow(
    since: str | None,
    until: str | None,
    zone: str,
    where: tuple[str, ...],
    ledger: str | None,
    config: str | None,
    as_json: bool,
    **_: Any,
) -> None:
    """Compare shadow calls with their originals, and shadow policies with the real ones.

    Pair by pair: how much slower, dearer and longer the copies were, with 95 % intervals.

    \b
    llmgate shadow --since 7d
    llmgate shadow --where feature=support --json
    """
    from llmgate_plugins.insight.shadows import read_shadows

    url = ledger_of(ledger, config)
    with understood(), waiting("Reading the books"):
        found = read_shadows(url, since=since, until=until, zone=zone, where=where)
    if as_json:
        print_json(found.to_dict())
        return
    _print(found, zone)


def _print(found: ShadowReport, zone: str) -> None:
    from llmgate_plugins.insight.spans import Span

    if not found.traffic and not found.policies:
        span = Span(found.since, found.until).told(zone)
        click.echo(
            wrapped(f"No shadows in the books from {span}. Write shadow: or shadow_policy: to have some.")
        )
        return
    if found.traffic:
        click.echo("Copies over originals, pair by pair (95% intervals)")
        rows = [
            [
                short(row.name, 14),
                short(row.deployment or "not sent", 16),
                f"{row.copies:,}",
                f"{100 * row.succeeded / row.copies:.0f}",
                _ratio(row.latency),
                _ratio(row.price),
                _ratio(row.length, brief=True),
            ]
            for row in found.traffic
        ]
        headers = ["shadow", "deployment", "copies", "ok %", "latency", "price", "length"]
        print_table(rows, headers, right=[2, 3, 4, 5, 6])
        cost = sum(row.cost for row in found.traffic)
        click.echo(wrapped(f"The copies cost {usd(cost)}, which stands apart in reports (--shadow only)."))
        for row in found.traffic:
            if row.similarity is not None:
                told = (
                    f"{row.name}: {100 * row.similarity:.0f}% of neighbouring words are the same on average."
                )
                click.echo(wrapped(told))
    for policy in found.policies:
        _print_policy(policy)


def _print_policy(row: PolicyRow) -> None:
    heading(f"Policy {short(row.policy, 40)} in shadow")
    if row.agreement is not None:
        share = f"{100 * row.agreeing / row.selections:.1f}%"
        between = f"{100 * row.agreement.low:.1f} to {100 * row.agreement.high:.1f}%"
        click.echo(
            wrapped(f"Same first choice in {row.agreeing:,} of {row.selections:,}: {share} ({between}).")
        )
        if row.real_expected:
            change = 100 * (row.expected - row.real_expected) / row.real_expected
            told = f"Expected cost of first choices: {usd(row.expected)} instead of {usd(row.real_expected)} "
            click.echo(wrapped(f"{told}({change:+.1f}%)."))
    if row.errors:
        click.echo(wrapped(f"{row.errors:,} calls it would have denied, or could not decide."))
    if row.instead:
        print_table(
            [
                [short(real or "none", 24), short(other or "none", 24), f"{number:,}"]
                for (real, other), number in list(row.instead.items())[:10]
            ],
            ["instead of", "first", "times"],
            right=[2],
        )


def _ratio(one: Paired, *, brief: bool = False) -> str:
    if one.ratio is None:
        return "-"
    told = f"x{one.ratio:.2f}"
    if brief:
        return told
    return f"{told} few" if one.low is None else f"{told} {one.low:.2f}-{one.high:.2f}"
