"""Say in plain words what is wrong and where, without ever quoting what was written."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError

from llmgate_plugins.config.document import Place
from llmgate_plugins.errors import Problem

__all__ = ["Locator", "closest", "document_path", "explain", "in_order", "shown"]

Path = tuple[str | int, ...]

_EXPECTED: Final[Mapping[str, str]] = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "decimal_type": "a number",
    "decimal_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


@dataclass(frozen=True, slots=True)
class Locator:
    """Knows file and line of each part of a document."""

    file: str | None = None
    place: Place = field(default_factory=Place, repr=False)

    def line_of(self, path: Path) -> int | None:
        """The line of what stands at this path, or of the nearest thing around it."""
        return self.place.line_of(path)

    def problem(self, path: Path, message: str, remedy: str = "", *, severity: str = "error") -> Problem:
        """A problem with what stands at this path."""
        return Problem(
            message=message,
            remedy=remedy,
            file=self.place.file_of(path) or self.file,
            line=self.place.line_of(path),
            path=shown(path),
            severity=severity,
        )


def shown(path: Iterable[str | int]) -> str:
    """A path as people write it: "model_list[2].litellm_params.model"."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def closest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """A remedy that names the known word nearest to this one; empty if none is near."""
    near = difflib.get_close_matches(word, [name for name in known if name != word], n=1, cutoff=cutoff)
    return f"did you mean {near[0]}?" if near else ""


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """The same, in the order of the file."""
    return tuple(sorted(problems, key=lambda problem: problem.line or 0))


def explain(error: ValidationError, value: Any, model: type[BaseModel], locator: Locator) -> list[Problem]:
    """Every mistake pydantic found, as problems, in the order of the file."""
    problems: dict[tuple[str, str], Problem] = {}
    for found in error.errors(include_url=False):
        path = document_path(found["loc"], value)
        message, remedy = _words(found, model)
        problem = locator.problem(path, message, remedy)
        problems.setdefault((problem.path, problem.message), problem)
    return sorted(problems.values(), key=lambda problem: problem.line or 0)


def _words(found: Any, model: type[BaseModel]) -> tuple[str, str]:
    kind, context, given = found["type"], found.get("ctx", {}), found.get("input")
    name = str(found["loc"][-1]) if found["loc"] else ""
    if kind == "extra_forbidden":
        return _unknown_key(name, _sections_at(model, found["loc"][:-1]))
    if kind == "missing":
        return f"{name} is missing", f"add {name}: ..."
    if kind == "literal_error":
        return _unknown_word(given, str(context["expected"]))
    if kind in _EXPECTED:
        return _wrong_kind(_EXPECTED[kind], given)
    if kind in ("too_short", "string_too_short"):
        return "is empty", "write at least one" if kind == "too_short" else "write something"
    limits = {
        "greater_than_equal": "at least",
        "greater_than": "more than",
        "less_than_equal": "at most",
        "less_than": "less than",
    }
    if kind in limits:
        limit = next(iter(context.values()))
        return f"must be {limits[kind]} {limit:g}", "change the number"
    if kind == "value_error":  # `Secret` says in its own words what it takes
        return str(context["error"]), ""
    # Our own kinds carry their remedy in the message, after a semicolon.
    message, _, remedy = str(found["msg"]).partition("; ")
    return message, remedy


def _unknown_key(name: str, sections: Iterable[type[BaseModel]]) -> tuple[str, str]:
    fields = {key: info.annotation for one in sections for key, info in one.model_fields.items()}
    within = [key for key, kind in fields.items() if name in _keys(_sections_in(kind))]
    remedy = closest(name, fields, 0.8)
    if not remedy and len(within) == 1:
        remedy = f"it belongs under {within[0]}"
    remedy = remedy or closest(name, fields)
    if not remedy and len(fields) <= 12:
        remedy = "known here: " + ", ".join(fields)
    return f"unknown key {name!r}", remedy or "remove it"


def _unknown_word(given: Any, expected: str) -> tuple[str, str]:
    words = [word.strip().strip("'") for word in expected.replace(" or ", ", ").split(",")]
    remedy = closest(given, words) if isinstance(given, str) and len(given) < 40 else ""
    return "must be " + (f"one of {', '.join(words)}" if len(words) > 1 else words[0]), remedy


def _wrong_kind(expected: str, given: Any) -> tuple[str, str]:
    if given is None:
        return f"is empty, must be {expected}", "write a value"
    kinds = ((bool, "true or false"), (int | float, "a number"), (str, "text"), (Mapping, "a mapping"))
    actual = next((words for kind, words in kinds if isinstance(given, kind)), "a list")
    remedy = ""
    if expected == "text" and isinstance(given, bool):
        remedy = "YAML reads an unquoted yes, no, on or off so; put it in quotes"
    elif expected == "text" and isinstance(given, int | float):
        remedy = "put it in quotes"
    elif "number" in expected and isinstance(given, str) and any(map(str.isdigit, given)):
        remedy = "write the number alone, without quotes, signs or units"
    elif expected == "a list" and isinstance(given, str | Mapping):
        remedy = "begin each entry with a dash, -"
    message = f"must be {expected}" + ("" if actual == expected else f", not {actual}")
    return message, remedy


def document_path(loc: tuple[str | int, ...], value: Any) -> Path:
    """pydantic's path without what it adds itself: names of union members, "[key]"."""
    path: list[str | int] = []
    for index, step in enumerate(loc):
        if isinstance(value, Mapping):
            if step in value:
                value = value[str(step)]
            elif index < len(loc) - 1 or str(step).startswith(("(", "[")):
                continue
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            continue
        path.append(step)
    return tuple(path)


def _sections_at(model: type[BaseModel], loc: tuple[str | int, ...]) -> list[type[BaseModel]]:
    """The sections that may stand at this path, found by walking the types of the fields."""
    sections: list[type[BaseModel]] = [model]
    for step in loc:
        fields = [
            s.model_fields[step].annotation
            for s in sections
            if isinstance(step, str) and step in s.model_fields
        ]
        if fields:
            sections = [inner for annotation in fields for inner in _sections_in(annotation)]
    return sections


def _keys(sections: Iterable[type[BaseModel]]) -> set[str]:
    return {name for section in sections for name in section.model_fields}


def _sections_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for argument in get_args(annotation) for section in _sections_in(argument)]
