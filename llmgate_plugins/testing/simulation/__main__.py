"""Makes `python -m llmgate_plugins.testing.simulation` work."""

from __future__ import annotations

import sys

from llmgate_plugins.testing.simulation.command import main

if __name__ == "__main__":
    sys.exit(main())
