"""Answers that are still on their way."""

from __future__ import annotations

import pytest

from llmgate_plugins.errors import StorageError
from llmgate_plugins.plugins.pending import all_of


async def test_each_has_its_turn_and_the_first_failure_is_raised() -> None:
    turns: list[str] = []

    async def answer(name: str, error: Exception | None = None) -> None:
        turns.append(name)
        if error is not None:
            raise error

    with pytest.raises(StorageError, match="the first"):
        await all_of([answer("a"), answer("b", StorageError("the first")), True, answer("c", ValueError())])
    assert turns == ["a", "b", "c"]
