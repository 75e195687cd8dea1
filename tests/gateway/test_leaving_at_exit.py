"""A program that ends with an answer half read still has its books in order."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from llmgate_plugins.ledger import open_ledger

PROGRAM = """
import asyncio, sys
from llmgate_plugins import Deployment, Gateway
from llmgate_plugins.testing import ScriptedProvider

def opened(ledger):
    from llmgate_plugins.ledger import open_ledger
    deployment = Deployment(id="a", alias="fast", provider="scripted", model="m")
    answer = ScriptedProvider(default="one two three four")
    return Gateway([deployment], transport=answer, ledger=open_ledger(ledger))

async def half_read():
    global left
    left = gateway.astream("fast", "count")
    await anext(left)

gateway = opened(sys.argv[1])
if sys.argv[2] == "astream":
    asyncio.run(half_read())
else:
    left = gateway.stream("fast", "count")
    next(left)
another = opened(sys.argv[1])
if sys.argv[2] == "raise":
    raise ValueError("something else")
if sys.argv[2] == "exit":
    sys.exit(3)
"""


@pytest.mark.parametrize(("way", "code"), [("stream", 0), ("astream", 0), ("raise", 1), ("exit", 3)])
def test_a_stream_that_is_open_when_the_program_ends_is_settled(tmp_path: Path, way: str, code: int) -> None:
    ledger = f"sqlite:///{tmp_path / 'books.db'}"
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, ledger, way], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == code, ended.stderr
    assert "StorageError" not in ended.stderr
    books = open_ledger(ledger)
    assert [(row["status"], row["output_tokens"]) for row in books.attempts()] == [("abandoned", 1)]
    assert [row["status"] for row in books.calls()] == ["abandoned"]
    books.close()
