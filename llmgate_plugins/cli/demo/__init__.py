"""`llmgate demo`: the main job in one command, with no keys and no servers but its own."""

from __future__ import annotations

import time

import click

__all__ = ["demo"]


@click.command("demo")
@click.option(
    "--calls", type=click.IntRange(6, 2000), metavar="N", help="Questions to ask (default: 60; --fast: 24)."
)
@click.option("--seed", type=int, default=7, show_default=True, help="Of every random choice.")
@click.option("--fast", is_flag=True, help="Fewer questions, and providers that answer at once.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON object.")
@click.pass_context
def demo(ctx: click.Context, calls: int | None, seed: int, fast: bool, as_json: bool) -> None:
    """Show llmgate at work, with no keys and no servers but its own.

    Three simulated providers, of which one dies half-way and one throttles; LangChain,
    LiteLLM and plain Python call them through one gateway with a plugin. Then: what was
    called, what failed over, how long it took, what it cost. Exit code 1 if a call
    failed or the books do not balance.
    """
    from llmgate_plugins.cli.demo.findings import findings
    from llmgate_plugins.cli.demo.printing import print_findings, print_stage
    from llmgate_plugins.cli.demo.running import perform
    from llmgate_plugins.cli.demo.stage import set_up
    from llmgate_plugins.cli.output import print_json

    began = time.monotonic()
    calls = calls or (24 if fast else 60)
    with set_up(calls, seed, fast=fast) as stage:
        if not as_json:
            print_stage(stage)
        performances = perform(stage, calls, quiet=as_json)
        found = findings(stage, performances)
    found["seconds"] = round(time.monotonic() - began, 3)
    if as_json:
        print_json(found)
    else:
        print_findings(found)
        click.echo(f"\nAll this took {found['seconds']:.1f} s.")
    if not found["ok"]:
        ctx.exit(1)
