"""Tests in which LiteLLM is one of the hosts."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
LITELLMS_OWN_WARNINGS = (
    "ignore:.*`ReadOnly` qualifier:UserWarning",
    "ignore:Pydantic serializer warnings:UserWarning",
    "ignore::ResourceWarning",  # it never closes its clients
    "ignore:unclosed:pytest.PytestUnraisableExceptionWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            for rule in LITELLMS_OWN_WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(rule))
