"""LiteLLM's global lists of callbacks, which only grow by themselves."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["CALLBACKS", "callbacks_as_before"]

CALLBACKS = (
    "callbacks",
    "success_callback",
    "failure_callback",
    "input_callback",
    "_async_success_callback",
    "_async_failure_callback",
)
"""Lists to which every router of LiteLLM adds, and from which none takes."""


@contextmanager
def callbacks_as_before() -> Iterator[None]:
    """At the end they are as they were: whoever stays in them is told of every call that follows."""
    litellm = sys.modules.get("litellm")
    before = {} if litellm is None else {name: list(getattr(litellm, name)) for name in CALLBACKS}
    yield
    for name, callbacks in before.items():
        getattr(litellm, name)[:] = callbacks
