"""Installed distributions with plugins, as pip would leave them."""

from __future__ import annotations

import importlib
from pathlib import Path

__all__ = ["distribution"]

PLUGIN = """
import sys
sys.modules.setdefault("loaded_marker_{name}", sys)
from llmgate_plugins import hookimpl

class Limit:
    def __init__(self, most=1):
        self.most = most

    @hookimpl
    def admit_request(self, request): ...

ready = Limit(9)
def broken():
    raise RuntimeError("cannot start")
"""


def distribution(
    folder: Path,
    name: str,
    version: str,
    entries: dict[str, str],
    source: str = PLUGIN,
    group: str = "llmgate",
) -> None:
    """One with these entry points; `{name}` in the source is its module."""
    module = name.replace("-", "_")
    (folder / f"{module}.py").write_text(source.replace("{name}", module))
    info = folder / f"{module}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    points = "\n".join(f"{key} = {value}" for key, value in entries.items())
    (info / "entry_points.txt").write_text(f"[{group}]\n{points}\n" if entries else "")
    importlib.invalidate_caches()  # a folder that changed twice within a tick of its clock is not read again
