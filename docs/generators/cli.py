"""`reference/cli.md`: every command's own help text."""

from __future__ import annotations

import click

from generators.markdown import NOTICE
from llmgate_plugins.cli._main import llmgate

__all__ = ["page"]

WIDTH = 80


def page() -> str:
    """The page."""
    parts = [NOTICE, "", "# Command line", "", "Installed by `pip install 'llmgate-plugins[cli]'`.", ""]
    for path, command in _walk(("llmgate",), llmgate):
        parts += [f"## {' '.join(path)}", "", f"```text\n{_help(path, command)}\n```", ""]
    return "\n".join(parts)


def _walk(path: tuple[str, ...], command: click.Command) -> list[tuple[tuple[str, ...], click.Command]]:
    found = [(path, command)]
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path[-1])
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None and not inner.hidden:
                found += _walk((*path, name), inner)
    return found


def _help(path: tuple[str, ...], command: click.Command) -> str:
    words = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    context = click.Context(command, info_name=" ".join(path), **words)
    return "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
