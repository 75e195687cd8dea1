"""Values that conform to a JSON schema, taken from a text where the text suggests them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["value_for"]

_DEEPEST = 6
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_QUOTED = re.compile(r"['\"“「]([^'\"“”「」]+)['\"”」]")
_PLACE = re.compile(r"\b(?:in|at|for|of|from|to|near)\s+((?:[A-Z][\w.'-]*)(?:,?\s+[A-Z][\w.'-]*)*)")
_PLACES = ("location", "city", "place", "country", "town", "region", "destination")
_WHOLE = ("query", "question", "text", "prompt", "message", "content", "input", "request")
_FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
}


def value_for(schema: Mapping[str, Any], text: str) -> Any:
    """A value that conforms to the schema.

    Numbers, quoted words and places are taken from the text in order of appearance;
    the same schema and text always give the same value.
    """
    return _Filler(schema, text).value(schema, name="", depth=0)


class _Filler:
    def __init__(self, root: Mapping[str, Any], text: str) -> None:
        self.root = root
        self.text = text
        self.numbers: Iterator[str] = iter(_NUMBER.findall(text))
        self.quoted: Iterator[str] = iter(_QUOTED.findall(text))
        self.places: Iterator[str] = iter(_PLACE.findall(text))

    def value(self, schema: Any, name: str, depth: int) -> Any:
        if not isinstance(schema, Mapping):  # `true`: anything goes
            return {}
        schema = self.resolved(schema)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self.chosen(schema["enum"])
        options = schema.get("anyOf") or schema.get("oneOf")
        if options:
            wanted = [option for option in options if self.resolved(option).get("type") != "null"]
            if not wanted or (depth > _DEEPEST and len(wanted) < len(options)):
                return None
            return self.value(wanted[0], name, depth + 1)
        return self.of_type(self.type_of(schema), schema, name, depth)

    def resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        merged: dict[str, Any] = dict(schema)
        for _ in range(16):  # a chain of references is short; a circle of them would not end
            reference = merged.pop("$ref", None)
            if reference is None:
                break
            merged = {**self.at(str(reference)), **merged}
        for part in merged.pop("allOf", ()):
            part = self.resolved(part)
            properties = {**merged.get("properties", {}), **part.get("properties", {})}
            required = [*merged.get("required", ()), *part.get("required", ())]
            merged = {**part, **merged}
            if properties:
                merged |= {"properties": properties, "required": required}
        return merged

    def at(self, reference: str) -> Mapping[str, Any]:
        found: Any = self.root
        for part in reference.removeprefix("#").strip("/").split("/"):
            if part:
                found = found.get(part.replace("~1", "/").replace("~0", "~"), {})
        return found if isinstance(found, Mapping) else {}

    def type_of(self, schema: Mapping[str, Any]) -> str:
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = next((one for one in kind if one != "null"), "null")
        if kind is None:
            kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
        return str(kind)

    def of_type(self, kind: str, schema: Mapping[str, Any], name: str, depth: int) -> Any:
        match kind:
            case "object":
                return self.object(schema, depth)
            case "array":
                return self.array(schema, name, depth)
            case "integer" | "number":
                return self.number(schema, whole=kind == "integer")
            case "boolean":
                return True
            case "null":
                return None
            case _:
                return self.string(schema, name)

    def object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        required = schema.get("required", ())
        return {
            name: self.value(part, name, depth + 1)
            for name, part in schema.get("properties", {}).items()
            if name in required or depth < _DEEPEST
        }

    def array(self, schema: Mapping[str, Any], name: str, depth: int) -> list[Any]:
        least = int(schema.get("minItems", 0))
        count = least if depth >= _DEEPEST else max(least, 1)
        return [self.value(schema.get("items", {"type": "string"}), name, depth + 1) for _ in range(count)]

    def chosen(self, options: list[Any]) -> Any:
        said = self.text.lower()
        return next((one for one in options if isinstance(one, str) and one.lower() in said), options[0])

    def number(self, schema: Mapping[str, Any], *, whole: bool) -> float:
        found = float(next(self.numbers, "1"))
        step = schema.get("multipleOf", 1 if whole else None)
        lowest = schema.get("minimum", _beyond(schema.get("exclusiveMinimum"), step or 0.5))
        highest = schema.get("maximum", _beyond(schema.get("exclusiveMaximum"), -(step or 0.5)))
        if step:
            found = round(found / step) * step
        if lowest is not None:
            found = max(found, lowest)
        if highest is not None:
            found = min(found, highest)
        return int(found) if whole else found

    def string(self, schema: Mapping[str, Any], name: str) -> str:
        value = _FORMATS.get(schema.get("format", "")) or self.words(name)
        return value.ljust(int(schema.get("minLength", 0)), ".")[: schema.get("maxLength")]

    def words(self, name: str) -> str:
        if name.lower() in _PLACES:
            found = next(self.places, None) or next(self.quoted, None)
        elif name.lower() in _WHOLE:
            return self.text
        else:
            found = next(self.quoted, None)
        return found or f"{name.replace('_', ' ') or 'value'} for: {self.text[:60]}"


def _beyond(bound: float | None, step: float) -> float | None:
    return None if bound is None else bound + step
