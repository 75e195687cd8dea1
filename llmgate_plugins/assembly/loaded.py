"""From the section `plugins` to the plugins of other packages, loaded if they are what is allowed."""

from __future__ import annotations

from llmgate_plugins._discovery import Allowed, installed, load_allowed
from llmgate_plugins.config import GatewayConfig
from llmgate_plugins.errors import ConfigurationError, Problem

__all__ = ["loaded_plugins"]


def loaded_plugins(config: GatewayConfig) -> list[object]:
    """Those that the file names, in its order.

    Raises:
        ConfigurationError: A range of versions does not allow what is installed.
        PluginRefused: One is not what is allowed.
    """
    allowed = []
    problems: list[Problem] = []
    for index, one in enumerate(config.plugins):
        version = one.version
        try:
            version = _exact(one.name, one.dist, version)
        except ValueError as error:
            path = ("plugins", index, "version")
            problems.append(config.locator.problem(path, str(error), "allow one version: 1.2.0"))
        allowed.append(Allowed(name=one.name, dist=one.dist, version=version, options=one.options))
    if problems:
        raise ConfigurationError(problems=problems)
    return load_allowed(allowed)


def _exact(name: str, dist: str | None, version: str | None) -> str | None:
    """The one installed version that a range allows; what is no range stays as it is.

    Raises:
        ValueError: It is no range, or the installed version is outside.
    """
    if version is None or not any(sign in version for sign in "<>~!*,"):
        return version
    try:
        from packaging.specifiers import InvalidSpecifier, SpecifierSet
    except ImportError:
        raise ValueError(f"the range {version!r} needs the package packaging to be read") from None
    try:
        allowed = SpecifierSet(version)
    except InvalidSpecifier:
        raise ValueError(f"{version!r} is no range of versions") from None
    there = [one for one in installed() if one.name == name and dist in (None, one.dist)]
    for one in there:
        if allowed.contains(one.version):
            return one.version
    found = ", ".join(f"{one.dist} {one.version}" for one in there) or "nothing of that name"
    raise ValueError(f"allowed is {version}, installed is {found}")
