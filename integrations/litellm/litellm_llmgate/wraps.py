"""What stands around methods of LiteLLM's, whatever the gateway."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from litellm_llmgate.selection import current_pin
from llmgate_plugins.redaction import redact_error

__all__ = ["noting_stream", "without_keys"]


def without_keys(call: Any) -> Any:
    """LiteLLM's frames hold the list of deployments, keys included, where an error tracker shows them."""

    @functools.wraps(call)
    async def redacted(*args: Any, **kwargs: Any) -> Any:
        try:
            return await call(*args, **kwargs)
        except BaseException as error:
            redact_error(error)
            raise

    return redacted


def noting_stream(wrap_stream: Any) -> Any:
    """Keep hold of the provider's stream: only that knows whether it ended or was cut."""

    def note(kwargs: dict[str, Any]) -> None:
        pin = current_pin()
        if pin is not None:
            pin.stream = kwargs.get("model_response")

    if inspect.iscoroutinefunction(wrap_stream):

        @functools.wraps(wrap_stream)
        async def anoting(*args: Any, **kwargs: Any) -> Any:
            note(kwargs)
            return await wrap_stream(*args, **kwargs)

        return anoting

    @functools.wraps(wrap_stream)
    def noting(*args: Any, **kwargs: Any) -> Any:
        note(kwargs)
        return wrap_stream(*args, **kwargs)

    return noting
