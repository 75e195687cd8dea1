"""`llmgate replay`: recorded calls through other policies, beside what they really were."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import click

from llmgate_plugins.cli.output import count, heading, print_json, print_table, seconds, short, usd, wrapped
from llmgate_plugins.cli.reading import (
    CONFIG,
    config_option,
    ledger_of,
    ledger_option,
    span_options,
    understood,
    where_option,
)
from llmgate_plugins.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from llmgate_plugins.replay import Replay, Side

__all__ = ["replay"]

OVERLAY: Final = (
    *("policies", "rules", "experiments", "budgets", "limits", "fallbacks", "failover", "aliases", "prices"),
    "router_settings",
)
"""Sections that a file of policies alone may have; they take the place of the configuration's,
policies each that of the one of its name."""
MOST_MOVES: Final = 15
FAILED: Final = 1


@click.command("replay")
@click.option(
    "--policy",
    "policy",
    metavar="FILE",
    help="What to run the calls through: a whole configuration, or policies and rules alone. "
    "Default: the configuration itself.",
)
@span_options
@where_option
@click.option("--seed", type=int, default=0, show_default=True, help="Of what has to be drawn.")
@click.option("--warm-up", "warm_up", default="1h", show_default=True, help="Replayed before, not counted.")
@click.option(
    "--fail-if",
    "conditions",
    multiple=True,
    metavar="EXPRESSION",
    help="Exit with 1 if it holds.",
)
@ledger_option
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def replay(
    policy: str | None,
    since: str | None,
    until: str | None,
    zone: str,
    where: tuple[str, ...],
    seed: int,
    warm_up: str,
    conditions: tuple[str, ...],
    ledger: str | None,
    config: str | None,
    as_json: bool,
    **_: Any,
) -> None:
    """Run recorded calls through other policies, and compare.

    Nothing is sent: providers answer from the books, each deployment as it did at the time, on
    virtual time. What nobody can know is said: how good other answers would have been, and
    how fast a deployment is that was never asked.

    \b
    llmgate replay --policy new.yaml --since 7d
    llmgate replay --policy new.yaml --since 7d --fail-if 'cost > +5%'
    """
    from llmgate_plugins.config.quantities import parse_duration
    from llmgate_plugins.replay import replay as run
    from llmgate_plugins.replay.conditions import check

    with understood():
        for expression in conditions:
            check(expression)
        try:
            lead = 0.0 if warm_up in ("0", "0s") else parse_duration(warm_up)
        except Exception:  # noqa: BLE001 - pydantic's own
            raise ValueError(f"--warm-up {warm_up!r} is no duration; write 1h, 30m or 0") from None
        source = _configuration(policy, config)
        found = run(
            ledger_of(ledger, config),
            source,
            since=since,
            until=until,
            zone=zone,
            where=where,
            seed=seed,
            warm_up=lead,
            progress=_progress(),
        )
        judgements = [found.judge(one) for one in conditions]
    if as_json:
        verdicts = [
            {"expression": one.expression, "holds": one.holds, "told": one.told} for one in judgements
        ]
        print_json({**found.to_dict(), "fail_if": verdicts})
    else:
        _print(found, zone)
        for one in judgements:
            click.echo(wrapped(f"{'FAILED' if one.holds else 'passed'}: {one.told}"))
    if any(one.holds for one in judgements):
        sys.exit(FAILED)


def _configuration(policy: str | None, config: str | None) -> Any:
    """The configuration to go by: a whole one, or the given one with other policies."""
    if policy is None:
        return config or CONFIG
    from llmgate_plugins.config import load_config
    from llmgate_plugins.config.problems import closest

    sections = _sections(policy)
    if not sections:
        raise ConfigurationError(
            problems=[Problem(message=f"{policy} has no sections", remedy="write policies: and what is new")]
        )
    if "model_list" in sections:
        return policy
    strange = sorted(set(sections) - set(OVERLAY))
    if strange:
        raise ConfigurationError(
            problems=[
                Problem(
                    message=f"{policy}: {strange[0]} cannot be laid over a configuration",
                    remedy=closest(strange[0], OVERLAY)
                    or f"write a whole one with model_list, or only {', '.join(OVERLAY)}",
                )
            ]
        )
    below = _sections(config or CONFIG)
    policies = [one.get("policies") or {} for one in (below, sections)]
    if all(isinstance(one, Mapping) for one in policies):  # else it is told below what is wrong with it
        sections = {**sections, "policies": {**policies[0], **policies[1]}}
    try:
        return load_config({**below, **sections})
    except ConfigurationError as error:
        both = f"{policy} over {config or CONFIG}"
        raise ConfigurationError(problems=[replace(one, file=both) for one in error.problems]) from None


def _sections(file: str) -> Mapping[str, Any]:
    from llmgate_plugins.config.reading import read_file

    value = read_file(file).value
    return value if isinstance(value, Mapping) else {}


def _progress() -> Any:
    if not sys.stderr.isatty():
        return None

    def tell(begun: int, total: int, at: float) -> None:  # noqa: ARG001 - as it is told
        end = "\r\x1b[K" if begun >= total else ""
        click.echo(f"\rReplaying: {begun:,} of {total:,} calls {end}", err=True, nl=False)

    return tell


def _print(found: Replay, zone: str) -> None:
    from llmgate_plugins.insight.spans import Span

    span = Span(found.since, found.until).told(zone)
    if not found.calls:
        click.echo(wrapped(f"No calls in the books from {span}."))
        return
    lead = f", after {count(found.led_up, 'call')} that led up to it" if found.led_up else ""
    click.echo(wrapped(f"{count(found.calls, 'call')} from {span}{lead}."))
    click.echo()
    _print_sides(found.original, found.replayed, found)
    _print_moves(found)
    if found.limits:
        heading("Limits that would have refused")
        print_table(
            [[f"{one.refused:,}", one.limit] for one in found.limits[:10]], ["times", "limit"], right=[0]
        )
    _print_unknown(found)


def _print_sides(then: Side, now: Side, found: Replay) -> None:
    def change(before: float | None, after: float | None) -> str:
        if before is None or after is None:
            return "-"
        if not before:
            return "0%" if not after else "new"
        return f"{100 * (after - before) / before:+.1f}%"

    def points(before: float | None, after: float | None) -> str:
        return "-" if before is None or after is None else f"{100 * (after - before):+.1f} points"

    def share(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.1f}%"

    rows = [["cost", usd(then.cost), usd(now.cost), change(then.cost, now.cost)]]
    for name, quantile in (("p50", 0.5), ("p95", 0.95)):
        before, after = then.latencies.quantile(quantile), now.latencies.quantile(quantile)
        rows.append([f"latency {name}", seconds(before), seconds(after), change(before, after)])
    rows.append(["success", share(then.success), share(now.success), points(then.success, now.success)])
    rows.append(["blocked", f"{then.blocked:,}", f"{now.blocked:,}", _blocked(found)])
    rows.append(["moved", "-", f"{found.moved:,}", f"{100 * found.moved / found.calls:.1f}% of calls"])
    print_table(rows, ["", "original", "replayed", "change"], right=[1, 2])


def _blocked(found: Replay) -> str:
    if not found.newly_blocked and not found.no_longer_blocked:
        return "the same calls"
    return f"{found.newly_blocked:,} newly, {found.no_longer_blocked:,} no longer"


def _print_moves(found: Replay) -> None:
    if not found.moves:
        return
    heading("Who moved where")
    rows = [
        [
            short(move.policy or "-", 14),
            short(move.alias, 14),
            f"{short(move.served_then or 'no answer', 18)} -> {short(move.served_now or 'no answer', 18)}",
            f"{number:,}",
        ]
        for move, number in found.moves.most_common(MOST_MOVES)
    ]
    print_table(rows, ["policy", "alias", "from -> to", "calls"], right=[3])
    left = len(found.moves) - MOST_MOVES
    if left > 0:
        click.echo(f"and {left} more kinds of moves; --json has all")


def _print_unknown(found: Replay) -> None:
    heading("What cannot be known")
    told = []
    if found.same == found.calls:
        told.append("Every decision was the same as then, so that nothing had to be guessed.")
    else:
        told.append(f"{found.same:,} calls were decided exactly as then.")
    if found.uncertain:
        told.append(
            f"{count(found.uncertain, 'call')} went to a deployment that did not serve them then: latency, "
            "failures and length of answers are drawn from what it did for other calls at the time. What it "
            "would have told of its rate limits is unknown: of them, only refusals are drawn."
        )
    if found.moved:
        told.append("How good other answers would have been is not known.")
    if found.latency_unknown:
        told.append(
            f"{count(found.latency_unknown, 'call')} went to deployments that nobody had asked: their cost "
            "is worked out from prices; their latency and failures are unknown, and left out."
        )
    for name, number in found.absent.most_common(3):
        told.append(
            f"{count(number, 'call')} were answered or denied by {name}, which is not here, and so are again."
        )
    for name, number in found.unknown_models.most_common(3):
        told.append(f"{count(number, 'call')} asked for {name!r}, which this configuration does not have.")
    for one in told:
        click.echo(wrapped(f"- {one}", "  "))
