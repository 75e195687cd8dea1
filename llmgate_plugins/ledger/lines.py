"""A row as a file has it: a line with a checksum (CRC-32, eight hex digits), a space, and JSON.

The JSON is a step, as an object, or [kind, facts]: see `ledger.facts`.
"""

from __future__ import annotations

from typing import Any
from zlib import crc32

from pydantic_core import from_json

from llmgate_plugins.ledger.entries import Brief, Step, certain_step
from llmgate_plugins.ledger.plain import json_bytes
from llmgate_plugins.records import DecisionRecord

__all__ = ["brief_line", "step_in", "step_line"]


def step_line(step: Step) -> bytes:
    """The line of a step."""
    return _line({"kind": step.kind, "values": step.values})


def brief_line(row: Brief) -> bytes:
    """The line of what a step will be made of."""
    return _line(row[0])


def _line(value: object) -> bytes:
    text = json_bytes(value)
    return b"%08x %s\n" % (crc32(text), text)


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
        kind, facts = read
        return certain_step(((kind, facts), record))
    return Step(read["kind"], read["values"])
