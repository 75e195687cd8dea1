"""What importing costs: CPU and memory of fresh interpreters, one import each, in turn."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from typing import Any

__all__ = ["IMPORTS", "measure_imports"]

CORE = "import pluggy, pydantic, opentelemetry.trace; from pydantic import BaseModel"
LANGCHAIN = "import langchain_core.language_models.chat_models"

IMPORTS: dict[str, tuple[str, str | None, float | None]] = {
    "pluggy, pydantic, opentelemetry-api": (CORE, None, None),
    "llmgate_plugins": (f"{CORE}; import llmgate_plugins", "pluggy, pydantic, opentelemetry-api", 60.0),
    "llmgate_plugins.Gateway": (
        f"{CORE}; from llmgate_plugins import Gateway",
        "pluggy, pydantic, opentelemetry-api",
        None,
    ),
    "langchain_core": (LANGCHAIN, None, None),
    "langchain_llmgate": (f"{LANGCHAIN}; import langchain_llmgate", "langchain_core", 80.0),
    "openai": ("import openai", None, None),
    "litellm": ("import litellm", None, None),
    "litellm_llmgate": ("import litellm_llmgate", None, None),
}
"""Name -> (code, what it is measured above, milliseconds it may add)."""

PROBE = (
    "import time; t = time.process_time()\n{code}\nt = time.process_time() - t\n"
    "import os; pages = int(open('/proc/self/statm').read().split()[1])\n"
    "print(t * 1e3, pages * os.sysconf('SC_PAGESIZE') / 2**20)"
)
"""Resident memory as it is now: the peak that `getrusage` tells is inherited from this process."""


def measure_imports(rounds: int) -> list[dict[str, Any]]:
    """Milliseconds of CPU and megabytes, medians, and what each adds to its base."""
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # a user's interpreter keeps its bytecode
    times: dict[str, list[float]] = {name: [] for name in IMPORTS}
    sizes: dict[str, list[float]] = {name: [] for name in IMPORTS}
    warm_up = rounds > 1  # one round only asks whether everything runs
    for number in range(rounds + warm_up):
        for name, (code, _, _) in IMPORTS.items():
            ran = subprocess.run(
                [sys.executable, "-c", PROBE.format(code=code)],
                capture_output=True,
                text=True,
                check=True,
                env=environment,
            )
            took, size = map(float, ran.stdout.split()[-2:])
            if number or not warm_up:
                times[name].append(took)
                sizes[name].append(size)
    rows = []
    for name, (_, base, most) in IMPORTS.items():
        added = (
            statistics.median(a - b for a, b in zip(times[name], times[base], strict=True)) if base else None
        )
        rows.append(
            {
                "import": name,
                "cpu_ms": statistics.median(times[name]),
                "rss_mb": statistics.median(sizes[name]),
                "added_ms": added,
                "above": base,
                "target_ms": most,
                "met": added <= most if added is not None and most is not None else None,
            }
        )
    return rows
