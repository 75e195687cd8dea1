"""`llmgate experiments`: how the arms fare, and whether that can be told yet."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from llmgate_plugins.cli.output import heading, print_json, print_table, seconds, short, usd, wrapped
from llmgate_plugins.cli.reading import (
    config_of,
    config_option,
    ledger_of,
    ledger_option,
    span_options,
    understood,
    waiting,
)
from llmgate_plugins.types import NANO

if TYPE_CHECKING:
    from llmgate_plugins.config import GatewayConfig
    from llmgate_plugins.insight import ArmResult, Difference, Estimate, ExperimentResult
    from llmgate_plugins.plugins import Experiments

__all__ = ["experiments"]


class Shown(NamedTuple):
    """How a measure is shown: its name, a figure, a difference."""

    label: str
    figure: Callable[[float], str]
    change: Callable[[float], str]


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _points(value: float) -> str:
    return "-" if math.isinf(value) else f"{100 * value:+.1f}"


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


@click.command()
@click.argument("name", required=False)
@span_options
@click.option(
    "--detect",
    default="5%",
    show_default=True,
    help="The difference you want to find: of cost and times a part of control's, of success and score "
    "points.",
)
@click.option("--score", default="quality", show_default=True, help="Name of the feedback that counts.")
@click.option("--confidence", default="95%", show_default=True, help="Of each interval.")
@click.option("--once", is_flag=True, help="Narrower intervals, for a single look at a time set beforehand.")
@ledger_option
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def experiments(
    name: str | None,
    since: str | None,
    until: str | None,
    zone: str,
    detect: str,
    score: str,
    confidence: str,
    once: bool,
    ledger: str | None,
    config: str | None,
    as_json: bool,
) -> None:
    """Compare the arms of experiments, all or one by NAME.

    Intervals hold however often you look, unless you say --once.
    """
    from llmgate_plugins.insight import read_experiments
    from llmgate_plugins.insight.canaries import controls_of, with_canaries

    known = config_of(config) if ledger is None or config is not None else None
    plugins, followed = _plugins(known)
    with understood(), waiting("reading the books"):
        results = read_experiments(
            ledger_of(ledger, config),
            name,
            since=since,
            until=until,
            zone=zone,
            detect=_part(detect, "--detect"),
            confidence=_part(confidence, "--confidence"),
            once=once,
            score=score,
            controls=controls_of(plugins),
        )
    results = with_canaries(results, followed)
    if as_json:
        print_json([one.to_dict() for one in results])
        return
    if not results:
        click.echo("No calls of an experiment are in the books" + (f" for {name!r}." if name else "."))
    for one in results:
        _print(one)


def _plugins(config: GatewayConfig | None) -> tuple[list[Experiments], list[Experiments]]:
    """The experiments of a configuration; the same, if a state that is shared knows of its canaries."""
    if config is None or not config.experiments:
        return [], []
    from llmgate_plugins.config.experiment_checks import experiment_of
    from llmgate_plugins.plugins import Experiments
    from llmgate_plugins.state import MemoryState, open_state

    made = Experiments(experiment_of(name, one) for name, one in config.experiments.items())
    if not made.rollouts:
        return [made], []
    state = open_state(config.state_url())
    try:
        if isinstance(state, MemoryState):
            return [made], []
        for one in made.rollouts:
            one.look(state)
    finally:
        state.close()
    return [made], [made]


def _print(result: ExperimentResult) -> None:
    heading(f"Experiment {short(result.name, 60)}")
    if result.canary is not None:
        click.echo(wrapped(_canary(result.canary)))
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
        within = f"{shown.change(found.low)} to {shown.change(found.high)}"
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


def _canary(canary: Any) -> str:
    since = canary["since"]
    when = "" if since is None else f" since {datetime.fromtimestamp(since).astimezone():%Y-%m-%d %H:%M}"
    match canary["status"]:
        case "rolled_back":
            return f"Canary: taken back in stage {canary['stage']}{when}: {canary['why']}."
        case "promoted":
            return f"Canary: through all stages; {canary['candidate']} gets all calls{when}."
        case "done":
            return f"Canary: through all stages; {canary['candidate']} keeps {canary['share']:.0%}."
    return (
        f"Canary: stage {canary['stage']} of {canary['stages']}, {canary['candidate']} gets "
        f"{canary['share']:.0%}{when}."
    )


def _part(written: str, option: str) -> float:
    text = written.strip()
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise click.BadParameter(f"{written!r} is no share: write 5% or 0.05", param_hint=option) from None
