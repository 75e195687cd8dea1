"""A gateway whose calls all bear one id, for callers that know of none (`ask`)."""

from __future__ import annotations

from typing import Any

from llmgate_plugins import Gateway

__all__ = ["Named", "named"]


class Named:
    """Passes everything on to a gateway, and the id with every call."""

    def __init__(self, gateway: Gateway, call_id: str) -> None:
        self._gateway, self._call_id = gateway, call_id

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._gateway, name)
        if name not in {"complete", "acomplete", "stream", "astream", "steps", "asteps"}:
            return found

        def call(*args: Any, **more: Any) -> Any:
            return found(*args, call_id=self._call_id, **more)

        return call


def named(gateway: Gateway, call_id: str = "ID") -> Any:
    """The same gateway, whose calls are repeats of one another."""
    return Named(gateway, call_id)
