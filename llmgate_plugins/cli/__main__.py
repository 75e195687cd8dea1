"""`python -m llmgate_plugins.cli`."""

from __future__ import annotations

from llmgate_plugins.cli import main

if __name__ == "__main__":
    main()
