"""The faults a simulated provider can have, and what each looks like on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final, Literal, get_args

from llmgate_plugins.types import EMPTY

__all__ = ["REFUSALS", "Fault", "FaultKind", "Refusal", "RetryAfterForm", "WireFaultKind"]

RefusalKind = Literal[
    "rate_limit",
    "quota",
    "authentication",
    "permission",
    "not_found",
    "invalid_request",
    "unprocessable",
    "context_length",
    "content_policy",
    "timeout",
    "conflict",
    "too_large",
    "server",
    "bad_gateway",
    "unavailable",
    "overloaded",
]
"""The provider answers with an HTTP error."""

WireFaultKind = Literal[
    "connection",
    "slow",
    "stall",
    "reset",
    "reset_midstream",
    "cut",
    "drip",
    "html",
    "json",
    "empty",
    "malformed",
    "truncated",
    "error_event",
    "done_only",
    "no_choices",
    "null_choices",
    "no_usage",
    "odd_usage",
    "usage_twice",
    "no_done",
    "unended",
    "duplicate",
    "duplicate_finish",
    "repeat",
    "pings",
    "odd_lines",
    "huge",
    "deep",
]
"""Something is wrong with the connection or with an answer whose status is 200.

connection       closed before any byte, as when the process died
slow             the first byte comes after `seconds`, then all is well
stall            after `after` pieces nothing more comes, ever; None: not even headers
reset            TCP reset before any byte
reset_midstream  TCP reset after `after` pieces
cut              connection closed after `after` pieces, in the middle of the body
drip             `seconds` between one piece and the next
html             an HTML page with status 200
json             a plain JSON answer although a stream was asked for
empty            status 200 and no body
malformed        broken JSON after `after` pieces
truncated        a clean end after `after` pieces: no finish reason, no end marker
error_event      an error in the provider's own shape after `after` pieces
done_only        a stream that holds nothing but its end marker
no_choices       an answer with an empty list of choices (Anthropic: of content)
null_choices     the same with null
no_usage         no usage is reported
odd_usage        usage that cannot be: `body`, or numbers below 0, beyond reason, and as text
usage_twice      a stream reports its usage twice
no_done          a stream ends after its finish reason, without the end marker
unended          the same, but the connection stays open
duplicate        every event of a stream comes twice, with the same event id
duplicate_finish a stream says twice that the model has finished
repeat           the same piece comes 150 times
pings            after `after` pieces (None: instead of any) only keep-alives come, every
                 `seconds`; empty lines where no stream was asked for
odd_lines        all is well, but lines end in every allowed way, between comments, a line
                 of 1 MB and bytes that are cut within characters
