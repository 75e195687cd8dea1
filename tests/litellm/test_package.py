"""The distribution: light to import, and announced to the core."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import litellm_llmgate
import pytest


def test_importing_the_package_loads_no_litellm():
    code = "import sys, litellm_llmgate; dir(litellm_llmgate); sys.exit('litellm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_is_there_and_no_other():
    assert all(getattr(litellm_llmgate, name) for name in litellm_llmgate.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        litellm_llmgate.nothing  # noqa: B018


def test_the_transport_is_announced_to_the_core():
    (found,) = entry_points(group="llmgate.transports", name="litellm")
    assert found.load() is litellm_llmgate.LiteLLMTransport
