"""One call of LiteLLM's on its way through the gateway: `Request.native`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from litellm_llmgate.asking import request_of
from litellm_llmgate.errors import CallDenied
from litellm_llmgate.per_call import call_id_of, on_break_of
from litellm_llmgate.selection import Pin
from llmgate_plugins.context import Call
from llmgate_plugins.errors import RequestDenied
from llmgate_plugins.types import Attempt, Request, Response

__all__ = ["HostCall", "Sending"]

Entry = Mapping[str, Any]


class Sending:
    """One attempt as it was sent.

    Attributes:
        attempt: The gateway's attempt.
        pin: Where it went.
        opened: The stream that LiteLLM returned.
        first: That stream's first chunk.
        response: The answer as it was read.
        kept: LiteLLM's own cache answers.
    """

    __slots__ = ("attempt", "first", "kept", "opened", "pin", "response")

    def __init__(self, attempt: Attempt, pin: Pin) -> None:
        self.attempt = attempt
        self.pin = pin
        self.opened: Any = None
        self.first: Any = None
        self.response: Response | None = None
        self.kept = False


class HostCall:
    """One call, with what LiteLLM calls its own function with.

    Attributes:
        function: LiteLLM's own function for one attempt.
        args, kwargs: What LiteLLM calls it with.
        asked: The request as it was read from them.
        call_id: The id that the application gave the call.
        group: The group whose deployments were listed last.
        call: The gateway's call, once it has asked for candidates.
        sendings: The attempts that were sent; two may be on their way at once.
        usage_added: Whether an attempt asked for usage that the caller did not ask for.
        told: What the answer's hidden parameters say of the call.
    """

    __slots__ = (
        "args", "asked", "before", "call", "call_id", "entries", "function", "group", "host_pick", "kwargs",
        "narrowed", "sendings", "told", "usage_added",
    )  # fmt: skip

    def __init__(
        self, operation: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        _check_address(kwargs)
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.asked: Request = request_of(operation, kwargs, self, on_break_of(kwargs))
        self.call_id = call_id_of(kwargs)
        self.group: str = kwargs["model"]
        self.entries: dict[str, Entry] = {}
        self.before: Mapping[str, Any] = kwargs
        self.narrowed: dict[str, Any] = kwargs
        self.host_pick: Entry | None = None
        self.call: Call | None = None
        self.sendings: list[Sending] = []
        self.usage_added = False
        self.told: dict[str, Any] = {}

    def answered_by(self, response: Response) -> Sending | None:
        """The attempt that gave this answer, whatever plugins made of it; None if no attempt did."""
        for sending in reversed(self.sendings):
            if sending.response is response or sending.attempt.deployment.id == response.deployment_id:
                return sending
        return None

    def opened_with(self, first: Any) -> Sending | None:
        """The attempt whose stream began with this chunk; None if no attempt's did."""
        return next((sending for sending in self.sendings if sending.first is first), None)

    def is_kept(self, attempt: Attempt) -> bool:
        """Whether LiteLLM's own cache answers this attempt, which then costs nothing."""
        return any(sending.kept for sending in self.sendings if sending.attempt is attempt)

    def tell(self, sending: Sending) -> None:
        """Say which attempt the answer is of."""
        self.told["deployment"] = sending.attempt.deployment.id
        self.told["attempts"] = sending.attempt.number


def _check_address(kwargs: Mapping[str, Any]) -> None:
    """LiteLLM sends a deployment's key to whatever address a call names; here the two stay together.

    A call that brings its own key for its own address sends nothing of ours there.

    Raises:
        CallDenied: It names an address alone. LiteLLM neither retries nor falls back.
    """
    if not (kwargs.get("api_base") or kwargs.get("base_url")) or kwargs.get("api_key"):
        return
    named = next(name for name in ("api_base", "base_url") if kwargs.get(name))
    reason = f"{named} cannot be given with a call without api_key: the key belongs to the deployment"
    raise CallDenied(RequestDenied(reason, code="address"))
