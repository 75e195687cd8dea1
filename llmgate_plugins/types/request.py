"""What an application asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from llmgate_plugins._building import quickly_built
from llmgate_plugins.money import Quote
from llmgate_plugins.types.deployment import Deployment
from llmgate_plugins.types.empty import EMPTY
from llmgate_plugins.types.messages import Message

__all__ = ["OnBreak", "Request"]

OnBreak = Literal["raise", "restart", "resume", "hold"]


@quickly_built
@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What an application asks for.

    Attributes:
        model: The alias asked for (LiteLLM: model group), or a deployment's id.
        messages: The conversation; for an embedding, empty. Of a picture its prompt, of speech the words.
        params: Everything else in the OpenAI vocabulary: `temperature`,
            `max_tokens`, `tools`, `tool_choice`, `response_format`, `stop` ...
        tags: Labels from the caller. **Untrusted**: they may label and narrow,
            never widen. Who is calling stands in `Context`.
        stream: Whether the answer is read chunk by chunk.
        operation: "chat" or "embedding"; a host may have more ("responses", "image_generation", "speech").
        fallbacks: Aliases to fall back to, in order; None for the configured ones.
            Set by the application or a policy, never from what a caller sends.
        session: Id of the conversation as the host has it (LangGraph's `thread_id`). **Untrusted**: it may
            keep calls together, and nothing more; `Context.session` wins.
        timeout: Seconds this call may take; it can only shorten the call's deadline.
        on_break: What happens when a stream breaks after its first content: "raise" ends it
            with `StreamInterrupted`; "resume" goes on with another attempt as one whole
            answer, word for word; "restart" says so and begins anew; "hold" gives nothing
            out before the answer is whole, so that failing over stays free. None: the
            gateway's own choice, "raise" unless told otherwise.
        quote: What this request, as it is when asked, will use at a deployment, for what is not counted
            by its text (pictures, sound); None where the text tells. It is quick and never raises.
        native: What the host that asks needs to send it; plugins leave it alone.
    """

    model: str
    messages: Sequence[Message] = ()
    params: Mapping[str, Any] = EMPTY
    tags: Mapping[str, str] = EMPTY
    stream: bool = False
    operation: str = "chat"
    fallbacks: tuple[str, ...] | None = None
    session: str | None = None
    timeout: float | None = None
    on_break: OnBreak | None = None
    quote: Callable[[Deployment, Request], Quote | None] | None = field(
        default=None, repr=False, compare=False
    )
    native: Any = field(default=None, repr=False, compare=False)

    def replace(self, **changes: Any) -> Self:
        """This request with some fields changed."""
        return replace(self, **changes)
