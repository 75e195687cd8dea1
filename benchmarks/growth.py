"""How much memory a process has gained when it has made a million calls, of every kind and end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["measure_growth"]

MOST_MIB = 5.0
"""A million calls may add so much."""


def measure_growth(calls: int) -> dict[str, Any]:
    """What a fresh interpreter gains by so many calls, in MiB, after a warm-up that fills its buffers."""
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.growth", str(calls)], capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(ran.stdout)
    return {**found, "target_mib": MOST_MIB, "met": found["growth_mib"] <= MOST_MIB}


def _main(calls: int) -> None:
    import gc
    import os
    import time

    from benchmarks.core import ASKED, Instant, deployments, working_plugins
    from llmgate_plugins import Attempt, Context, Gateway, ProviderError, Request, Response
    from llmgate_plugins.ledger import MemoryLedger

    class Provider(Instant):
        """Fails one call in fifty, on every deployment."""

        sent = 0

        def send(self, attempt: Attempt, request: Request) -> Response:
            self.sent += 1
            if self.sent % 50 == 0:
                raise ProviderError("no", status=503)
            return self.whole

    def resident() -> float:
        gc.collect()
        with Path("/proc/self/statm").open() as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20

    # A ledger in memory keeps its last rows: here few, so that it is full when all begins.
    gateway = Gateway(
        deployments(), transport=Provider(), plugins=working_plugins(), ledger=MemoryLedger(limit=1_000)
    )
    who = [Context(team=f"team-{number % 20}", user=f"user-{number}") for number in range(200)]

    def call(number: int) -> None:
        context = who[number % len(who)]
        if number % 10 == 0:
            with_chunks = gateway.stream("fast", ASKED, context=context)
            for read, _ in enumerate(with_chunks):
                if read == 2 and number % 20 == 0:
                    break
            with_chunks.close()
        else:
            gateway.complete("fast", ASKED, context=context)

    for number in range(max(2_000, calls // 20)):
        call(number)
    before, began = resident(), time.process_time()
    for number in range(calls):
        call(number)
    took = time.process_time() - began
    growth = resident() - before
    print(json.dumps({"calls": calls, "growth_mib": growth, "cpu_us_per_call": took / calls * 1e6}))


if __name__ == "__main__":
    _main(int(sys.argv[1]))
