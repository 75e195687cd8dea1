"""Text completion."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

from litellm.types.utils import TextCompletionResponse

from litellm_llmgate.endpoints.endpoint import Reading, of, put
from litellm_llmgate.endpoints.reports import usage_in
from llmgate_plugins.types import Chunk, Message, Response, Usage
from llmgate_plugins.usage import usage_from_litellm

__all__ = ["TextCompletion"]


class TextCompletion:
    """`/v1/completions`."""

    def usage_in(self, answer: Any) -> Usage | None:
        """What it used, as reported."""
        return usage_in(answer)

    def message_in(self, answer: Any) -> Message:
        """What this answer says."""
        return Message(role="assistant", content=of(_first(answer), "text") or "")

    def changed(self, answer: Any, message: Message) -> Any:
        """A copy that says this instead."""
        answer = copy.deepcopy(answer)
        choice = _first(answer)
        if choice is not None:
            put(choice, "text", message.text)
        return answer

    def made(self, response: Response, model: str, name: str) -> Any:
        """A plugin's answer in this shape."""
        usage = response.usage or Usage()
        told = {
            "prompt_tokens": usage.total_input,
            "completion_tokens": usage.total_output,
            "total_tokens": usage.total,
        }
        reason = response.finish_reason or "stop"
        return TextCompletionResponse(
            id=f"cmpl-{name}",
            created=int(time.time()),
            model=response.model or model,
            choices=[{"text": response.message.text, "index": 0, "finish_reason": reason}],
            usage=told,
        )

    def reader(self) -> Callable[[Any], Reading]:
        """Reads the pieces of a stream."""
        return _read


def _first(answer: Any) -> Any:
    return next(iter(of(answer, "choices") or ()), None)


def _read(chunk: Any) -> Reading:
    usage, choice = usage_from_litellm(of(chunk, "usage") or {}), _first(chunk)
    text = of(choice, "text") or of(of(choice, "delta"), "content") or ""  # as chat's where it was kept
    reason = of(choice, "finish_reason")
    told = Chunk(text=text, usage=usage, finish_reason=reason, model=of(chunk, "model"), id=of(chunk, "id"))
    yield told, bool(text)
