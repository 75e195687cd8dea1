"""Calls that do not go through the gateway: left as they are, or refused."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from litellm_llmgate.errors import CallDenied
from llmgate_plugins.errors import RequestDenied

__all__ = ["PASSES", "WAYS_PAST", "Ungated"]

PASSES: Final = "pass"
REFUSED: Final = "refuse"

WAYS_PAST: Final = (
    "_init_containers_api_endpoints",
    "_init_interactions_api_endpoints",
    "_init_managed_agents_api_endpoints",
    "_init_vector_store_api_endpoints",
    "_pass_through_assistants_endpoint_factory",
    "text_completion",
)
"""Methods of the router by which calls leave it that are no attempts of LiteLLM's."""

_WORDS: Final = """
    acompact_responses acompletion aembedding agenerate_content agenerate_content_stream aimage_edit
    aimage_generation amoderation anthropic_messages aocr arerank aresponses aspeech atext_completion
    atranscription avideo_generation completion embedding embeddings image_edit image_generation moderation
    rerank text_completion transcription
"""
_GATED: Final = frozenset(_WORDS.split())
"""The proxy's words for what goes through the gateway, if it is for one of the router's groups."""


class Ungated:
    """What becomes of them.

    Args:
        written: "pass" or "refuse", or the names of those that pass while all others are refused.
    """

    def __init__(self, written: str | Collection[str]) -> None:
        self.refuses = written != PASSES
        self._passing = frozenset() if isinstance(written, str) else frozenset(written)

    def check(self, name: str) -> None:
        """Check that a call of this name may pass by the gateway.

        Raises:
            CallDenied: It may not. LiteLLM neither retries nor falls back.
        """
        if self.refuses and name not in self._passing:
            raise CallDenied(
                RequestDenied(
                    f"{name} does not go through the gateway, and what does not is refused here; its "
                    f"operator can let it pass (ungated: [{name}])",
                    code="ungated",
                )
            )

    def check_request(self, call_type: str, data: Any) -> None:
        """The same for a request to the proxy, which may bring a router of its own.

        Raises:
            CallDenied: It may not pass.
        """
        if call_type not in _GATED:
            self.check(call_type.lstrip("_"))
        elif isinstance(data, Mapping) and "user_config" in data:
            self.check("user_config")

    def checked(self, way: Callable[..., Any]) -> Callable[..., Any]:
        """One of the `WAYS_PAST`, with a check before it."""
        if inspect.iscoroutinefunction(way):

            @functools.wraps(way)
            async def acheck_first(*args: Any, **kwargs: Any) -> Any:
                self.check(name_of(way, kwargs))
                return await way(*args, **kwargs)

            return acheck_first

        @functools.wraps(way)
        def check_first(*args: Any, **kwargs: Any) -> Any:
            self.check(name_of(way, kwargs))
            return way(*args, **kwargs)

        return check_first


def name_of(function: Any, kwargs: Mapping[str, Any]) -> str:
    """LiteLLM's own name of what is called: that of the inmost function."""
    inner = kwargs.get("original_generic_function") or kwargs.get("original_function") or function
    return str(getattr(inner, "__name__", "a call")).lstrip("_")
