"""Turn YAML parser events into a `Document`, refusing what is dangerous before it is built."""

from __future__ import annotations

from typing import Any, Final, NoReturn

import yaml
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from yaml.nodes import ScalarNode

from llmgate_plugins.config.document import MAX_ALIASES, MAX_DEPTH, MAX_VALUES, Document, Place
from llmgate_plugins.errors import ConfigurationError, Problem

__all__ = ["compose"]

_Loader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_CORE: Final = "tag:yaml.org,2002:"
_SAFE_TAGS: Final = frozenset(_CORE + name for name in ("str", "int", "float", "bool", "null", "map", "seq"))
# Dates stay text: an `api_version: 2024-02-01` is meant as it is written.
_READ_AS: Final = frozenset(_CORE + name for name in ("int", "float", "bool", "null"))
_MERGE: Final = _CORE + "merge"


class _Item:
    """A value being built, with what it would weigh if every alias were written out."""

    __slots__ = ("depth", "key", "key_line", "merges", "open", "place", "value", "weight")

    def __init__(self, value: Any, line: int, *, weight: int = 1, open_: bool = False) -> None:
        self.value = value
        self.place = Place(line)
        self.weight = weight
        self.depth = 1
        self.open = open_
        self.key: str | None = None
        self.key_line = line
        self.merges: list[tuple[Any, Place]] = []


def compose(text: str, file: str | None) -> Document:
    """The document in a YAML text.

    Raises:
        ConfigurationError: No YAML, several documents, or beyond a limit.
    """
    composer = _Composer(file)
    try:
        for event in yaml.parse(text, Loader=_Loader):
            composer.take(event)
    except yaml.MarkedYAMLError as error:
        # Never str(error): it quotes the line, which may hold a key.
        mark = error.problem_mark or error.context_mark
        words = ", ".join(filter(None, (error.context, error.problem)))
        composer.refuse(
            f"not valid YAML: {words}", "mind indentation and quotes", mark.line + 1 if mark else None
        )
    except (yaml.YAMLError, ValueError) as error:
        what = getattr(error, "reason", None) or "it cannot be read"
        composer.refuse(f"not valid YAML: {what}", "remove control characters")
    return composer.document()


