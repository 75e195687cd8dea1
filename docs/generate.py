"""Writes the pages that code tells: `python docs/generate.py`, with `--check` to compare only."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from posixpath import normpath

from generators import (
    classification,
    cli,
    configuration,
    errors,
    foreign,
    hooks,
    ledger,
    python,
    reasons,
    telemetry,
)

REFERENCE = Path(__file__).parent / "reference"
PAGES: dict[str, Callable[[], str]] = {
    "hooks.md": hooks.page,
    "configuration.md": configuration.page,
    "errors.md": errors.page,
    "cli.md": cli.page,
    "classification.md": classification.page,
    "ledger.md": ledger.page,
    "reasons.md": reasons.page,
    "telemetry.md": telemetry.page,
    "plugins.md": python.built_in_plugins,
    "python.md": python.top_level,
    "insight.md": python.insight_page,
    "testing.md": python.testing_kit,
    "../explanation/foreign-arguments.md": foreign.page,
}


def main(arguments: list[str]) -> int:
    """Write the pages, or say which are not what the code says."""
    stale = []
    for name, page in PAGES.items():
        file, text = REFERENCE / name, page()
        if file.exists() and file.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in arguments:
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
    verb = "is out of date: run python docs/generate.py" if "--check" in arguments else "written"
    for name in stale:
        sys.stdout.write(f"{normpath(f'docs/reference/{name}')} {verb}\n")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
