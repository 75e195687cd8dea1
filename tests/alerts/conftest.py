"""A certificate for the servers that alerts are sent to."""

from __future__ import annotations

import pytest
from support.receivers import Certificate, certificate


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate(tmp_path_factory.mktemp("tls"))
