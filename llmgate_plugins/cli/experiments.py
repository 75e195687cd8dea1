"""`llmgate experiments`: how the arms fare, whether that can be told yet, and a canary's way back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import click

from llmgate_plugins.cli.experiment_tables import canary_line, print_result, share_of
from llmgate_plugins.cli.output import print_json, short, wrapped
from llmgate_plugins.cli.reading import (
    CONFIG,
    config_of,
    config_option,
    ledger_of,
    ledger_option,
    span_options,
    understood,
    waiting,
)
from llmgate_plugins.errors import ConfigurationError

if TYPE_CHECKING:
    from llmgate_plugins.config import GatewayConfig
    from llmgate_plugins.plugins import Experiments
    from llmgate_plugins.services import State

__all__ = ["experiments"]


class Comparing(click.Group):
    """Compares where no subcommand is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As a group does, with a subcommand in any case."""
        helped = args[:1] and args[0] in ctx.help_option_names
        return super().parse_args(ctx, args if helped else self.completed(args))

    def completed(self, args: list[str]) -> list[str]:
        """Whatever begins with no subcommand is the name of an experiment, or an option."""
        return args if args and args[0] in self.commands else [str(compare.name), *args]

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Those of comparing."""
        return compare.collect_usage_pieces(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Those of comparing, and the subcommands."""
        compare.format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


@click.group(cls=Comparing)
def experiments() -> None:
    """Compare the arms of experiments, all or one by NAME.

    Intervals hold however often you look, unless you say --once.
    """


@experiments.command(hidden=True)
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
def compare(
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
    if name is not None and not results:
        _refuse_unknown(name, [one.name for plugin in plugins for one in plugin.experiments])
    if as_json:
        print_json([one.to_dict() for one in results])
        return
    if not results:
        what = f"experiment {name!r}" if name else "an experiment"
        click.echo(wrapped(f"No calls of {what} are in the books."))
    for one in results:
        print_result(one)


@experiments.command()
@click.argument("name")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def reset(name: str, config: str | None, as_json: bool) -> None:
    """Let the canary NAME begin anew after it was taken back.

    Gateways notice when they next look at the state they share: with the first call that comes
    5 seconds or more after their last look.
    """
    from llmgate_plugins.experiments.canary import as_facts
    from llmgate_plugins.insight.canaries import canary_of
    from llmgate_plugins.plugins.experiments.rollout import EVERY

    known = config_of(config)
    if known is None:
        raise click.UsageError(f"there is no {CONFIG} here; name the configuration: --config FILE")
    with understood():
        canary = canary_of([_experiments(known)], name)
        with _shared_state(known) as state:
            if state is None:
                raise ConfigurationError(
                    f"{config or CONFIG} keeps its state in memory, where each process has a canary of its "
                    "own; restart it, or call gateway.reset_experiment() in it"
                )
            ended: Any = canary.reset(state)  # no event loop runs here, so nothing is pending
    was = as_facts(canary.experiment, ended, {})
    now = as_facts(canary.experiment, canary.course, canary.totals)
    if as_json:
        print_json({"experiment": name, "was": was, "now": now})
        return
    click.echo(wrapped(canary_line(was)))
    click.echo(
        wrapped(
            f"It begins anew: {short(now['candidate'])} gets {share_of(now['share'])}. A gateway notices "
            f"with its first call that comes {EVERY:g} s or more after it last looked."
        )
    )


def _experiments(config: GatewayConfig) -> Experiments:
    from llmgate_plugins.config.experiment_checks import experiment_of
    from llmgate_plugins.plugins import Experiments

    return Experiments(experiment_of(name, one) for name, one in config.experiments.items())


def _plugins(config: GatewayConfig | None) -> tuple[list[Experiments], list[Experiments]]:
    """The experiments of a configuration; the same, if a state that is shared knows of its canaries."""
    if config is None or not config.experiments:
        return [], []
    made = _experiments(config)
    if not made.rollouts:
        return [made], []
    with _shared_state(config) as state:
        if state is None:
            return [made], []
        for one in made.rollouts:
            one.look(state)
        if getattr(state, "away", False):
            click.echo(wrapped("The state is away: how far canaries have come is not known."), err=True)
            return [made], []
    return [made], [made]


def _refuse_unknown(name: str, defined: list[str]) -> None:
    """A name that neither the books nor the configuration know is a mistake, and not nothing.

    Raises:
        click.UsageError: It is.
    """
    if name in defined:
        return
    said = f"no calls of experiment {name!r} are in the books, and no configuration has one of that name"
    near = get_close_matches(name, defined, n=1)
    known = f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(defined)}" if defined else ""
    raise click.UsageError(said + known)


@contextmanager
def _shared_state(config: GatewayConfig) -> Iterator[State | None]:
    """The state that processes share; None if each has its own."""
    from llmgate_plugins.state import MemoryState, open_state

    state = open_state(config.state_url())
    try:
        yield None if isinstance(state, MemoryState) else state
    finally:
        state.close()


def _part(written: str, option: str) -> float:
    text = written.strip()
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise click.BadParameter(f"{written!r} is no share: write 5% or 0.05", param_hint=option) from None
