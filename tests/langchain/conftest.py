"""Third-party warnings that are not ours to fix, and a provider of its own for each test."""

from __future__ import annotations

import gc
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.langchain_leaves import simulator

from llmgate_plugins.testing import SimulatedProvider

HERE = Path(__file__).parent

THIRD_PARTY = (
    # Clients of providers leave sockets and their helpers' tasks to the garbage collector.
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    # LangChain says that version 3 of its events is in beta.
    "ignore::langchain_core._api.LangChainBetaWarning",
    # litellm's and langchain's models on the newest pydantic.
    "ignore:Pydantic serializer warnings:UserWarning",
    "ignore:Item '.*' on TypedDict class:UserWarning",
    "ignore::DeprecationWarning:litellm.*",
    "ignore::pydantic.warnings.PydanticDeprecatedSince20",
    "ignore:Received a Pydantic BaseModel V1 schema:UserWarning",  # the suite sends one on purpose
    "ignore:Unrecognized structured output method 'json_mode':UserWarning",  # langchain-anthropic has none
    "ignore:There is no current event loop:DeprecationWarning",
)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "benchmark: a marker of langchain-tests")


@pytest.hookimpl(tryfirst=True)
def pytest_unconfigure() -> None:
    """What providers' clients never close is dropped before pytest looks for it, and complains."""
    simulator().close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(5):
            gc.collect()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            for rule in THIRD_PARTY:
                item.add_marker(pytest.mark.filterwarnings(rule))


@pytest.fixture
def provider(request: pytest.FixtureRequest) -> Iterator[SimulatedProvider]:
    """A simulated provider for this test alone."""
    made = simulator().provider(re.sub(r"\W+", "-", request.node.nodeid))
    yield made
    made.heal()


@pytest.fixture
def other(request: pytest.FixtureRequest) -> Iterator[SimulatedProvider]:
    """A second one."""
    made = simulator().provider(re.sub(r"\W+", "-", request.node.nodeid) + "-other")
    yield made
    made.heal()


@pytest.fixture
def benchmark() -> Callable[..., Any]:
    """The standard suite times construction with a plugin that is switched off here; run it all the same."""
    return lambda function, *args, **kwargs: function(*args, **kwargs)


@pytest.fixture
def vcr() -> None:
    """The standard suite's recorder of answers, a plugin as well: the tests that want it are skipped."""
