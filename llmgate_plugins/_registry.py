"""Which plugins, in which order; every refusal happens here, while building."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from types import FunctionType
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

import pluggy

from llmgate_plugins._asking import Hook, Implementation, passing
from llmgate_plugins._fit import Misfit, parameter_misfit, return_misfit
from llmgate_plugins._loading import Loaded
from llmgate_plugins.errors import PluginRefused
from llmgate_plugins.hookspecs import FAMILIES, MARK, PROJECT, RULES

__all__ = ["Hooks", "Registry"]

SPECS: dict[str, Callable[..., Any]] = {
    name: getattr(family, name) for family in FAMILIES for name in RULES if hasattr(family, name)
}
PARAMETERS: dict[str, tuple[str, ...]] = {
    name: tuple(inspect.signature(spec).parameters)[1:] for name, spec in SPECS.items()
}
"""Hook name -> the parameters that are offered, in the order in which the engine passes them."""

NOBODY: Final = Hook()

Refusing: TypeAlias = Callable[..., PluginRefused]

_fitting: WeakKeyDictionary[FunctionType, set[tuple[str, bool]]] = WeakKeyDictionary()
"""Function -> the hooks it was found to fit, bound or not: looked at once, not for every gateway."""
_parameters: WeakKeyDictionary[FunctionType, dict[bool, tuple[str, ...]]] = WeakKeyDictionary()
"""Function -> the names of its parameters, bound or not; likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Every hook's implementations."""

    admit_request: Hook = NOBODY
    review_response: Hook = NOBODY
    narrow_deployments: Hook = NOBODY
    rank_deployments: Hook = NOBODY
    score_deployments: Hook = NOBODY
    begin_attempt: Hook = NOBODY
    end_attempt: Hook = NOBODY
    end_call: Hook = NOBODY
    receive_feedback: Hook = NOBODY
    limit_attempt: Hook = NOBODY
    classify_error: Hook = NOBODY
    recover_attempt: Hook = NOBODY
    deliver_alert: Hook = NOBODY


class Registry:
    """The plugins of one gateway. Frozen once built.

    Args:
        plugins: In run order, `Loaded` or as they are. `@hookimpl(tryfirst=True)` and `trylast=True` move an
            implementation before or behind all others.

    Raises:
        PluginRefused: Some do not fit the contract.
    """

    __slots__ = ("hooks", "plugins")

    def __init__(self, plugins: Iterable[object]) -> None:
        named: dict[str, object] = {}
        marked: dict[str, AbstractSet[str]] = {}
        refused: list[PluginRefused] = []
        for given in plugins:
            loaded = given if isinstance(given, Loaded) else None
            plugin = given if loaded is None else loaded.plugin
            try:
                name = plugin_name(plugin, None if loaded is None else loaded.name)
                marked[name] = _checked(_refusing(name, loaded), plugin, taken=name in named)
            except PluginRefused as error:
                refused.append(error if loaded is None else error.at(loaded.place))
            else:
                named[name] = plugin
        if refused:
            raise refused[0].beside(refused[1:])
        self.plugins: tuple[tuple[str, object], ...] = tuple(named.items())
        self.hooks = _collect(named, marked)


def plugin_name(plugin: object, otherwise: str | None = None) -> str:
    """The plugin's `name`, or else that of its entry point, its module or its class."""
    if inspect.isclass(plugin):
        raise PluginRefused(
            "is a class, not an instance",
            plugin=plugin.__name__,
            remedy=f"have you forgotten the ()? Write {plugin.__name__}()",
        )
    if plugin is None:
        raise PluginRefused("is no plugin", plugin="None", remedy="does what makes it return it?")
    if isinstance(plugin, str):
        remedy = "names of installed plugins stand in a file, under plugins; here goes the plugin itself"
        raise PluginRefused("is a text, not a plugin", plugin=plugin, remedy=remedy)
    name = getattr(plugin, "name", None)
    if isinstance(name, str) and name:
        return name
    if otherwise is not None:
        return otherwise
    return plugin.__name__ if inspect.ismodule(plugin) else type(plugin).__name__


def _refusing(name: str, loaded: Loaded | None) -> Refusing:
    """How this plugin is refused: under the name that whoever reads it knows."""
    if loaded is None:
        return partial(PluginRefused, plugin=name)
    return partial(PluginRefused, plugin=loaded.name, source=loaded.source)


