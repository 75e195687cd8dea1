"""Whether an implementation's annotations fit its spec: pluggy compares names, never types."""

from __future__ import annotations

import collections.abc
import inspect
import types
import typing
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Union, get_args, get_origin, get_type_hints

from llmgate_plugins import alerts, context, decisions, limits, records, services
from llmgate_plugins import types as nouns

__all__ = ["Misfit", "parameter_misfit", "return_misfit"]

Misfit = tuple[str, str]
"""What does not fit, and what to do about it."""

UNKNOWN = object()
"""Stands for an annotation that cannot be resolved; it is given the benefit of the doubt."""

PUBLIC: dict[str, Any] = {
    name: getattr(module, name)
    for module in (nouns, limits, decisions, context, records, alerts, services)
    for name in module.__all__
}
"""So that annotations resolve even where a plugin imports our names for type checking only."""

PENDING = (collections.abc.Awaitable, collections.abc.Coroutine, Future)


def parameter_misfit(method: Callable[..., Any], spec: Callable[..., Any]) -> Misfit | None:
    """The first parameter whose annotation does not accept what the hook passes."""
    offered, taken = _hints(spec), _hints(method)
    for name in inspect.signature(method).parameters:
        if name in taken and name in offered and not _accepts(taken[name], offered[name]):
            return (
                f"annotates {name} as {_show(taken[name])}, but is given {_show(offered[name])}",
                f"annotate it as {_show(offered[name])}",
            )
    return None


def return_misfit(
    method: Callable[..., Any], spec: Callable[..., Any], answers: tuple[type, ...]
) -> Misfit | None:
    """The first type it may return that the hook does not take as an answer."""
    hints = _hints(method)
    if "return" not in hints:
        return None
    for member in _members(_settled(hints["return"])):
        if not _is_answer(member, answers):
            return (
                f"returns {_show(member)}",
                f"answer with {_show(_hints(spec)['return'])}; None is no opinion",
            )
    return None


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    function = inspect.unwrap(getattr(function, "__func__", function))
    names = {**PUBLIC, **vars(typing), **getattr(function, "__globals__", {})}
    try:
        return get_type_hints(function, globalns=names)
    except Exception:  # noqa: BLE001 - an annotation may be any expression
        return {name: _resolved(text, names) for name, text in inspect.get_annotations(function).items()}


def _resolved(annotation: Any, names: dict[str, Any]) -> Any:
    def one() -> None: ...

    one.__annotations__ = {"it": annotation}
    try:
        return get_type_hints(one, globalns=names)["it"]
    except Exception:  # noqa: BLE001
        return UNKNOWN


def _settled(annotation: Any) -> Any:
    """What is there once the answer has come."""
    while get_origin(annotation) in PENDING and get_args(annotation):
        annotation = get_args(annotation)[-1]
    members = _members(annotation)
    if len(members) > 1 and any(get_origin(member) in PENDING for member in members):
        return Union[tuple(_settled(member) for member in members)]  # noqa: UP007 - built at run time
    return annotation


def _members(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(part for member in get_args(annotation) for part in _members(member))
    return (annotation,)


def _open(annotation: Any) -> bool:
    return (
        annotation in (Any, object, UNKNOWN)
        or isinstance(annotation, typing.TypeVar)
        or getattr(annotation, "_is_protocol", False)
    )


def _accepts(taken: Any, offered: Any) -> bool:
    wide = _members(taken)
    return all(any(_open(one) or _is_kind_of(given, one) for one in wide) for given in _members(offered))


def _is_kind_of(narrow: Any, wide: Any) -> bool:
    narrow, wide = get_origin(narrow) or narrow, get_origin(wide) or wide
    if isinstance(narrow, type) and isinstance(wide, type):
        return issubclass(narrow, wide)
    return bool(narrow == wide)


def _is_answer(member: Any, answers: tuple[type, ...]) -> bool:
    if member in (None, type(None), typing.NoReturn, typing.Never) or _open(member):
        return True
    if (get_origin(member) or member) in (str, bytes):
        return False
    return any(_is_kind_of(member, answer) for answer in answers)


def _show(annotation: Any) -> str:
    if annotation is UNKNOWN:
        return "something unknown"
    if get_origin(annotation) is not None:
        members = _members(annotation)
        if len(members) > 1:
            return " | ".join(_show(member) for member in members)
        arguments = ", ".join("..." if one is ... else _show(one) for one in get_args(annotation))
        return f"{_show(get_origin(annotation))}[{arguments}]"
    return "None" if annotation is type(None) else getattr(annotation, "__name__", str(annotation))
