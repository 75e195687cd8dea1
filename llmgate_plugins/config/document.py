"""A document as plain values, with the line of every one of them, and how large it may be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmgate_plugins.errors import ConfigurationError, Problem

__all__ = [
    "MAX_ALIASES",
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_VALUES",
    "Document",
    "Place",
    "plain_document",
    "refusal",
]

MAX_BYTES = 1024 * 1024
"""The longest document that is read."""
MAX_DEPTH = 50
"""The deepest nesting, counted with aliases followed."""
MAX_ALIASES = 100
"""The most uses of an anchor (`*name`)."""
MAX_VALUES = 100_000
"""The most values, counted with aliases followed; a long text counts for several."""

Path_ = tuple[str | int, ...]


@dataclass(slots=True)
class Place:
    """Where a value stands, and where its parts do. Holds no values, so it may be kept.

    Attributes:
        line: Counted from 1; None if the value is not from a file.
        parts: Key or index -> place of what stands there.
        file: The file it stands in, with its parts; None for that of what is around it.
    """

    line: int | None = None
    parts: dict[str | int, Place] = field(default_factory=dict)
    file: str | None = None

    def line_of(self, path: Sequence[str | int]) -> int | None:
        """The line of what stands at this path, or of the nearest thing around it."""
        *_, nearest = self._along(path)
        return nearest.line

    def file_of(self, path: Sequence[str | int]) -> str | None:
        """The file that this stands in, if it is another one than the document's."""
        return next((place.file for place in self._along(path) if place.file is not None), None)

    def _along(self, path: Sequence[str | int]) -> Iterator[Place]:
        place: Place | None = self
        steps = iter(path)
        while place is not None:
            yield place
            step = next(steps, None)
            place = None if step is None else place.parts.get(step) or place._entry(step)

    def _entry(self, key: str | int) -> Place | None:
        """The entry of this key in a list of one-key mappings, as LiteLLM writes fallbacks."""
        if isinstance(key, int) or 0 not in self.parts:
            return None
        return next((place.parts[key] for place in self.parts.values() if key in place.parts), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document as plain values: mappings with text keys, lists, text, numbers, truth values, None.

    Attributes:
        value: The content. Parts that are named by an alias are one and the same object.
        place: Lines of `value`.
        file: Where it came from, for messages.
        problems: What is wrong with it as YAML, such as duplicate keys.
    """

    value: Any
    place: Place
    file: str | None = None
    problems: tuple[Problem, ...] = ()


def plain_document(source: Mapping[Any, Any]) -> Document:
    """The document in Python objects, copied into plain containers.

    Raises:
        ConfigurationError: It is nested deeper or holds more than a file may.
    """
    budget = [MAX_VALUES]

    def plain(value: Any, depth: int) -> Any:
        budget[0] -= 1
        if depth > MAX_DEPTH:
            raise refusal(f"nested more than {MAX_DEPTH} deep", "is there a cycle in it?")
        if budget[0] < 0:
            raise refusal(f"holds more than {MAX_VALUES:,} values", "is there a cycle in it?")
        if isinstance(value, Mapping):
            return {str(key): plain(inner, depth + 1) for key, inner in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [plain(inner, depth + 1) for inner in value]
        return value

    return Document(value=plain(source, 0), place=Place())


def refusal(
    message: str, remedy: str, file: str | None = None, line: int | None = None
) -> ConfigurationError:
    """Why there is no document."""
    return ConfigurationError(problems=[Problem(message=message, remedy=remedy, file=file, line=line)])
