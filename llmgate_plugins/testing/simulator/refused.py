"""A request that the real API would refuse, and where in it the mistake is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

__all__ = ["Refused", "path_of", "worst"]


class Refused(Exception):
    """The request is not acceptable.

    Args:
        message: In the provider's words.
        param: Which part of the request (OpenAI names it in the error body).
        code: The provider's error code, if it has one for this.
        status: HTTP status.
        type: The provider's error type; None for its "invalid request".
    """

    def __init__(
        self,
        message: str,
        param: str | None = None,
        code: str | None = None,
        *,
        status: int = 400,
        type: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.status = status
        self.type = type


def path_of(location: Sequence[int | str], body: Any) -> list[int | str]:
    """A place in a document, from pydantic's location: without the names of union members.

    A member's name can look like a field's ("text"); the reading that leads to the end
    of the location and drops least is the right one.
    """
    if not location:
        return []
    part, rest = location[0], location[1:]
    without = path_of(rest, body)
    if not _leads(part, body, last=not rest):
        return without
    here = body.get(part) if isinstance(body, Mapping) else body[part] if part in range(len(body)) else None
    with_it = [part, *path_of(rest, here)]
    arrives, arrives_without = with_it[-1] == location[-1], without[-1:] == [location[-1]]
    return with_it if (arrives, len(with_it)) >= (arrives_without, len(without)) else without


def _leads(part: int | str, body: Any, *, last: bool) -> bool:
    if isinstance(body, Mapping):
        return part in body or (last and not _is_member(str(part)))
    return isinstance(body, list) and isinstance(part, int)


def worst(error: ValidationError, body: Any) -> tuple[list[int | str], ErrorDetails]:
    """The problem that says most, and where it is.

    Of a value that fits no member of a union every member complains; the one that came
    deepest, or that liked the value's type, is the one that was meant.
    """
    placed = [(path_of(problem["loc"], body), problem) for problem in error.errors()]
    return max(placed, key=lambda one: (len(one[0]), not one[1]["type"].endswith("_type")))


def _is_member(part: str) -> bool:
    """Whether it is the name of a member of a union, not of a field."""
    return not part.islower() or "[" in part or part in {"str", "int", "float", "bool", "dict"}
