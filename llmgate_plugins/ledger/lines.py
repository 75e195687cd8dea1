"""A row as a file has it: a line with a checksum (CRC-32, eight hex digits), a space, and JSON.

The JSON is a step, as an object, or facts, as an array: see `ledger.facts`.
"""

from __future__ import annotations

from typing import Any, Final
from zlib import crc32

from pydantic_core import from_json

from llmgate_plugins.ledger.entries import Step, certain_step
from llmgate_plugins.ledger.facts import Facts
from llmgate_plugins.ledger.plain import json_bytes, quick_json
from llmgate_plugins.records import DecisionRecord

__all__ = ["brief_line", "step_in", "step_line"]

_LINE: Final = b"%08x %s\n"
_dumps: Final = quick_json()


def step_line(step: Step) -> bytes:
    """The line of a step."""
    text = json_bytes({"kind": step.kind, "values": step.values})
    return _LINE % (crc32(text), text)


def brief_line(facts: Facts) -> bytes:
    """The line of what a step will be made of."""
    try:
        text = _dumps(facts)
    except (TypeError, ValueError):  # not JSON, half a surrogate, or a number of more than 64 bits
        text = json_bytes(facts)
    return _LINE % (crc32(text), text)


def step_in(line: bytes, record: DecisionRecord | None = None) -> Step | None:
    """The step that a line tells; None if the line is not whole.

    Args:
        record: What has more to say of a closed call.
    """
    text = line[9:-1]
    try:
        if line[-1:] != b"\n" or int(line[:8], 16) != crc32(text):
            return None
        read: Any = from_json(text)
    except ValueError:
        return None
    if isinstance(read, list):
        return certain_step(tuple(read), record)
    return Step(read["kind"], read["values"])
