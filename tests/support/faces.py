"""The faces of the testing kit, as marks."""

from __future__ import annotations

from typing import Any

import pytest

from llmgate_plugins.testing.faces import FACES, STREAMS, WHOLE, Told, ask

__all__ = ["FACES", "STREAMS", "WHOLE", "Told", "ask", "every_face", "every_stream", "every_whole"]

every_face: Any = pytest.mark.parametrize("face", FACES)
every_stream: Any = pytest.mark.parametrize("face", STREAMS)
every_whole: Any = pytest.mark.parametrize("face", WHOLE)
