"""`llmgate ...`: the command line. Importing this loads no command."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; what the console script `llmgate` calls."""
    try:
        from llmgate_plugins.cli._main import llmgate  # needs click, which is optional
    except ModuleNotFoundError as missing:
        if missing.name != "click":
            raise
        print("llmgate: the command line needs click: pip install 'llmgate-plugins[cli]'", file=sys.stderr)  # noqa: T201 - there is no click to print with
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    llmgate()
