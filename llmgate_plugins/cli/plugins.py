"""`llmgate plugins`: what is installed, allowed and loaded, in which order, with which hooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from llmgate_plugins._discovery import Installed, installed
from llmgate_plugins.cli.output import heading, print_json, print_table, wrapped
from llmgate_plugins.hookspecs import LIFE, RULES, HookRule

if TYPE_CHECKING:
    from llmgate_plugins.config import GatewayConfig
    from llmgate_plugins.gateway import Gateway

__all__ = ["plugins"]


@click.command("plugins")
@click.option("--config", "-c", "file", metavar="FILE", help="Also what this configuration allows and loads.")
@click.option("--hooks", "show_hooks", is_flag=True, help="Also every hook, in order of a call's life.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def plugins(file: str | None, show_hooks: bool, as_json: bool) -> None:
    """List plugins, their order and their hooks.

    Installed plugins are read from metadata and not imported. Those that FILE allows
    are loaded, to show what would run; without FILE, the built-in ones are shown.
    """
    from llmgate_plugins.gateway import Gateway
    from llmgate_plugins.ledger import MemoryLedger

    there = installed()
    config: GatewayConfig | None = None
    if file is None:
        gateway = Gateway()
    else:
        from llmgate_plugins.assembly import assemble
        from llmgate_plugins.config import load_config

        config = load_config(file)
        gateway = Gateway(**assemble(config, services={"ledger": MemoryLedger()}, check_secrets=False))
    wanted = {one.name: one.dist for one in config.plugins} if config is not None else {}
    allowed = [one for one in there if one.name in wanted and one.is_of(wanted[one.name])]
    found = [_installed(one, one in allowed) for one in there]
    loaded = _loaded(gateway, allowed)
    if as_json:
        print_json({"installed": found, "plugins": loaded, "hooks": _hooks(gateway)})
        return
    _print_installed(found, file)
    heading("Run order" + ("" if file is None else f" with {file}"))
    print_table(
        [(place, one["name"], one["from"], ", ".join(one["hooks"])) for place, one in enumerate(loaded, 1)],
        ["", "plugin", "from", "hooks"],
        right=[0],
    )
    if show_hooks:
        _print_hooks(gateway)


def _installed(one: Installed, allowed: bool) -> dict[str, Any]:
    return {
        "name": one.name,
        "dist": one.dist,
        "version": one.version,
        "target": one.target,
        "allowed": allowed,
    }


def _loaded(gateway: Gateway, allowed: Sequence[Installed]) -> list[dict[str, Any]]:
    names = {one.name: one for one in allowed}
    modules = {one.target.partition(":")[0].partition(".")[0]: one for one in allowed}
    told = []
    for name, plugin in gateway.plugins:
        module = type(plugin).__module__
        source = names.get(name) or modules.get(module.partition(".")[0])
        built_in = module.partition(".")[0] == "llmgate_plugins"
        told.append(
            {
                "name": name,
                "from": source.source if source else "built in" if built_in else module,
                "class": f"{module}.{type(plugin).__qualname__}",
                "hooks": [hook for hook in LIFE if name in _implementers(gateway, hook)],
            }
        )
    return told


def _implementers(gateway: Gateway, hook: str) -> list[str]:
    return [one.plugin for one in getattr(gateway.registry.hooks, hook)]


def _hooks(gateway: Gateway) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "family": rule.family,
            "when": rule.when,
            "combine": rule.combine.value,
            "on_error": rule.on_error.value,
            "may_be_async": rule.may_be_async,
            "since": rule.since,
            "answers": _answers(rule),
            "implemented_by": _implementers(gateway, name),
        }
        for name, rule in ((name, RULES[name]) for name in LIFE)
    ]


def _answers(rule: HookRule) -> list[str]:
    return [one.__name__ for one in rule.answers]


def _print_installed(found: Sequence[Mapping[str, Any]], file: str | None) -> None:
    heading("Installed")
    if not found:
        click.echo(
            wrapped(
                "No plugins are installed. A distribution offers one by an entry point in the group llmgate."
            )
        )
        return
    state = {True: "yes", False: "no" if file else "-"}
    print_table(
        [
            (one["name"], f"{one['dist']} {one['version']}", state[one["allowed"]], one["target"])
            for one in found
        ],
        ["name", "distribution", "allowed", "target"],
    )
    if not any(one["allowed"] for one in found):
        click.echo(wrapped("None is loaded: name those you trust under `plugins:` in the configuration."))


_MEANS = {
    "fold": "each sees the last one's result",
    "first": "the first opinion wins",
    "tell": "all are told",
    "closed": "the call stops",
    "skip": "that opinion is skipped",
    "isolate": "the others are still told",
}


def _print_hooks(gateway: Gateway) -> None:
    heading("Hooks, in the order of a call's life")
    for hook in _hooks(gateway):
        facts = (
            ("when", hook["when"]),
            ("combine", f"{hook['combine']}: {_MEANS[hook['combine']]}"),
            ("on error", f"{hook['on_error']}: {_MEANS[hook['on_error']]}"),
            ("async", "may be" if hook["may_be_async"] else "may not be"),
            ("since", hook["since"]),
            ("answers", ", ".join((*hook["answers"], "None"))),
            ("plugins", ", ".join(hook["implemented_by"]) or "none"),
        )
        click.echo(f"{hook['name']}  ({hook['family']})")
        for name, value in facts:
            click.echo(wrapped(f"    {name:<9} {value}", " " * 14))
