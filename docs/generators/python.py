"""`reference/python.md`, `testing.md` and `plugins.md`: public names, from their docstrings."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Iterable
from typing import Any

import llmgate_plugins
from generators.markdown import NOTICE, described, parameters_of, signature_of
from llmgate_plugins import decisions, errors, insight, plugins, testing
from llmgate_plugins.hookspecs import RULES

__all__ = ["built_in_plugins", "insight_page", "testing_kit", "top_level"]

ELSEWHERE = frozenset({*decisions.__all__, *errors.__all__})
"""Names that have a reference page of their own."""

BORN_WITH = frozenset({"mro", "add_note", "with_traceback"})


TOP_LEVEL = """\
# Python

What `from llmgate_plugins import ...` offers, besides [decisions](hooks.md#decisions) and
[errors](errors.md).
"""

TESTING_KIT = """\
# Testing kit

What `from llmgate_plugins.testing import ...` offers.
"""

INSIGHT = """\
# Insight

What `from llmgate_plugins.insight import ...` offers: reports, exports, forecasts, live statistics.
"""

BUILT_IN = """\
# Built-in plugins

What `from llmgate_plugins.plugins import ...` offers. They are ordinary plugins. Every gateway has {always},
after those it is given, unless it is made with `defaults=False`. The sections of a configuration put others
in place.
"""


def top_level() -> str:
    """What `import llmgate_plugins` offers, decisions and errors left out."""
    names = [name for name in llmgate_plugins.__all__ if name not in ELSEWHERE and not name.startswith("_")]
    return _page(TOP_LEVEL, llmgate_plugins, names)


def testing_kit() -> str:
    """What `llmgate_plugins.testing` offers."""
    return _page(TESTING_KIT, testing, testing.__all__)


def insight_page() -> str:
    """What `llmgate_plugins.insight` offers."""
    return _page(INSIGHT, insight, insight.__all__)


def built_in_plugins() -> str:
    """What `llmgate_plugins.plugins` offers, with the hooks each plugin implements."""
    always = ", ".join(f"`{kind.__name__}`" for kind in plugins.BUILTINS)
    names = [name for name in plugins.__all__ if inspect.isclass(getattr(plugins, name))]
    return _page(BUILT_IN.format(always=always), plugins, names)


def _page(head: str, module: Any, names: Iterable[str]) -> str:
    out = [NOTICE, "", head]
    for name in names:
        thing = getattr(module, name)
        out += [f"## {name}", ""]
        if inspect.isclass(thing):
            out += _class(name, thing)
        elif inspect.isfunction(thing):
            out += [signature_of(name, thing), "", described(thing), ""]
        elif isinstance(thing, tuple):
            out += [f"One of {', '.join(f'`{one}`' for one in thing)}.", ""]
        else:
            out += [_other(thing), ""]
    return "\n".join(out)


def _other(thing: object) -> str:
    if type(thing).__name__ == "HookimplMarker":
        return "Marks a method as an implementation of the hook of the same name."
    return "A type for annotations."


def _class(name: str, kind: type) -> list[str]:
    out = []
    if issubclass(kind, enum.Enum):
        values = ", ".join(f"`{one.value}`" for one in kind)
        return [described(kind), "", f"Values: {values}.", ""]
    if not inspect.isabstract(kind) and not {"__init__", "__signature__"}.isdisjoint(vars(kind)):
        out += [signature_of(name, kind), ""]
    out += [described(kind), ""]
    hooks = [f"[`{hook}`](hooks.md#{hook})" for hook in RULES if hasattr(kind, hook)]
    if hooks:
        return [*out, f"Hooks: {', '.join(hooks)}.", ""]
    return [*out, *_members(kind)]


def _members(kind: type) -> list[str]:
    """Public methods and properties, with the first paragraph of what each says.

    Parts that a class is made of, in modules of their own that are not public, count as its own.
    """
    lines = []
    parts = [part for part in kind.__mro__ if part is kind or "._" in part.__module__]
    for name, member in [pair for part in parts for pair in vars(part).items()]:
        if name.startswith(("_", "test_")) or name in BORN_WITH:
            continue
        function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        doc = (inspect.getdoc(getattr(kind, name)) or "").partition("\n\n")[0]
        if isinstance(member, property) and doc:
            lines.append(f"- `{name}`: {' '.join(doc.split())}")
        elif inspect.isfunction(function):
            shown = ", ".join(one for one in parameters_of(function) if not one.startswith("cls"))
            lines.append(f"- `{name}({shown})`: {' '.join(doc.split())}")
    return ["**Methods and properties.**", "", *lines, ""] if lines else []
