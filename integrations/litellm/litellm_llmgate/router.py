"""`litellm.Router` with a gateway inside, in one object."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import litellm

from litellm_llmgate.configured import set_up
from litellm_llmgate.registration import Registration, attach
from litellm_llmgate.ungated import PASSES, Ungated
from llmgate_plugins import Gateway

__all__ = ["Router"]


class Router(litellm.Router):  # type: ignore[misc]
    """A drop-in for `litellm.Router`.

    Args:
        args, kwargs: As of `litellm.Router`.
        gateway: As of `register`; default: a gateway with the built-in plugins and a ledger
            in memory.

    Attributes:
        llmgate: The registration: `router.llmgate.gateway` is the gateway.
    """

    llmgate: Registration

    def __init__(
        self,
        *args: Any,
        gateway: Gateway | str | Path | Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        # Before the router is built: a bad configuration must not leave one behind in LiteLLM's callbacks.
        entries = kwargs.get("model_list") or (args[0] if args else None) or ()
        made = (Gateway(), Ungated(PASSES)) if gateway is None else set_up(gateway, entries)
        super().__init__(*args, **kwargs)
        self.llmgate = attach(self, *made)


Router.__init__.__signature__ = inspect.signature(litellm.Router.__init__)  # type: ignore[attr-defined]
