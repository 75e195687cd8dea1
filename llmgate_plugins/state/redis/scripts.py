"""The scripts that run inside the server, and how they are asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

__all__ = ["ADD", "CONNECT", "RESERVE", "SEED", "SETTLE", "SPENT", "Script", "packed"]

_LUA: Final = Path(__file__).with_name("lua")


class Script:
    """One script: what all have in common, then its own part."""

    __slots__ = ("name", "sha", "source")

    def __init__(self, name: str, *, common: bool = True) -> None:
        self.name = name
        begin = f"local CONNECTING = {'true' if name == 'connect' else 'false'}\n"
        parts = [begin, (_LUA / "common.lua").read_text("utf-8")] if common else []
        self.source = "".join([*parts, (_LUA / f"{name}.lua").read_text("utf-8")]).encode()
        self.sha = hashlib.sha1(self.source, usedforsecurity=False).hexdigest()


def packed(parts: Sequence[str | bytes | int]) -> bytes:
    """A command as it is sent."""
    told = [b"*%d\r\n" % len(parts)]
    for part in parts:
        text = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
        told.append(b"$%d\r\n%b\r\n" % (len(text), text))
    return b"".join(told)


CONNECT: Final = Script("connect")
RESERVE: Final = Script("reserve")
SETTLE: Final = Script("settle")
SEED: Final = Script("seed")
SPENT: Final = Script("spent")
ADD: Final = Script("add", common=False)
