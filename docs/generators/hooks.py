"""`reference/hooks.md`: every hook with its exact signature and its five facts, from the specs."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any

from generators.markdown import NOTICE, anchor, described, parameters_of, signature_of, table
from llmgate_plugins import decisions
from llmgate_plugins.hookspecs import FAMILIES, LIFE, RULES, Combine, HookRule, OnError

__all__ = ["page"]

COMBINE: Mapping[Combine, str] = {
    Combine.FOLD: "**fold**: each plugin sees the last one's result",
    Combine.FIRST: "**first**: the first opinion wins, the rest are not asked",
    Combine.TELL: "**tell**: all are told, answers are ignored",
}
ON_ERROR: Mapping[OnError, str] = {
    OnError.CLOSED: "**closed**: the call stops with `HookFailed`",
    OnError.SKIP: "**skip**: that opinion is skipped and noted in the decision record; the next is asked",
    OnError.ISOLATE: "**isolate**: the others are still told; noted with the plugin's name; the call goes on",
}

HEAD = f"""{NOTICE}

# Hooks

A plugin is an object with methods that are marked `@hookimpl` and named as below, in the order of a
call's life. A method names the parameters it wants, by these names, and leaves out the rest. `None`
always means "no opinion". Plugins run in the order of the gateway's `plugins` list, the built-in ones last.

```python
from llmgate_plugins import hookimpl
```
"""


def page() -> str:
    """The page."""
    overview = table(
        ("hook", "family", "when", "answers combine", "an exception"),
        (
            (f"[`{name}`](#{anchor(name)})", rule.family, rule.when, rule.combine.value, rule.on_error.value)
            for name in LIFE
            for rule in [RULES[name]]
        ),
    )
    return "\n".join([HEAD, overview, "", *(_hook(RULES[name]) for name in LIFE), _decisions()])


def _spec(name: str) -> tuple[type, Callable[..., Any]]:
    return next((family, vars(family)[name]) for family in FAMILIES if name in vars(family))


def signature(name: str) -> str:
    """The hook's definition as it stands in the spec."""
    function = _spec(name)[1]
    parameters = "".join(f"    {one},\n" for one in parameters_of(function))
    return f"def {name}(\n    self,\n{parameters}) -> {inspect.signature(function).return_annotation}: ..."


def _hook(rule: HookRule) -> str:
    family, function = _spec(rule.name)
    facts = table(
        ("fact", ""),
        (
            ("when", rule.when),
            ("answers combine", COMBINE[rule.combine]),
            ("an exception means", ON_ERROR[rule.on_error]),
            ("may be `async def`", "yes, on every face" if rule.may_be_async else "no"),
            ("since", rule.since),
        ),
    )
    return "\n".join(
        [
            f"## {rule.name}",
            "",
            f"Family *{rule.family}*: {inspect.getdoc(family)}",
            "",
            f"```python\n@hookimpl\n{signature(rule.name)}\n```",
            "",
            described(function),
            "",
            facts,
            "",
        ]
    )


def _decisions() -> str:
    out = ["## Decisions", "", "What a hook may answer with. All are frozen values.", ""]
    for name in decisions.__all__:
        kind = getattr(decisions, name)
        if isinstance(kind, types.UnionType):
            names = ", ".join(f"`{one.__name__}`" for one in kind.__args__)
            out += [f"### {name}", "", f"One of {names}.", ""]
            continue
        out += [f"### {name}", "", signature_of(name, kind), "", described(kind), ""]
    return "\n".join(out)
