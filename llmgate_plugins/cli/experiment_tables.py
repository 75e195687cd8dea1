"""How the results of an experiment and the course of a canary are shown, for 80 columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from llmgate_plugins.cli.output import heading, print_table, seconds, short, usd, wrapped
from llmgate_plugins.types import NANO

if TYPE_CHECKING:
    from llmgate_plugins.insight import ArmResult, Difference, Estimate, ExperimentResult

__all__ = ["canary_line", "print_result", "share_of"]


class Shown(NamedTuple):
    """How a measure is shown: its name, a figure, a difference."""

    label: str
    figure: Callable[[float], str]
    change: Callable[[float], str]


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _points(value: float) -> str:
    return "-" if math.isinf(value) else f"{100 * value:+.1f} points"


def _dollars(value: float) -> str:
    return usd(round(max(value, 0.0) * NANO))


def _change_of(show: Callable[[float], str]) -> Callable[[float], str]:
    return lambda value: "-" if math.isinf(value) else f"{'-' if value < 0 else '+'}{show(abs(value))}"


SHOWN: Final = {
    "success": Shown("success", _percent, _points),
    "cost_usd": Shown("$/call", _dollars, _change_of(_dollars)),
    "cost_per_1k_usd": Shown("$/1k tokens", _dollars, _change_of(_dollars)),
    "p50_s": Shown("p50", seconds, _change_of(seconds)),
    "p95_s": Shown("p95", seconds, _change_of(seconds)),
    "score": Shown("score", lambda value: f"{value:.3f}", lambda value: f"{value:+.3f}"),
}


def print_result(result: ExperimentResult) -> None:
    """Figures of its arms, their differences, how far a canary has come, and how sure all that is."""
    heading(f"Experiment {short(result.name, 60)}")
    if result.canary is not None:
        click.echo(wrapped(canary_line(result.canary)))
        if result.canary["status"] == "rolled_back":
            click.echo(f"To begin it anew: llmgate experiments reset {result.name}")
        click.echo()
    judged = any(arm.rated for arm in result)
    print_table(
        [_row(arm, judged=judged) for arm in result],
        ["arm", "units", "calls", "success", "$/call", "p50", "p95", *(["score"] if judged else [])],
        right=range(1, 7 + judged),
    )
    for arm in result:
        if arm.differences:
            click.echo()
            click.echo(f"{short(arm.arm, 30)} against control")
            print_table(
                list(_differences(arm)), ["", "differs by", f"{100 * result.confidence:g} % sure", "verdict"]
            )
    click.echo()
    click.echo(wrapped(_honesty(result)))


def _row(arm: ArmResult, *, judged: bool) -> list[str]:
    def figure(name: str) -> str:
        found: Estimate = getattr(arm, name)
        return "-" if found.value is None else SHOWN[name].figure(found.value)

    names = ["success", "cost_usd", "p50_s", "p95_s", *(["score"] if judged else [])]
    return [short(arm.arm, 18), f"{arm.units:,}", f"{arm.calls:,}", *map(figure, names)]


def _differences(arm: ArmResult) -> Iterator[tuple[str, str, str, str]]:
    for name, found in arm.differences.items():
        shown = SHOWN[name]
        low = shown.change(found.low).removesuffix(" points")
        within = f"{low} to {shown.change(found.high)}"
        yield shown.label, shown.change(found.value), within, _verdict(found, name)


def _verdict(found: Difference, name: str) -> str:
    if found.verdict == "too few":
        if found.needed is None:
            return "too few to tell"
        return f"too few: {found.needed:,} more {'scores' if name == 'score' else 'calls'}"
    return found.verdict


def _honesty(result: ExperimentResult) -> str:
    away = {status: number for arm in result for status, number in arm.left_out.items()}
    said = f"Each interval holds with {100 * result.confidence:g} %"
    said += (
        " for this one look: looking again until something shows finds differences that are not there."
        if result.once
        else ", however often you look."
    )
    share = f"{100 * result.detect:g}"
    said += (
        f" To be found, in 80 of 100 such experiments: {share} % of control's cost and times, {share} points "
        "of success and score."
    )
    if away:
        said += " Left out: calls that were " + ", ".join(sorted(away)) + "."
    return said


def canary_line(canary: Any) -> str:
    """How a canary stands, by its facts."""
    since, candidate, share = canary["since"], canary["candidate"], share_of(canary["share"])
    when = "" if since is None else f" since {datetime.fromtimestamp(since).astimezone():%Y-%m-%d %H:%M}"
    said = "Canary" if canary["round"] == 1 else f"Canary, round {canary['round']}"
    match canary["status"]:
        case "rolled_back":
            return f"{said}: taken back in stage {canary['stage']}{when}: {canary['why']}."
        case "promoted":
            return f"{said}: through all stages; {candidate} gets all calls{when}."
        case "done":
            return f"{said}: through all stages; {candidate} keeps {share}."
    return f"{said}: stage {canary['stage']} of {canary['stages']}, {candidate} gets {share}{when}."


def share_of(value: float) -> str:
    """A share as it was written: 12.5%."""
    return f"{100 * value:g}%"