def _checked(refuse: Refusing, plugin: object, *, taken: bool) -> AbstractSet[str]:
    """The attributes with hooks; refuses what pluggy would accept in silence or report in riddles.

    Args:
        taken: Whether another plugin has its name.
    """
    if taken:
        raise refuse(
            "another plugin has the same name", remedy="set a `name` attribute on one of them, or drop one"
        )
    marked: set[str] = set()
    refused: list[PluginRefused] = []
    for attribute in dir(plugin):
        if isinstance(getattr(type(plugin), attribute, None), property):
            continue
        method = getattr(plugin, attribute, None)
        options = getattr(method, MARK, None)
        if not callable(method):
            continue
        if not isinstance(options, dict):
            if attribute in RULES:
                remedy = "put @hookimpl above it, or rename it"
                refused.append(refuse("is not marked as an implementation", hook=attribute, remedy=remedy))
            continue
        marked.add(attribute)
        hook = options.get("specname") or attribute
        misfit = _misfit(hook, method, options)
        if misfit is not None:
            message, remedy = misfit
            refused.append(refuse(message, hook=hook, remedy=remedy))
    if refused:
        raise refused[0].beside(refused[1:])
    if not marked:
        raise refuse("has no hooks", remedy=_missing_mark(plugin))
    return marked


def _missing_mark(plugin: object) -> str:
    """What would be a hook of a plugin that has none."""
    for name in dir(plugin):
        near = difflib.get_close_matches(name, RULES, n=1, cutoff=0.8)
        if near:
            return f"write @hookimpl above {name}; did you mean {near[0]}?"
    return f"mark a method with @hookimpl; the hooks are {', '.join(RULES)}"


def _misfit(hook: str, method: Callable[..., Any], options: dict[str, Any]) -> Misfit | None:
    """Why this is no implementation of that hook."""
    if hook not in RULES:
        near = difflib.get_close_matches(hook, RULES, n=1)
        return ("is not a hook", f"did you mean {near[0]}?" if near else f"the hooks are {', '.join(RULES)}")
    if options.get("wrapper") or options.get("hookwrapper"):
        return ("is a wrapper, and llmgate has none", "use begin_attempt and end_attempt, or two hooks")
    function = getattr(method, "__func__", method)
    known = _fitting.setdefault(function, set()) if isinstance(function, FunctionType) else set()
    use = (hook, inspect.ismethod(method))
    if use in known:
        return None
    if inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method):
        return ("is a generator", "return the answer instead of yielding it")
    offered = PARAMETERS[hook]
    if inspect.ismethod(method) and next(iter(inspect.signature(function).parameters), None) in offered:
        return ("has no self", "make self its first parameter")
    for parameter in inspect.signature(method).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.POSITIONAL_ONLY):
            return (
                f"takes {parameter}, which cannot be filled",
                f"name plain parameters out of {', '.join(offered)}",
            )
        if parameter.name not in offered and parameter.default is parameter.empty:
            near = difflib.get_close_matches(parameter.name, offered, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            if parameter.name == "self":
                hint = "drop @staticmethod, or self. "
            return (f"asks for {parameter.name!r}", f"{hint}It may name {', '.join(offered)}")
    misfit = parameter_misfit(method, SPECS[hook]) or return_misfit(method, SPECS[hook], RULES[hook].answers)
    if misfit is None:
        known.add(use)
    return misfit


class _Manager(pluggy.PluginManager):
    """pluggy's, asked about marked attributes only: its own look at all of them is long."""

    marked: AbstractSet[str] = frozenset()

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        return super().parse_hookimpl_opts(plugin, name) if name in self.marked else None

    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> Any:
        return super().parse_hookspec_opts(module_or_class, name) if name in RULES else None


def _collect(named: dict[str, object], marked: dict[str, AbstractSet[str]]) -> Hooks:
    manager = _Manager(PROJECT)
    for family in FAMILIES:
        manager.add_hookspecs(family)
    # pluggy runs the last registered first: registering backwards makes list order
    # run order, and keeps `tryfirst` and `trylast` as everybody knows them.
    for name, plugin in reversed(named.items()):
        manager.marked = marked[name]
        try:
            manager.register(plugin, name)
        except pluggy.PluginValidationError as error:
            raise PluginRefused(str(error), plugin=name) from error
    manager.check_pending()
    found: dict[str, Hook] = {}
    for hook in RULES:
        caller: pluggy.HookCaller = getattr(manager.hook, hook)
        implementations = [_implementation(one, hook) for one in reversed(caller.get_hookimpls())]
        if implementations:
            found[hook] = Hook(implementations, PARAMETERS[hook])
    return Hooks(**found)


def _implementation(one: pluggy.HookImpl, hook: str) -> Implementation:
    function, offered = one.function, PARAMETERS[hook]
    wanted = tuple([name for name in _parameters_of(function) if name in offered])
    ask = function if wanted == offered else passing(offered, wanted)(function)
    return Implementation(plugin=one.plugin_name, hook=hook, function=function, wanted=wanted, ask=ask)


def _parameters_of(method: Callable[..., Any]) -> tuple[str, ...]:
    function = getattr(method, "__func__", method)
    known = _parameters.setdefault(function, {}) if isinstance(function, FunctionType) else {}
    bound = inspect.ismethod(method)
    if bound not in known:
        known[bound] = tuple(inspect.signature(method).parameters)
    return known[bound]
