"""Short names for long things: who asks under which id, and what is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

from llmgate_plugins.context import Context
from llmgate_plugins.policies import Policy, asked_by
from llmgate_plugins.types import Request

__all__ = ["fingerprint_of", "key_of"]

IDENTITY: Final = tuple(name for name in Context.__dataclass_fields__ if name != "priority")
"""Every fact of who is calling and under which rules; how urgent it is makes nobody another."""


def key_of(call_id: str, context: Context, policies: Iterable[Policy] = ()) -> str:
    """Where the result of this id is kept: another caller's id of the same name is another key.

    Args:
        policies: All that hold for the call. An answer is kept for whom the same is asked of deployments:
            what was made in one region is not told where another is asked for.
    """
    identity = [call_id, *(getattr(context, name) for name in IDENTITY)]
    asked = asked_by(policies)
    return _digest([*identity, asked] if asked else identity)


def fingerprint_of(request: Request) -> str:
    """The same for requests that ask the same, streamed or not."""
    said = [
        (
            message.role,
            message.content,
            message.name,
            message.tool_call_id,
            [(call.id, call.name, call.arguments) for call in message.tool_calls],
        )
        for message in request.messages
    ]
    return _digest([request.operation, request.model, said, request.params])


def _digest(value: Any) -> str:
    pieces: list[bytes] = []
    _write(value, pieces)
    return blake2b(b"".join(pieces), digest_size=32).hexdigest()


def _write(value: Any, out: list[bytes]) -> None:
    """Every part with its kind and its length before it, so that no two values look the same."""
    if isinstance(value, str):
        _piece(b"s", value.encode("utf-8", "surrogatepass"), out)
    elif isinstance(value, Mapping):
        out.append(b"m%d:" % len(value))
        for name in sorted(value, key=str):
            _write(name, out)
            _write(value[name], out)
    elif isinstance(value, bytes | bytearray):
        _piece(b"b", bytes(value), out)
    elif isinstance(value, Sequence):
        out.append(b"l%d:" % len(value))
        for one in value:
            _write(one, out)
    elif value is None or isinstance(value, bool | int | float):
        _piece(b"v", repr(value).encode(), out)
    else:
        _write_object(value, out)


def _write_object(value: Any, out: list[bytes]) -> None:
    """A class by its name (a schema to answer in); anything else by what it holds, as far as it says.

    Never by its `repr`, which may hold an address and so differ from one run to the next.
    """
    kind = value if isinstance(value, type) else type(value)
    _piece(b"o", f"{kind.__module__}.{kind.__qualname__}".encode(), out)
    dump = getattr(value, "model_dump", None)
    if kind is not value and callable(dump):
        _write(dump(), out)


def _piece(kind: bytes, value: bytes, out: list[bytes]) -> None:
    out.append(b"%b%d:" % (kind, len(value)))
    out.append(value)
