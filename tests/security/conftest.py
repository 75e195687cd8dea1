"""What third parties warn of is not what these tests are about."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # no look-up on the net at import

HERE = Path(__file__).parent

THIRD_PARTY = (
    "ignore::ResourceWarning",  # clients that are never closed
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore:Pydantic serializer warnings:UserWarning",
    "ignore:.*`ReadOnly` qualifier:UserWarning",
    "ignore::DeprecationWarning:litellm.*",
    "ignore:Accessing the .model_:DeprecationWarning",
    "ignore::pydantic.warnings.PydanticDeprecatedSince20",
    "ignore::pydantic.warnings.PydanticDeprecatedSince211",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            for rule in THIRD_PARTY:
                item.add_marker(pytest.mark.filterwarnings(rule))


@pytest.fixture(autouse=True, scope="module")
def _what_clients_never_close_is_dropped_quietly() -> Iterator[None]:
    yield
    import litellm

    litellm.in_memory_llm_clients_cache.flush_cache()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()