class _Composer:
    def __init__(self, file: str | None) -> None:
        self._file = file
        self._stack: list[_Item] = []
        self._anchors: dict[str, _Item] = {}
        self._aliases = 0
        self._values = 0
        self._documents = 0
        self._root: _Item | None = None
        self._problems: list[Problem] = []
        self._resolver: Any = yaml.SafeLoader("")

    def document(self) -> Document:
        root = self._root
        value, place = (root.value, root.place) if root is not None else (None, Place(1))
        return Document(value=value, place=place, file=self._file, problems=tuple(self._problems))

    def refuse(self, message: str, remedy: str, line: int | None = None) -> NoReturn:
        self._note(message, remedy, line)
        raise ConfigurationError(problems=self._problems) from None

    def take(self, event: Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark else 1
        match event:
            case DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    self.refuse("a second document begins here", "one file holds one; remove the ---", line)
            case AliasEvent():
                self._add(self._alias(event.anchor or "", line), line)
            case ScalarEvent():
                self._scalar(event, line)
            case MappingStartEvent() | SequenceStartEvent():
                self._open(event, line)
            case MappingEndEvent() | SequenceEndEvent():
                item = self._stack.pop()
                item.open = False
                self._merge(item)
                self._add(item, item.place.line or line)
            case DocumentEndEvent() | _:
                pass

    def _alias(self, name: str, line: int) -> _Item:
        self._aliases += 1
        if self._aliases > MAX_ALIASES:
            self.refuse(f"more than {MAX_ALIASES} aliases (*name)", "write the values out", line)
        item = self._anchors.get(name)
        if item is None:
            self.refuse(f"alias *{name} has no anchor &{name} before it", "define the anchor first", line)
        if item.open:
            self.refuse(f"alias *{name} stands inside its own anchor", "a value cannot hold itself", line)
        return item

    def _open(self, event: MappingStartEvent | SequenceStartEvent, line: int) -> None:
        self._check_tag(event.tag, line)
        if len(self._stack) >= MAX_DEPTH:
            self.refuse(f"nested more than {MAX_DEPTH} deep", "flatten it", line)
        if self._stack and isinstance(self._stack[-1].value, dict) and self._stack[-1].key is None:
            self.refuse("a key is a list or a mapping", "keys are plain text", line)
        item = _Item({} if isinstance(event, MappingStartEvent) else [], line, open_=True)
        self._stack.append(item)
        if event.anchor:
            self._anchors[event.anchor] = item

    def _scalar(self, event: ScalarEvent, line: int) -> None:
        parent = self._stack[-1] if self._stack else None
        if parent is not None and isinstance(parent.value, dict) and parent.key is None:
            if event.anchor:
                self._anchors[event.anchor] = _Item(event.value, line)
            merge = event.implicit[0] and event.value == "<<"
            self._begin_entry(parent, _MERGE if merge else event.value, line)
            return
        item = _Item(self._read(event, line), line, weight=1 + len(event.value) // 256)
        if event.anchor:
            self._anchors[event.anchor] = item
        self._add(item, line)

    def _read(self, event: ScalarEvent, line: int) -> Any:
        """The scalar's value by the rules of YAML 1.1, which LiteLLM's reader follows too."""
        self._check_tag(event.tag, line)
        tag = event.tag
        if tag is None or tag == "!":
            tag = self._resolver.resolve(ScalarNode, event.value, event.implicit)
        if tag not in _READ_AS:
            return event.value
        try:
            return self._resolver.construct_object(ScalarNode(tag, event.value))
        except (yaml.YAMLError, ValueError, KeyError, IndexError, OverflowError):
            self._note(f"this is no {tag.removeprefix(_CORE)}", "put it in quotes if it is text", line)
            return event.value

    def _begin_entry(self, parent: _Item, key: str, line: int) -> None:
        if key in parent.value or (key == _MERGE and _MERGE in parent.place.parts):
            shown = "<<" if key == _MERGE else key
            first = parent.place.parts[key].line
            self._note(f"duplicate key {shown!r}, first on line {first}", "keep one of them", line)
        parent.key, parent.key_line = key, line

    def _add(self, item: _Item, line: int) -> None:
        """Put a finished value where it belongs, weighing it with aliases followed."""
        if not self._stack:
            self._root = item
            return
        parent = self._stack[-1]
        if isinstance(parent.value, dict) and parent.key is None:  # an alias as a key
            if not isinstance(item.value, str):
                self.refuse("a key is not plain text", "write the key out", line)
            self._begin_entry(parent, item.value, line)
            return
        parent.weight += item.weight
        parent.depth = max(parent.depth, item.depth + 1)
        if parent.weight > MAX_VALUES:
            self.refuse(f"more than {MAX_VALUES:,} values once aliases are followed", "make it smaller", line)
        if parent.depth > MAX_DEPTH:
            self.refuse(f"nested more than {MAX_DEPTH} deep once aliases are followed", "flatten it", line)
        if isinstance(parent.value, list):
            parent.place.parts[len(parent.value)] = Place(line, item.place.parts)
            parent.value.append(item.value)
            return
        key, parent.key = parent.key, None
        if key == _MERGE:
            parent.place.parts[_MERGE] = Place(parent.key_line)
            merged = item.value if isinstance(item.value, list) else [item.value]
            parent.merges = [(value, item.place) for value in merged]
        elif key is not None:
            parent.value[key] = item.value
            parent.place.parts[key] = Place(parent.key_line, item.place.parts)

    def _merge(self, item: _Item) -> None:
        """`<<: *other`: take over what the mapping itself does not say."""
        for value, place in item.merges:
            if not isinstance(value, dict):
                line = item.place.parts[_MERGE].line
                self._note("<< takes a mapping or a list of mappings", "merge a mapping", line)
                continue
            for key, inner in value.items():
                if key not in item.value:
                    item.value[key] = inner
                    item.place.parts[key] = place.parts.get(key, place)

    def _check_tag(self, tag: str | None, line: int) -> None:
        if tag is not None and tag != "!" and tag not in _SAFE_TAGS:
            shown = tag.removeprefix(_CORE)
            self._note(f"the tag !!{shown} is not allowed", "plain values only; remove the tag", line)

    def _note(self, message: str, remedy: str, line: int | None) -> None:
        self._problems.append(Problem(message=message, remedy=remedy, file=self._file, line=line))
