"""Plugins of installed distributions, as their metadata tell: nothing is imported here."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points
from typing import Any, Final

from llmgate_plugins.types import EMPTY

__all__ = ["GROUP", "Allowed", "Installed", "NotFound", "find", "installed"]

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
        version: The version that distribution must have, or a range of versions; None for any.
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

    @property
    def source(self) -> str:
        """The distribution and its version, for messages."""
        return f"{self.dist} {self.version}"

    def is_of(self, dist: str | None) -> bool:
        """Whether it comes from this distribution, however that is spelt; None for any."""
        return dist is None or _normal(self.dist) == _normal(dist)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotFound:
    """Why an entry of the allow-list allows nothing that is there.

    Attributes:
        key: What of the entry is to be corrected: "name", "dist" or "version".
    """

    key: str
    message: str
    remedy: str


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


def find(one: Allowed, there: Sequence[Installed], group: str = GROUP) -> Installed | NotFound:
    """What this entry allows, of what is there; nothing is imported."""
    if os.environ.get(DISABLED, "0") not in ("", "0"):
        return NotFound(
            key="name",
            message=f"may not be loaded: {DISABLED} is set",
            remedy="unset it, or remove the plugin",
        )
    named = [found for found in there if found.name == one.name]
    fitting = [found for found in named if found.is_of(one.dist)]
    if not named:
        return _absent(one, there, group)
    if not fitting:
        dists = ", ".join(found.dist for found in named)
        remedy = f"write dist: {named[0].dist}, if that is what you reviewed"
        return NotFound(key="dist", message=f"comes from {dists}, not from {one.dist}", remedy=remedy)
    if len(fitting) > 1:
        dists = ", ".join(found.dist for found in fitting)
        message, remedy = f"is claimed by several distributions: {dists}", "say which with `dist`"
        return NotFound(key="name", message=message, remedy=remedy)
    (found,) = fitting
    return found if one.version is None else _of_version(found, one.version)


def _absent(one: Allowed, there: Sequence[Installed], group: str) -> NotFound:
    """Why there is nothing of that name, as far as metadata tell."""

    def not_found(message: str, remedy: str) -> NotFound:
        return NotFound(key="name", message=message, remedy=remedy)

    near = difflib.get_close_matches(one.name, [found.name for found in there], n=1)
    if near:
        return not_found("is not installed", f"did you mean {near[0]}?")
    dists = list(dict.fromkeys((one.dist or one.name, one.name)))  # which may stand in its place
    for dist in dists:
        offered = [found.name for found in there if found.is_of(dist)]
        if offered:
            return not_found(
                f"is not installed: {dist} offers {', '.join(offered)}",
                "a plugin's name is that of its entry point",
            )
    section = f"[project.entry-points.{group}]"
    for point in entry_points(name=one.name):
        if "llmgate" in point.group and point.dist is not None:
            return not_found(
                f"{point.dist.name} offers it in the group {point.group!r}, which is not read",
                f"write {section}, and install it again",
            )
    for dist in dists:
        try:
            version = distribution(dist).version
        except (PackageNotFoundError, ValueError):
            continue
        return not_found(
            f"{dist} {version} is installed, but offers no plugin",
            f"if it is yours, add {section} to its pyproject.toml; install it again",
        )
    names = ", ".join(found.name for found in there) or "none"
    remedy = f"install its distribution into {sys.prefix}; installed are: {names}"
    return not_found("is not installed", remedy)


def _of_version(found: Installed, version: str) -> Installed | NotFound:
    """The same, if a configured version or range allows it."""
    remedy = f"review it and write version: {found.version}, or install the allowed one"
    if not any(sign in version for sign in "<>~!*,"):
        if found.version == version.removeprefix("==").strip():
            return found
        message = f"{found.dist} is installed in version {found.version}, allowed is {version}"
        return NotFound(key="version", message=message, remedy=remedy)
    try:
        from packaging.specifiers import InvalidSpecifier, SpecifierSet
    except ImportError:
        message = f"the range {version!r} needs the package packaging to be read"
        return NotFound(key="version", message=message, remedy="pip install packaging, or allow one version")
    try:
        allowed = SpecifierSet(version)
    except InvalidSpecifier:
        message = f"{version!r} is no range of versions"
        return NotFound(key="version", message=message, remedy='write ">=1.2,<2", or one version: 1.2.0')
    if allowed.contains(found.version, prereleases=True):
        return found
    message = f"allowed is {version}, installed is {found.source}"
    return NotFound(key="version", message=message, remedy=remedy)


def _normal(dist: str) -> str:
    return dist.lower().replace("_", "-").replace(".", "-")
