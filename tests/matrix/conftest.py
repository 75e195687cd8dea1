"""What hosts leave behind is not the matrix' fault, and simulators stop when all cells have run."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from .playing import simulators
from .surfaces import close_loop

HERE = Path(__file__).parent
THIRD_PARTY = (
    # Hosts and clients leave sockets and helpers' tasks to the garbage collector.
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore:coroutine 'OpenAIChatCompletion:RuntimeWarning",  # made in a thread, dropped if cancelled then
    "ignore:Pydantic serializer warnings:UserWarning",
    "ignore:.*`ReadOnly` qualifier:UserWarning",
    "ignore:Accessing the .model_:DeprecationWarning",
    "ignore:There is no current event loop:DeprecationWarning",
    "ignore::DeprecationWarning:litellm.*",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            for rule in THIRD_PARTY:
                item.add_marker(pytest.mark.filterwarnings(rule))


@pytest.fixture(autouse=True, scope="session")
def _simulators_stop_at_last() -> Iterator[None]:
    yield
    for one in simulators().values():
        one.close()
    simulators.cache_clear()
    close_loop()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()
