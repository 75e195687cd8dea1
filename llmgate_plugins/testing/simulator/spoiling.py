"""What a fault makes of a healthy answer's content, before it is sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from llmgate_plugins.testing.faults import Fault
from llmgate_plugins.testing.simulator.wire import Events

__all__ = ["SPOILING", "in_odd_lines", "spoiled"]

SPOILING: Final = frozenset(
    {
        *("no_choices", "null_choices", "no_usage", "odd_usage", "usage_twice", "no_done"),
        *("duplicate", "duplicate_finish", "repeat", "odd_lines", "unended", "huge", "deep"),
    }
)
"""The faults that are in what is sent, not in how."""

REPEATS: Final = 150
"""How often "repeat" sends the same piece: more often than any reader should bear."""
HUGE: Final = 8 * 1024 * 1024
"""Bytes of what "huge" adds."""
DEEP: Final = 150
"""Levels of what "deep" adds."""

_ABSURD: Final[Mapping[str, Any]] = {
    "prompt_tokens": -5,
    "completion_tokens": 10**12,
    "total_tokens": "7",
    "input_tokens": -5,
    "output_tokens": 10**12,
}

Edit = Callable[[dict[str, Any]], None]


def spoiled(fault: Fault, whole: bytes, events: Events | None) -> tuple[bytes, Events | None]:
    """The answer's body and events as this fault has them; unchanged for faults of another sort."""
    edit = _edit_of(fault)
    if edit is not None:
        whole = _edited_json(whole, edit)
        events = events and _edited_events(events, edit)
    return _larger(fault, whole), events and _rearranged(fault, events)


def _edit_of(fault: Fault) -> Edit | None:
    match fault.kind:
        case "no_choices":
            return lambda data: _replace(data, ("choices", "content"), [])
        case "null_choices":
            return lambda data: _replace(data, ("choices", "content"), None)
        case "no_usage":
            return lambda data: _each_usage(data, lambda usage: usage.clear())
        case "odd_usage":
            told = _ABSURD if fault.body is None else fault.body
            return lambda data: _each_usage(data, lambda usage: _overwrite(usage, told))
        case _:
            return None


def _rearranged(fault: Fault, events: Events) -> Events:
    head, body, tail = events.head, events.body, events.tail
    match fault.kind:
        case "no_choices" | "null_choices":
            body = ()
        case "usage_twice":
            tail = [one for event in tail for one in ((event, event) if b'"usage": {' in event else (event,))]
        case "duplicate":
            numbered = [_numbered(event, number) for number, event in enumerate((*head, *body, *tail))]
            last = len(numbered) - len(tail)
            head, tail = (), [one for event in numbered[last:] for one in (event, event)]
            body = [one for event in numbered[:last] for one in (event, event)]
        case "duplicate_finish":
            tail = [one for event in tail for one in ((event, event) if _finishes(event) else (event,))]
        case "no_done" | "unended":
            tail = tail[:-1]
        case "repeat":
            body = [*body[:1], *[_middle(body)] * REPEATS]
        case "huge":
            body = _with_middle(body, _padded)
        case "deep":
            body = _with_middle(body, _nested)
        case _:
            pass
    return Events(head=head, body=body, tail=tail)


def _middle(body: Sequence[bytes]) -> bytes:
    """A piece that neither begins nor ends a block."""
    return body[len(body) // 2] if body else b""


def _with_middle(body: Sequence[bytes], change: Callable[[bytes], bytes]) -> Sequence[bytes]:
    middle = len(body) // 2
    return [change(event) if number == middle else event for number, event in enumerate(body)]


def _numbered(event: bytes, number: int) -> bytes:
    return b"id: %d\n" % number + event


def _finishes(event: bytes) -> bytes | bool:
    return b'"finish_reason": "' in event or b'"type": "message_delta"' in event


def _edited_json(whole: bytes, edit: Edit) -> bytes:
    data = json.loads(whole)
    edit(data)
    return json.dumps(data, ensure_ascii=False).encode()


def _edited_events(events: Events, edit: Edit) -> Events:
    parts = [
        [_edited_event(event, edit) for event in part] for part in (events.head, events.body, events.tail)
    ]
    return Events(head=parts[0], body=parts[1], tail=parts[2])


def _edited_event(event: bytes, edit: Edit) -> bytes:
    name, mark, data = event.partition(b"data: ")
    if event.count(b"data: ") != 1 or not data.startswith(b"{"):
        return event  # the end mark, or a block with its first piece: nothing of interest is in it
    return name + mark + _edited_json(data, edit) + b"\n\n"


def _replace(data: dict[str, Any], names: Sequence[str], value: Any) -> None:
    for part in (data, data.get("message")):
        for name in names:
            if isinstance(part, dict) and isinstance(part.get(name), list):
                part[name] = value


def _each_usage(data: dict[str, Any], edit: Edit) -> None:
    for part in (data, data.get("message")):
        if isinstance(part, dict) and isinstance(part.get("usage"), dict):
            edit(part["usage"])
            if not part["usage"]:
                part["usage"] = None


def _overwrite(usage: dict[str, Any], told: Mapping[str, Any]) -> None:
    usage.update({name: value for name, value in told.items() if name in usage})


def _padded(event: bytes) -> bytes:
    return event.replace(b"data: {", b'data: {"padding": "%s", ' % (b"x" * HUGE), 1)


def _nested(event: bytes) -> bytes:
    return event.replace(b"data: {", b'data: {"nested": %s%s, ' % (b"[" * DEEP, b"]" * DEEP), 1)


def _larger(fault: Fault, whole: bytes) -> bytes:
    if fault.kind == "huge":
        return b'{"padding": "%s", ' % (b"x" * HUGE) + whole[1:]
    if fault.kind == "deep":
        return b'{"nested": %s%s, ' % (b"[" * DEEP, b"]" * DEEP) + whole[1:]
    return whole


def in_odd_lines(events: Sequence[bytes]) -> Iterator[bytes]:
    """The same events in pieces that only a careful reader puts together."""
    yield b": a comment\n\n: " + b"x" * 1_000_000 + b"\n\n"
    for number, event in enumerate(events):
        ending = (b"\n", b"\r\n", b"\r")[number % 3]
        text = event.replace(b"\n", ending) + b":" + ending
        yield from (text[start : start + 7] for start in range(0, len(text), 7))
