"""The command `llmgate`: its subcommands, loaded when they are used, and how errors end it."""

from __future__ import annotations

import difflib
import logging
from importlib import import_module
from typing import Any, Final, NamedTuple

import click

from llmgate_plugins.cli.output import width, wrapped
from llmgate_plugins.errors import ConfigurationError, LLMGateError

__all__ = ["llmgate"]

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as shells have it."""


class Lazy(NamedTuple):
    """Where a subcommand is, and what `--help` says of it without importing it."""

    module: str
    name: str
    help: str


COMMANDS: Final = {
    "demo": Lazy("llmgate_plugins.cli.demo", "demo", "Show it at work: failover, streams, tools, costs."),
    "chat": Lazy("llmgate_plugins.cli.chat", "chat", "Send one prompt through a configuration."),
    "plugins": Lazy("llmgate_plugins.cli.plugins", "plugins", "List plugins, their order and their hooks."),
    "models": Lazy("llmgate_plugins.cli.models", "models", "List, filter and compare models and prices."),
    "budgets": Lazy("llmgate_plugins.cli.budgets", "budgets", "How much of each limit is spent and left."),
    "alerts": Lazy("llmgate_plugins.cli.alerts", "alerts", "List who is told of what; send a test alert."),
    "ledger": Lazy("llmgate_plugins.cli.ledger", "ledger", "Look after the books: upgrade, reconcile, ..."),
    "config": Lazy("llmgate_plugins.cli.config", "config", "Check a configuration; print its JSON Schema."),
    "explain": Lazy("llmgate_plugins.cli.explain", "explain", "Why a call went where it went, or would go."),
    "report": Lazy("llmgate_plugins.cli.report", "report", "Report calls, times, failures and costs."),
    "replay": Lazy("llmgate_plugins.cli.replay", "replay", "Run recorded calls through other policies."),
    "shadow": Lazy("llmgate_plugins.cli.shadow", "shadow", "Compare shadow calls with their originals."),
    "export": Lazy("llmgate_plugins.cli.export", "export", "Write attempts or calls for other programs."),
    "experiments": Lazy("llmgate_plugins.cli.experiments", "experiments", "Compare the arms of experiments."),
    "forecast": Lazy("llmgate_plugins.cli.forecast", "forecast", "Forecast the month's spending."),
    "simulate": Lazy("llmgate_plugins.cli.simulate", "simulate", "Run simulated providers on this machine."),
}
"""In the order in which `--help` lists them."""


class Failed(click.ClickException):
    """An error of the gateway, for people: one line for each thing that is wrong."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))

    def show(self, file: Any = None) -> None:
        """Print it to stderr."""
        first, *rest = self.message.splitlines() or [""]
        for line in (f"Error: {first}", *(f"  {one}" for one in rest)):
            # A long path stays on the line it belongs to, so that it can be clicked and found.
            whole = max(map(len, line.split()), default=0) > width() // 2
            click.echo(line if whole else wrapped(line, "    "), file=file, err=file is None)


class Misconfigured(Failed):
    """An error that a better configuration avoids."""

    exit_code = 2


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as click has it
        """Names in the table's order."""
        return list(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - as click has it
        cmd_name: str,
    ) -> click.Command | None:
        """The command, imported now; None if there is none of that name."""
        lazy = COMMANDS.get(cmd_name)
        if lazy is None:
            return None
        command: click.Command = getattr(import_module(lazy.module), lazy.name)
        return command

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - as click has it
        formatter: click.HelpFormatter,
    ) -> None:
        """What each command is for, without importing it."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.help) for name, lazy in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or suggest one."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(COMMANDS)}."
            ctx.fail(f"No such command {name!r}. {hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; errors become plain lines and exit codes."""
        try:
            return super().invoke(ctx)
        except click.exceptions.NoArgsIsHelpError:
            raise
        except click.UsageError as error:
            said = wrapped(f"Error: {error.format_message()}", "    ").removeprefix("Error: ")
            raise click.UsageError(said, error.ctx) from None
        except (click.ClickException, click.exceptions.Exit, SystemExit, BrokenPipeError):
            raise
        except (KeyboardInterrupt, click.Abort):
            click.echo("Interrupted.", err=True)
            ctx.exit(INTERRUPTED)
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            raise _plain(error) from None


def _plain(error: Exception) -> Failed:
    if isinstance(error, ConfigurationError):
        return Misconfigured([str(problem) for problem in error.problems])
    notes = list(getattr(error, "__notes__", ()))
    if isinstance(error, LLMGateError):
        return Failed([str(error), *notes])
    said = " ".join(str(error).split()) or "no message"
    return Failed([f"{type(error).__name__}: {said}", *notes, "llmgate --debug ... shows where."])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    epilog="Begin with: llmgate demo",
)
@click.version_option(package_name="llmgate-plugins", prog_name="llmgate", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show where an error came from.")
def llmgate(debug: bool) -> None:
    """An LLM gateway as a library: routing, failover and accounting as plugins."""
    log = logging.getLogger("sqlalchemy")
    if not debug and not log.handlers:  # of a connection that Ctrl-C closes it logs a trace, for nobody
        log.addHandler(logging.NullHandler())
