"""llmgate for LiteLLM: policy, selection, failover and accounting inside `litellm.Router` and its proxy.

Importing this loads no LiteLLM; the first use of a name does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from litellm_llmgate.feedback import call_id_of
    from litellm_llmgate.registration import Registration, register
    from litellm_llmgate.router import Router
    from litellm_llmgate.transport import LiteLLMTransport

__all__ = ["LiteLLMTransport", "Registration", "Router", "call_id_of", "register"]

_HOMES = {
    "LiteLLMTransport": "litellm_llmgate.transport",
    "Registration": "litellm_llmgate.registration",
    "Router": "litellm_llmgate.router",
    "call_id_of": "litellm_llmgate.feedback",
    "register": "litellm_llmgate.registration",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
