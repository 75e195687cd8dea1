"""`llmgate alerts`: who is told of what, and whether telling works."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from llmgate_plugins.cli.output import heading, print_json, print_table, wrapped

if TYPE_CHECKING:
    from llmgate_plugins.gateway import Gateway

__all__ = ["alerts"]

CONFIG = click.option(
    "--config", "-c", "file", metavar="FILE", default="llmgate.yaml", help="Default: llmgate.yaml."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group(invoke_without_command=True)
@CONFIG
@JSON
@click.pass_context
def alerts(context: click.Context, file: str, as_json: bool) -> None:
    """List who is told, and what is watched, by a configuration."""
    context.obj = file
    if context.invoked_subcommand is not None:
        return
    gateway = _gateway(file)
    channels, rules = list(_channels(gateway)), list(_rules(gateway))
    if as_json:
        print_json({"channels": channels, "rules": rules, "repeat_s": gateway.alerts.repeat})
        return
    heading("Channels")
    print_table(
        [(one["name"], one["min_severity"], ", ".join(one["kinds"]) or "all") for one in channels],
        ["name", "from", "kinds"],
    )
    heading("What alerts")
    print_table([(one["kind"], one["what"]) for one in rules], ["kind", "when"])
    hours = gateway.alerts.repeat / 3600
    click.echo()
    click.echo(wrapped(f"Each is told once, again every {hours:g} h while it goes on, and when it is over."))


@alerts.command()
@click.option("--config", "-c", "file", metavar="FILE", default=None, help="Default: llmgate.yaml.")
@JSON
@click.pass_obj
def test(above: str, file: str | None, as_json: bool) -> None:
    """Send a test alert through every channel, and tell how it went.

    Exit code 0 if all channels took it, 1 if one did not.
    """
    from llmgate_plugins.alerts import TEST, Alert

    gateway = _gateway(file or above, secrets=True)
    told = gateway.alerts.try_out(
        Alert(
            kind=TEST,
            subject="llmgate alerts test",
            summary="This is a test: alerts of this gateway arrive here.",
            severity="info",
        )
    )
    if as_json:
        print_json(
            {name: {"ok": error is None, "error": error and str(error)} for name, error in told.items()}
        )
    else:
        print_table(
            [(name, "ok" if error is None else str(error)) for name, error in told.items()],
            ["channel", "result"],
        )
    if any(told.values()):
        sys.exit(1)


def _gateway(file: str, *, secrets: bool = False) -> Gateway:
    from llmgate_plugins.assembly import assemble
    from llmgate_plugins.gateway import Gateway
    from llmgate_plugins.ledger import MemoryLedger
    from llmgate_plugins.state import MemoryState

    # Neither books nor counters are touched: only those who are told.
    apart = {"ledger": MemoryLedger(), "state": MemoryState()}
    return Gateway(**assemble(file, services=apart, check_secrets=secrets))


def _channels(gateway: Gateway) -> Iterator[dict[str, Any]]:
    plugins = dict(gateway.plugins)
    for name in gateway.alerts.channels:
        wanted = getattr(plugins[name], "wanted", None)
        yield {
            "name": name,
            "min_severity": getattr(wanted, "min_severity", "info"),
            "kinds": sorted(getattr(wanted, "kinds", ())),
        }


def _rules(gateway: Gateway) -> Iterator[dict[str, str]]:
    """What each plugin says it watches, in run order."""
    for name, plugin in gateway.plugins:
        for kind, what in getattr(plugin, "alerts", ()):
            yield {"kind": kind, "what": what, "plugin": name}
