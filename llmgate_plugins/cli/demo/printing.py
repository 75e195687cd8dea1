"""How the demo is told to people, in 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import click

from llmgate_plugins.cli.demo.findings import NOWHERE
from llmgate_plugins.cli.demo.stage import Stage
from llmgate_plugins.cli.output import heading, print_table, seconds, wrapped

__all__ = ["print_findings", "print_stage"]


def print_stage(stage: Stage) -> None:
    """Who takes part, the configuration, and the plugin."""
    click.echo("One gateway in three hosts, in front of three providers of which two fail.")
    click.echo("Real HTTP on this machine, no keys.")
    heading("Providers (simulated)")
    print_table(stage.roles.items(), ["name", "what it does"])
    heading(f"Configuration  {stage.file.name}")
    click.echo(stage.text.rstrip())
    heading("A plugin of our own  llmgate_plugins/cli/demo/mask_emails.py")
    source = (files("llmgate_plugins.cli.demo") / "mask_emails.py").read_text(encoding="utf-8")
    click.echo(source[source.index("EMAIL =") :].rstrip())
    heading("Calls")


def print_findings(found: Mapping[str, Any]) -> None:
    """What was called, what failed over and why, what it took and cost, and whether all is right."""
    for host in found["hosts"]:
        for error in host["errors"][:5]:
            click.echo(wrapped(f"  {host['host']}: {error}", "    "))
    heading("What was called")
    print_table(
        [_line(one) for one in found["deployments"]],
        ["deployment", "attempts", "ok", "failed", "p50", "p95", "cost"],
        right=range(1, 7),
    )
    if any(host["host"] == "litellm" and host["answers"] for host in found["hosts"]):
        click.echo("LiteLLM loads a client in the first call that needs it; p95 may be such a call.")
    heading("What failed over")
    print_table(
        [(one["count"], one["deployment"], one["went_to"], _why(one)) for one in found["failovers"]],
        ["times", "from", "to", "because"],
        right=[0],
    )
    if not found["failovers"]:
        click.echo("Nothing.")
    reached = sum(one["count"] for one in found["failovers"] if one["went_to"] == NOWHERE)
    if found["failovers"] and not reached:
        click.echo("Nobody who asked has noticed.")
    heading("What it cost")
    _by("host", found["calls_by_host"])
    click.echo()
    _by("feature", found["calls_by_feature"])
    heading("Is all right?")
    for check in found["checks"]:
        click.echo(wrapped(f"[{'ok' if check['ok'] else 'NO'}] {check['name']}: {check['told']}", "     "))


def _cost(one: Mapping[str, Any]) -> str:
    return f"${one['cost_usd']:.6f}"


def _line(one: Mapping[str, Any]) -> Sequence[object]:
    took = seconds(one["p50_s"]), seconds(one["p95_s"])
    return (one["name"], one["count"], one["success"], one["failed"], *took, _cost(one))


def _by(tag: str, groups: Sequence[Mapping[str, Any]]) -> None:
    print_table(
        [
            (
                one["name"],
                one["count"],
                one["input_tokens"],
                one["output_tokens"],
                seconds(one["p50_s"]),
                seconds(one["p95_s"]),
                _cost(one),
            )
            for one in groups
        ],
        [f"tag {tag}", "calls", "tokens in", "out", "p50", "p95", "cost"],
        right=range(1, 7),
    )


_REASONS = {
    "connection": "the connection broke before an answer",
    "rate_limit": "its rate limit was reached",
}


def _why(one: Mapping[str, Any]) -> str:
    reason = _REASONS.get(one["why"], str(one["why"]))
    return reason + (f" (HTTP {one['http_status']})" if one["http_status"] else "")