huge             8 MiB more than anybody wants
deep             JSON nested 150 levels deep
"""

FaultKind = Literal[RefusalKind, WireFaultKind]
RetryAfterForm = Literal["seconds", "date", "ms"]

_KINDS: Final = frozenset((*get_args(RefusalKind), *get_args(WireFaultKind)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """How the two providers say no to the same thing.

    Attributes:
        status: HTTP status of the OpenAI answer.
        type, code: Of the OpenAI error body.
        anthropic_status, anthropic_type: The same at Anthropic.
    """

    status: int
    message: str
    type: str
    code: str | None = None
    anthropic_status: int | None = None
    anthropic_type: str = "invalid_request_error"


REFUSALS: Final[Mapping[str, Refusal]] = {
    "rate_limit": Refusal(
        status=429,
        message="Rate limit reached for requests per minute (RPM). Please try again later.",
        type="requests",
        code="rate_limit_exceeded",
        anthropic_type="rate_limit_error",
    ),
    "quota": Refusal(
        status=429,
        message="You exceeded your current quota, please check your plan and billing details.",
        type="insufficient_quota",
        code="insufficient_quota",
        anthropic_status=402,
        anthropic_type="billing_error",
    ),
    "authentication": Refusal(
        status=401,
        message="Incorrect API key provided.",
        type="invalid_request_error",
        code="invalid_api_key",
        anthropic_type="authentication_error",
    ),
    "permission": Refusal(
        status=403,
        message="You are not allowed to use this model.",
        type="invalid_request_error",
        code="model_not_allowed",
        anthropic_type="permission_error",
    ),
    "not_found": Refusal(
        status=404,
        message="The model does not exist or you do not have access to it.",
        type="invalid_request_error",
        code="model_not_found",
        anthropic_type="not_found_error",
    ),
    "invalid_request": Refusal(status=400, message="Invalid request.", type="invalid_request_error"),
    "unprocessable": Refusal(status=422, message="Unprocessable entity.", type="invalid_request_error"),
    "context_length": Refusal(
        status=400,
        message="prompt is too long: this model's maximum context length is 128000 tokens. "
        "However, your messages resulted in 200000 tokens. Please reduce the length of the messages.",
        type="invalid_request_error",
        code="context_length_exceeded",
    ),
    "content_policy": Refusal(
        status=400,
        message="Your request was rejected as a result of our safety system: output blocked by "
        "content filtering policy.",
        type="invalid_request_error",
        code="content_policy_violation",
    ),
    "timeout": Refusal(
        status=408, message="Request timed out.", type="timeout", anthropic_type="timeout_error"
    ),
    "conflict": Refusal(status=409, message="The request conflicts with another one.", type="conflict_error"),
    "too_large": Refusal(
        status=413,
        message="Request exceeds the maximum size.",
        type="invalid_request_error",
        code="request_too_large",
        anthropic_type="request_too_large",
    ),
    "server": Refusal(
        status=500,
        message="The server had an error while processing your request. Sorry about that!",
        type="server_error",
        anthropic_type="api_error",
    ),
    "bad_gateway": Refusal(
        status=502, message="Bad gateway", type="server_error", anthropic_type="api_error"
    ),
    "unavailable": Refusal(
        status=503,
        message="The engine is currently overloaded, please try again later.",
        type="service_unavailable",
        anthropic_type="api_error",
    ),
    "overloaded": Refusal(
        status=503,
        message="Overloaded",
        type="server_error",
        code="server_is_overloaded",
        anthropic_status=529,
        anthropic_type="overloaded_error",
    ),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong with one request.

    Args:
        kind: What goes wrong. The HTTP errors bear the name of their class
            ("rate_limit", "server", ...); for the others see `WireFaultKind`.
        retry_after: What the answer tells the client to wait: seconds (2, 0.5), or
            any text, sent as it stands ("soon", "-1").
        retry_after_as: In which form: seconds, an HTTP date, or `retry-after-ms`.
        seconds: Of waiting, for "slow" and "drip".
        after: Pieces of content that are sent before it goes wrong in the middle;
            for "stall" None means that not even headers are sent.
        status, code, message, headers, body: In place of the provider's usual ones.
            `body` is sent as JSON, or as it stands if it is text.

    Raises:
        ValueError: There is no such kind.
    """

    kind: FaultKind
    retry_after: float | str | None = None
    retry_after_as: RetryAfterForm = "seconds"
    seconds: float = 1.0
    after: int | None = None
    status: int | None = None
    code: str | None = None
    message: str | None = None
    headers: Mapping[str, str] = EMPTY
    body: Any = None

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ValueError(f"no fault is called {self.kind!r}; there are {', '.join(sorted(_KINDS))}")

    @property
    def refusal(self) -> Refusal | None:
        """How it reads as an HTTP error; None for a fault of another sort."""
        return REFUSALS.get(self.kind)

    @property
    def pieces(self) -> int:
        """Pieces of content before it goes wrong."""
        return 2 if self.after is None else self.after

    def retry_headers(self, now: float) -> dict[str, str]:
        """The headers that say how long to wait.

        Args:
            now: Unix time, from which an HTTP date is counted.
        """
        wait = self.retry_after
        if wait is None:
            return {}
        if isinstance(wait, str):
            return {"retry-after": wait}
        if self.retry_after_as == "ms":
            return {"retry-after-ms": f"{wait * 1000:g}"}
        if self.retry_after_as == "date":
            at = datetime.fromtimestamp(now, UTC) + timedelta(seconds=wait)
            return {"retry-after": format_datetime(at, usegmt=True)}
        return {"retry-after": f"{wait:g}"}
