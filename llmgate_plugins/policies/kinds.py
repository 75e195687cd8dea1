"""Of which kind a fact is, and comparisons in CEL that can never come out otherwise.

Different kinds may be compared there, and are then never equal: what is meant as a condition is a
constant, and no trial finds it.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["NUMBERS", "SIZES", "never_equal"]

SIZES: Final = ("input_tokens", "max_tokens", "tools", "messages")
"""What `request` has besides what is asked for: how much, estimated from what the caller sends."""
NUMBERS: Final = ("priority", *SIZES)
"""Facts that are whole numbers."""

_FACT: Final = r"\b(?:context|request)\s*\.\s*\w+"
_VALUE: Final = r"''|-?\d[\w.]*|true\b|false\b|null\b"
_EQUALS: Final = re.compile(rf"({_FACT})\s*[!=]=\s*({_VALUE})")
_EQUALLED: Final = re.compile(rf"({_VALUE})\s*[!=]=\s*({_FACT})(?!\s*[\w.\[(])")
_IN: Final = re.compile(rf"({_FACT})\s+in\s*\[((?:\s*(?:{_VALUE})\s*,?)*)\]")


def never_equal(bare: str) -> str | None:
    """The first comparison of a fact with a value of another kind, in words; None if there is none.

    Only facts whose kind is known count: not tags, and not what an application adds of its own.

    Args:
        bare: The expression, with every text in it emptied.
    """
    pairs = [
        *_EQUALS.findall(bare),
        *((fact, value) for value, fact in _EQUALLED.findall(bare)),
        *((fact, value) for fact, values in _IN.findall(bare) for value in re.findall(_VALUE, values)),
    ]
    for fact, value in pairs:
        name = "".join(fact.split())
        is_, of_ = _kind_of_fact(name), _kind_of_value(value)
        if is_ != of_:
            return f"{name} is {is_}, and here is compared with {of_}"
    return None


def _kind_of_fact(name: str) -> str:
    rest = name.partition(".")[2]
    return "true or false" if rest == "stream" else "a number" if rest in NUMBERS else "text"


def _kind_of_value(value: str) -> str:
    if value == "''":
        return "text"
    return {"true": "true or false", "false": "true or false", "null": "nothing"}.get(value, "a number")
