"""Mistakes in the section `plugins` that show beside what is installed; no plugin is imported."""

from __future__ import annotations

from collections.abc import Iterator

from llmgate_plugins._discovery import Allowed, Installed, Misfit, find, installed
from llmgate_plugins.config.gateway_config import GatewayConfig
from llmgate_plugins.config.problems import Path
from llmgate_plugins.config.salvage import STAND_IN
from llmgate_plugins.errors import Problem

__all__ = ["allowed_plugins", "plugin_problems"]


def plugin_problems(config: GatewayConfig) -> Iterator[Problem]:
    """A problem for each entry that allows nothing that is installed."""
    for path, one, found in allowed_plugins(config):
        if isinstance(found, Misfit) and one.name != STAND_IN:
            message = f"plugin {one.name!r}: {found.message}"
            yield config.locator.problem((*path, found.key), message, found.remedy)


def allowed_plugins(config: GatewayConfig) -> Iterator[tuple[Path, Allowed, Installed | Misfit]]:
    """Each entry, where it stands, and what it allows of what is installed."""
    there = installed() if config.plugins else ()
    for index, entry in enumerate(config.plugins):
        one = Allowed(name=entry.name, dist=entry.dist, version=entry.version, options=entry.options)
        yield ("plugins", index), one, find(one, there)
