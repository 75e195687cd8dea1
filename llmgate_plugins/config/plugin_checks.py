"""Mistakes in the section `plugins` that show beside what is installed; no plugin is imported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from llmgate_plugins._discovery import Allowed, Installed, NotFound, find, installed
from llmgate_plugins.config.gateway_config import GatewayConfig
from llmgate_plugins.config.problems import Path
from llmgate_plugins.config.salvage import STAND_IN
from llmgate_plugins.errors import Problem

__all__ = ["Found", "allowed_plugins", "plugin_problems"]

Found: TypeAlias = tuple[Path, Allowed, Installed | NotFound]
"""Where an entry stands, what it says, and what it allows of what is installed."""


def allowed_plugins(config: GatewayConfig) -> tuple[Found, ...]:
    """Each entry. Metadata of all that is installed are read once: that takes 10 ms and more."""
    there = installed() if config.plugins else ()
    entries = [
        Allowed(name=one.name, dist=one.dist, version=one.version, options=one.options)
        for one in config.plugins
    ]
    return tuple((("plugins", index), one, find(one, there)) for index, one in enumerate(entries))


def plugin_problems(config: GatewayConfig, plugins: Iterable[Found]) -> Iterator[Problem]:
    """A problem for each entry that allows nothing that is installed."""
    for path, one, found in plugins:
        if isinstance(found, NotFound) and one.name != STAND_IN:
            message = f"plugin {one.name!r}: {found.message}"
            yield config.locator.problem((*path, found.key), message, found.remedy)
