"""From an allow-list to plugins: imported and made, after all that can be told without."""

from __future__ import annotations

import difflib
import inspect
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import dropwhile
from typing import Any

from llmgate_plugins._discovery import GROUP, Allowed, Installed, NotFound, find, installed
from llmgate_plugins.errors import ConfigurationError, PluginRefused, Problem
from llmgate_plugins.hookspecs import MARK
from llmgate_plugins.redaction import redact_error

__all__ = ["Loaded", "load_allowed", "make"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A plugin from an installed distribution.

    Attributes:
        name: Its entry point's, by which the configuration knows it.
        source: Its distribution and version.
        place: Where the configuration names it.
    """

    plugin: object
    name: str
    source: str
    place: Problem


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
    there = installed(group)
    chosen = [(one, find(one, there, group)) for one in allowed]
    problems = [
        Problem(message=f"plugin {one.name!r}: {found.message}", remedy=found.remedy)
        for one, found in chosen
        if isinstance(found, NotFound)
    ]
    if problems:
        raise ConfigurationError(problems=problems)
    return [make(one, found) for one, found in chosen if isinstance(found, Installed)]


def make(one: Allowed, found: Installed) -> object:
    """Import it; call what it names if that is a class or function.

    Raises:
        PluginRefused: It cannot be imported, or not be made with these options.
    """

    def refuse(message: str, remedy: str) -> PluginRefused:
        return PluginRefused(message, plugin=one.name, source=found.source, remedy=remedy)

    try:
        target = found.entry.load()
    except (Exception, SystemExit) as error:
        place = _raised_at(error)
        redact_error(error)
        raise refuse(
            f"{found.target} cannot be imported: {type(error).__name__}: {error}{place}",
            _import_remedy(found, error),
        ) from error
    if hasattr(target, MARK):
        raise refuse(
            f"{found.target} is a hook, not a plugin",
            "let its entry point name the module, or a class of hooks",
        )
    if not (inspect.isclass(target) or inspect.isfunction(target)):
        if one.options:
            raise refuse(f"takes no options: {found.target} is an object", "drop `options`")
        return target
    misfit = _options_misfit(target, one.options)
    if misfit:
        raise refuse(*misfit)
    try:
        plugin = target(**one.options)
    except Exception as error:
        redact_error(error)  # what it was made with may be secret
        given = f"with the options {', '.join(one.options)}" if one.options else "without options"
        takes = _takes(target)
        raise refuse(
            f"{found.target} cannot be made {given}: {type(error).__name__}: {error}",
            f"it takes {takes}" if takes else "repair or remove that distribution",
        ) from error
    if plugin is None or inspect.isclass(plugin):
        gave = "nothing" if plugin is None else f"the class {plugin.__name__}"
        raise refuse(f"{found.target} returns {gave}, not a plugin", "return an instance with hooks from it")
    return plugin


def _raised_at(error: BaseException) -> str:
    """Where the plugin's own code was when it failed to import; empty if it was not yet in any."""
    frames = traceback.extract_tb(error.__traceback__)
    importing = dropwhile(lambda frame: not frame.filename.startswith("<frozen importlib"), frames)
    own = [frame for frame in importing if not frame.filename.startswith("<")]
    return f", in {own[-1].filename}:{own[-1].lineno}" if own else ""


def _import_remedy(found: Installed, error: BaseException) -> str:
    module, _, attribute = found.target.partition(":")
    if isinstance(error, ModuleNotFoundError) and error.name:
        if f"{module}.".startswith(f"{error.name}."):
            return f"{found.dist} has no such module: correct its entry point, and install it again"
        return f"install {error.name}, which {found.dist} needs"
    if isinstance(error, AttributeError) and attribute and attribute in str(error):
        return f"let its entry point name what is in {module}, and install it again"
    return "repair or remove that distribution"


def _options_misfit(target: Callable[..., object], options: Mapping[str, Any]) -> tuple[str, str] | None:
    """What of these options does not fit what it takes, and what would."""
    parameters = _parameters(target)
    if parameters is None:
        return None
    named = [one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    names = [one.name for one in named]
    takes = _takes(target)
    if not any(one.kind is one.VAR_KEYWORD for one in parameters):
        unknown = [name for name in options if name not in names]
        if unknown and not names:
            return "takes no options", "drop `options`"
        if unknown:
            near = difflib.get_close_matches(unknown[0], names, n=1)
            return (
                f"takes no option {', '.join(unknown)}",
                f"did you mean {near[0]}? It takes {takes}" if near else f"it takes {takes}",
            )
    missing = [one.name for one in named if one.default is one.empty and one.name not in options]
    if missing:
        written = ", ".join(f"{name}: ..." for name in missing)
        return f"needs the option {', '.join(missing)}", f"write options: {{{written}}}; it takes {takes}"
    return None


def _takes(target: Callable[..., object]) -> str:
    """What it may be called with, as options."""
    return ", ".join(
        str(one)
        for one in _parameters(target) or ()
        if one.kind not in (one.POSITIONAL_ONLY, one.VAR_POSITIONAL)
    )


def _parameters(target: Callable[..., object]) -> list[inspect.Parameter] | None:
    try:
        return list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):  # one written in C may have none
        return None
