"""Conditions in CEL, the Common Expression Language, where the extra `cel` is installed."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final

from llmgate_plugins.context import Context
from llmgate_plugins.policies.facts import ASKED, DECLARED
from llmgate_plugins.policies.kinds import NUMBERS, SIZES, never_equal
from llmgate_plugins.types import Request
from llmgate_plugins.usage import estimate_usage

__all__ = ["Expression"]

_NAMES: Final = re.compile(r"\b(context|request)\s*\.\s*(\w+)")
_TEXTS: Final = re.compile(r"""(?:[rR]?)("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')""")
_FUNCTIONS: Final = frozenset(
    (
        *("size", "startsWith", "endsWith", "contains", "matches", "has", "all", "exists", "exists_one"),
        *("filter", "map", "max", "min", "int", "uint", "double", "string", "bytes", "bool", "type", "dyn"),
    )
)
_NO_METHOD: Final = re.compile(r"Undefined variable or function: '(\w+)'")
_SAMPLES: Final[Mapping[str, Any]] = {"priority": 1, "extra": {}, "stream": False, **dict.fromkeys(SIZES, 0)}
"""Values of the kinds that calls have; of what is not named here, a text."""
_MOST: Final = 4096
"""Answers that are remembered, by the values they came from."""


class Expression:
    """A CEL expression that is true or false of a call.

    It may read `context.NAME`, the facts of the context (one that is not declared is the empty
    text), `context.extra`; `request.alias`, `request.operation`, `request.stream`;
    `request.input_tokens` (estimated), `request.max_tokens` (0 where the call does not say),
    `request.tools` and `request.messages` (how many); and `tags`.

    Attributes:
        text: As it was written.
        trusted: Whether it reads only what the caller cannot choose: neither tags nor what
            depends on messages and parameters.
        constant: What it always is, for one that reads nothing; else None.

    Raises:
        ValueError: It cannot be read, or asks for what is not there.
        ImportError: The extra `cel` is not installed.
    """

    def __init__(self, text: str) -> None:
        try:
            from cel import compile as compiled
        except ImportError:
            raise ImportError(
                "a CEL expression needs the extra cel: pip install 'llmgate-plugins[cel]'"
            ) from None
        self.text = text
        try:
            self._program = compiled(text)
        except ValueError as error:
            raise ValueError(_first_line(error)) from None
        strange = [name for name in self._program.variables() if name not in ("context", "request", "tags")]
        bare = _TEXTS.sub("''", text)
        self._reads = tuple(dict.fromkeys(_NAMES.findall(bare)))
        self._tags = "tags" in self._program.variables()
        self._check(strange)
        misfit = never_equal(bare)
        if misfit is not None:
            raise ValueError(f"{misfit}: these are never equal")
        self.trusted = not self._tags and not any(
            name in SIZES for where, name in self._reads if where == "request"
        )
        self.constant: bool | None = None
        self._known: dict[Hashable, bool] = {}
        if not self._reads and not self._tags:
            self.constant = self._true({})
        else:
            self._try()

    def _check(self, strange: list[str]) -> None:
        known = {"context": (*DECLARED, "extra"), "request": (*ASKED, *SIZES)}
        for where, name in self._reads:
            if name not in known[where]:
                raise ValueError(f"{where} has no {name}; it has {', '.join(known[where])}")
        used = set(self._program.variables())
        for where in known:
            if where in used and not any(where == read for read, _ in self._reads):
                raise ValueError(f"write {where}.NAME")
        bound = set(re.findall(r"\.\s*(?:all|exists|exists_one|filter|map)\s*\(\s*(\w+)", self.text))
        for name in strange:
            if name not in bound:
                raise ValueError(f"there is no {name!r}; known are context, request and tags")
        for name in self._program.functions():
            if name.isidentifier() and not name.startswith("_") and name not in _FUNCTIONS:
                raise ValueError(f"there is no function {name!r}")

    def holds(self, request: Request, context: Context, alias_of: Callable[[str], str]) -> bool:
        """Whether it is true of this call.

        Raises:
            Exception: It cannot be told, or is neither true nor false.
        """
        if self.constant is not None:
            return self.constant
        values = tuple([_value(where, name, request, context, alias_of) for where, name in self._reads])
        key: Hashable = (values, tuple(sorted(request.tags.items()))) if self._tags else values
        known = self._known.get(key)
        if known is not None:
            return known
        given: dict[str, Any] = {"context": {}, "request": {}, "tags": dict(request.tags)}
        for (where, name), value in zip(self._reads, values, strict=True):
            given[where][name] = dict(value) if name == "extra" else value
        answer = self._true(given)
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[key] = answer
        return answer

    def _try(self) -> None:
        """Raises `ValueError` if it can be of no use: its kinds do not go together, or it is no condition.

        It is tried with a call that declares nothing. What this call only lacks, a tag or a divisor,
        another may have.
        """
        given: dict[str, Any] = {"context": {}, "request": {}, "tags": {}}
        for where, name in self._reads:
            given[where][name] = _SAMPLES.get(name, "")
        try:
            answer = self._program.execute(given)
        except TypeError:
            raise ValueError(
                "compares or joins what does not go together: request.stream is true or false, "
                f"{', '.join(NUMBERS)} are whole numbers, all else is text"
            ) from None
        except Exception as error:  # noqa: BLE001 - whatever else the language may raise
            if found := _NO_METHOD.search(str(error)):
                raise ValueError(f"{found[1]} does not go with what it is asked of") from None
            return
        _as_bool(answer)

    def _true(self, given: Mapping[str, Any]) -> bool:
        return _as_bool(self._program.execute(dict(given)))


def _as_bool(answer: object) -> bool:
    if not isinstance(answer, bool):
        raise ValueError(f"the expression must be true or false, not {type(answer).__name__}")  # noqa: TRY004
    return answer


def _value(where: str, name: str, request: Request, context: Context, alias_of: Callable[[str], str]) -> Any:
    if where == "context":
        value = getattr(context, name)
        if name == "extra":
            return tuple(sorted(value.items()))
        return "" if value is None else value
    match name:
        case "alias":
            return alias_of(request.model)
        case "operation":
            return request.operation
        case "stream":
            return request.stream
        case "input_tokens":
            return estimate_usage(request, 0).input
        case "tools":
            return len(request.params.get("tools") or ())
        case "messages":
            return len(request.messages)
    asked = request.params.get("max_completion_tokens") or request.params.get("max_tokens")
    return asked if isinstance(asked, int) else 0


def _first_line(error: ValueError) -> str:
    """What is wrong, without the expression itself and without the list of all that might stand there."""
    text = str(error).partition("ERROR: <input>:")[2] or str(error)
    place, _, what = text.splitlines()[0].partition(": ")
    column = place.partition(":")[2]
    if not column.isdigit():
        return "no CEL expression"
    if "token recognition error at: '=" in what:
        what = "= is no comparison, write =="
    return f"column {column}: {what.partition(' expecting ')[0]}"
