"""Plugins from installed distributions, by allow-list; name, distribution and version come before import."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from llmgate_plugins.errors import ConfigurationError, PluginRefused, Problem
from llmgate_plugins.types import EMPTY

__all__ = ["GROUP", "Allowed", "Installed", "installed", "load_allowed"]

GROUP: Final = "llmgate"
"""The entry-point group. An entry point names a plugin, or what makes one when called."""

DISABLED: Final = "LLMGATE_DISABLE_PLUGIN_AUTOLOAD"
"""Environment variable: set to anything but 0 to load no entry point at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """One entry of the allow-list.

    Attributes:
        name: The entry point's name.
        dist: The distribution it must come from; None for any, as long as only one has it.
        version: Exact version that distribution must have; None for any.
        options: Keyword arguments for what makes the plugin.
    """

    name: str
    dist: str | None = None
    version: str | None = None
    options: Mapping[str, Any] = field(default=EMPTY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """An entry point that is there, read from metadata without importing it."""

    name: str
    dist: str
    version: str
    target: str
    entry: EntryPoint


def installed(group: str = GROUP) -> tuple[Installed, ...]:
    """Every installed plugin, sorted by name and distribution; nothing is imported."""
    found = [
        Installed(
            name=entry.name,
            dist=entry.dist.name if entry.dist else "",
            version=entry.dist.version if entry.dist else "",
            target=entry.value,
            entry=entry,
        )
        for entry in entry_points(group=group)
    ]
    return tuple(sorted(found, key=lambda one: (one.name, one.dist)))


def load_allowed(allowed: Iterable[Allowed], group: str = GROUP) -> list[object]:
    """The plugins of this allow-list, in its order.

    Raises:
        ConfigurationError: With every entry that is missing, ambiguous, or of another
            distribution or version.
        PluginRefused: One could not be imported or made.
    """
    allowed = tuple(allowed)
    if not allowed:
        return []
    if os.environ.get(DISABLED, "0") not in ("", "0"):
        raise ConfigurationError(
            problems=[
                Problem(
                    message=f"{DISABLED} is set, but the configuration names {one.name!r}",
                    remedy=f"unset it, or remove {one.name!r} from `plugins`",
                    path="plugins",
                )
                for one in allowed
            ]
        )
    there = installed(group)
    problems: list[Problem] = []
    chosen = [(one, _match(one, there, problems)) for one in allowed]
    if problems:
        raise ConfigurationError(problems=problems)
    return [_make(one, found) for one, found in chosen if found is not None]


def _match(one: Allowed, there: tuple[Installed, ...], problems: list[Problem]) -> Installed | None:
    def problem(message: str, remedy: str) -> None:
        problems.append(Problem(message=f"plugin {one.name!r}: {message}", remedy=remedy, path="plugins"))

    named = [found for found in there if found.name == one.name]
    fitting = [found for found in named if one.dist is None or _normal(found.dist) == _normal(one.dist)]
    if not named:
        names = ", ".join(found.name for found in there) or "none"
        problem("is not installed", f"installed are: {names}; see `llmgate plugins`")
    elif not fitting:
        dists = ", ".join(found.dist for found in named)
        problem(
            f"comes from {dists}, not from {one.dist}", "correct `dist`, or remove the other distribution"
        )
    elif len(fitting) > 1:
        dists = ", ".join(found.dist for found in fitting)
        problem(f"is claimed by several distributions: {dists}", "say which with `dist`")
    elif one.version is not None and fitting[0].version != one.version.removeprefix("=="):
        there_is = fitting[0].version
        problem(
            f"{fitting[0].dist} is installed in version {there_is}, allowed is {one.version}",
            f"review it and set `version: {there_is}`, or install the allowed one",
        )
    else:
        return fitting[0]
    return None


def _make(one: Allowed, found: Installed) -> object:
    """Import it; call what it names if that is a class or function."""
    at = f"{found.dist} {found.version}, {found.target}"
    try:
        target = found.entry.load()
    except Exception as error:
        raise PluginRefused(
            f"cannot be imported ({at}): {type(error).__name__}: {error}",
            plugin=one.name,
            remedy="repair or remove that distribution",
        ) from error
    if not (inspect.isclass(target) or inspect.isfunction(target)):
        if one.options:
            raise PluginRefused(
                f"takes no options ({at} is an object)", plugin=one.name, remedy="drop `options`"
            )
        return target
    try:
        return target(**one.options)
    except Exception as error:
        raise PluginRefused(
            f"cannot be made with options {sorted(one.options)} ({at}): {type(error).__name__}: {error}",
            plugin=one.name,
            remedy=f"it takes {inspect.signature(target)}",
        ) from error


def _normal(dist: str) -> str:
    return dist.lower().replace("_", "-").replace(".", "-")
