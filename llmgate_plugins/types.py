"""The nouns of a call: what is asked, where it goes, what came back, how it ended.

All are frozen values. Times are seconds on the gateway's monotonic clock, money is
integer nano-dollars (1 USD = 1_000_000_000), tokens are counts in disjoint buckets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, Literal, NoReturn, Self, overload

from llmgate_plugins._building import quickly_built
from llmgate_plugins.limits import UNLIMITED, Limits, Quota
from llmgate_plugins.money import (
    BUCKETS,
    INPUT_BUCKETS,
    NANO,
    NO_USAGE,
    OUTPUT_BUCKETS,
    Price,
    PriceTier,
    Usage,
    cost_per_1k,
)
from llmgate_plugins.secrets import Secret

__all__ = [
    "BUCKETS",
    "INPUT_BUCKETS",
    "NANO",
    "NO_USAGE",
    "OUTPUT_BUCKETS",
    "Attempt",
    "AttemptReason",
    "Chunk",
    "Deployment",
    "Endpoint",
    "ErrorClass",
    "Failure",
    "LazyMessages",
    "Message",
    "OnBreak",
    "Outcome",
    "OutcomeStatus",
    "Price",
    "PriceTier",
    "Request",
    "Response",
    "Scope",
    "ToolCall",
    "Usage",
]


class _Empty(dict[str, Any]):
    """An empty mapping that cannot be filled, so that it can be a default."""

    __slots__ = ()

    def __setitem__(self, key: str, value: Any) -> NoReturn:
        raise TypeError("this mapping is frozen")

    def __hash__(self) -> int:  # type: ignore[override]
        return 0

    def __reduce__(self) -> str:
        return "EMPTY"


EMPTY: Mapping[str, Any] = _Empty()
_NOTHING: Final = nullcontext()
"""Entered where no plugin wants anything around an attempt."""

AttemptReason = Literal["first", "retry", "next_deployment", "fallback", "hedge"]
OnBreak = Literal["raise", "restart", "resume", "hold"]
OutcomeStatus = Literal["success", "error", "cancelled", "abandoned", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call of a tool that the model asks for; `arguments` is JSON text as received."""

    id: str
    name: str
    arguments: str = "{}"
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a conversation, in the OpenAI chat vocabulary.

    Attributes:
        role: "system", "user", "assistant" or "tool".
        content: Text, or content parts as OpenAI writes them
            (`{"type": "text", "text": ...}`, `{"type": "image_url", ...}`).
        tool_calls: What an assistant message asks for.
        tool_call_id: Which tool call a tool message answers.
        native: The host's own message this one was read from. It survives
            `dataclasses.replace`, so that a host can carry a change back.
    """

    role: str
    content: str | tuple[Mapping[str, Any], ...] = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None
    native: Any = field(default=None, repr=False, compare=False)

    @property
    def text(self) -> str:
        """The text of all text parts, joined."""
        if isinstance(self.content, str):
            return self.content
        return "".join(str(part.get("text", "")) for part in self.content if part.get("type") == "text")


class LazyMessages(Sequence[Message]):
    """Messages that are read from a host's own only when a plugin looks at them.

    Args:
        native: The host's messages.
        read: Turns one of them into a `Message`. Pure; called once per message.
    """

    __slots__ = ("_messages", "_read", "native")

    def __init__(self, native: Sequence[Any], read: Callable[[Any], Message]) -> None:
        self.native = native
        self._read = read
        self._messages: tuple[Message, ...] | None = None

    @property
    def messages(self) -> tuple[Message, ...]:
        """All messages, read now if they have not been."""
        if self._messages is None:
            self._messages = tuple(map(self._read, self.native))
        return self._messages

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Message]: ...
    def __getitem__(self, index: int | slice) -> Message | Sequence[Message]:
        return self.messages[index]

    def __len__(self) -> int:
        return len(self.native)

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(self.messages)

    def __repr__(self) -> str:
        return repr(self.messages)


@quickly_built
@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What an application asks for.

    Attributes:
        model: The alias asked for (LiteLLM: model group), or a deployment's id.
        messages: The conversation; for an embedding, empty.
        params: Everything else in the OpenAI vocabulary: `temperature`,
            `max_tokens`, `tools`, `tool_choice`, `response_format`, `stop` ...
        tags: Labels from the caller. **Untrusted**: they may label and narrow,
            never widen. Who is calling stands in `Context`.
        stream: Whether the answer is read chunk by chunk.
        operation: "chat" or "embedding".
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
    native: Any = field(default=None, repr=False, compare=False)

    def replace(self, **changes: Any) -> Self:
        """This request with some fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a deployment is reached: an address and the key that belongs to it.

    The two are one object on purpose: no call can pair the key with another address.

    Attributes:
        base_url: The provider's address; None for the provider's own default.
        api_key: The key or a reference to it, never shown.
        headers: Further headers; their values are secrets as well.
        options: Further settings of the provider's client (`api_version`,
            `aws_region_name`, `organization`, ...).
    """

    base_url: str | None = None
    api_key: Secret | None = None
    headers: Mapping[str, Secret] = EMPTY
    options: Mapping[str, Any] = EMPTY


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Deployment:
    """One model at one provider, region and credential. Compared by identity.

    Attributes:
        id: Unique within a gateway.
        alias: The name applications ask for.
        provider: "openai", "anthropic", ... (LiteLLM's provider names).
        model: The provider's own name of the model.
        region: Where it runs, or None if not declared. An undeclared region is
            not eligible for a call that is bound to one.
        data_classes: Classes of data it is cleared for ("public", "pii"); None if not declared.
        terms: What its provider has agreed to ("no_retention", "no_training", "hipaa"). A term
            that is not declared does not hold.
        price: None if no source knows one.
        context_window: Tokens it can read at once, or None if not known.
        max_output: Tokens it can write at once, or None if not known.
        capabilities: Such as "tools", "vision", "json_schema", "reasoning".
        weight: Share of traffic among its siblings for weighted selection.
        endpoint: Address and key.
        params: Call parameters that configuration fixes for this deployment.
        info: Whatever else configuration says of it (LiteLLM: `model_info`).
    """

    id: str
    alias: str
    provider: str
    model: str
    region: str | None = None
    data_classes: frozenset[str] | None = None
    terms: frozenset[str] = frozenset()
    price: Price | None = None
    context_window: int | None = None
    max_output: int | None = None
    capabilities: frozenset[str] = frozenset()
    weight: float = 1.0
    endpoint: Endpoint = field(default_factory=Endpoint, repr=False)
    params: Mapping[str, Any] = field(default=EMPTY, repr=False)
    info: Mapping[str, Any] = field(default=EMPTY, repr=False)

    @property
    def credential(self) -> str | None:
        """A short id of the key, safe to show; deployments that share it share a key."""
        return self.endpoint.api_key.id if self.endpoint.api_key is not None else None


@quickly_built
@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A complete answer.

    Attributes:
        source: The assistant's message, or a function that reads it from `native`
            when first asked for.
        usage: As the provider reported it; None if it did not.
        finish_reason: "stop", "length", "tool_calls", "content_filter", or None.
        model: The model that served, by the provider's word.
        id: The provider's id of this answer, for asking it about one.
        deployment_id: Which deployment served; None if a plugin answered.
        call_id: Of the call that this answers, for `explain`, `feedback` and the ledger.
        quota: What the provider said of its rate limits, where the transport can tell.
        empty: It has nothing in it: no text, no tool call. An answer that is empty though the
            model says it has finished is tried once more elsewhere.
        native: The host's own object, handed back to it unchanged.
    """

    source: Message | Callable[[], Message] = field(repr=False)
    usage: Usage | None = None
    finish_reason: str | None = "stop"
    model: str | None = None
    id: str | None = None
    deployment_id: str | None = None
    call_id: str | None = None
    quota: Quota | None = None
    empty: bool = False
    native: Any = field(default=None, repr=False, compare=False)

    @property
    def message(self) -> Message:
        """The assistant's message."""
        source = self.source
        if not isinstance(source, Message):
            source = source()
            object.__setattr__(self, "source", source)
        return source

    @property
    def text(self) -> str:
        """The text of the answer."""
        return self.message.text

    @classmethod
    def of(cls, text: str, **fields: Any) -> Response:
        """An answer with this text, for plugins that answer themselves."""
        return cls(source=Message(role="assistant", content=text), **fields)

    def replace(self, **changes: Any) -> Self:
        """This response with some fields changed."""
        return replace(self, **changes)


@quickly_built
@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of a streamed answer.

    Attributes:
        id: The provider's id of the answer it is a piece of.
        restarted: All that was delivered before is void; the answer begins anew after this
            chunk. Only where the caller asked for `on_break="restart"`.
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage | None = None
    finish_reason: str | None = None
    model: str | None = None
    id: str | None = None
    restarted: bool = False
    native: Any = field(default=None, repr=False, compare=False)


class ErrorClass(StrEnum):
    """What kind of failure it was. The reaction to each stands in docs/explanation."""

    RATE_LIMIT = "rate_limit"
    QUOTA = "quota"
    AUTHENTICATION = "authentication"
    PERMISSION = "permission"
    REGION = "region"
    MODEL_NOT_FOUND = "model_not_found"
    INVALID_REQUEST = "invalid_request"
    CONTEXT_LENGTH = "context_length"
    CONTENT_POLICY = "content_policy"
    TOO_LARGE = "too_large"
    CONFLICT = "conflict"
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    OVERLOADED = "overloaded"
    SERVER = "server"
    BAD_RESPONSE = "bad_response"
    EMPTY_RESPONSE = "empty_response"
    TRUNCATED = "truncated"
    LOCAL = "local"
    UNKNOWN = "unknown"


class Scope(StrEnum):
    """Who is to blame for a failure, and so what else would fail the same way."""

    REQUEST = "request"
    CALLER = "caller"
    CREDENTIAL = "credential"
    MODEL = "model"
    DEPLOYMENT = "deployment"
    PROVIDER = "provider"
    LOCAL = "local"


@quickly_built
@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error, classified.

    Attributes:
        error_class: What kind of failure.
        scope: Who is to blame.
        status: HTTP status, if there was one.
        code: The provider's own error code, if it gave one.
        retry_after: Seconds the provider asks to wait, if it did.
    """

    error_class: ErrorClass
    scope: Scope
    status: int | None = None
    code: str | None = None
    retry_after: float | None = None


@quickly_built
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attempt:
    """One send to one deployment.

    Attributes:
        number: 1 for the first attempt of a call, counting skipped ones too.
        alias: The alias under which it was chosen; differs from the alias asked
            for after a fallback.
        started: When it began, monotonic seconds; for one that had to wait its turn, when
            that had come.
        deadline: When the call must be over, monotonic seconds; None for never.
        limits: How long its phases may take. A transport hands them to its client; in an
            event loop the gateway keeps them as well.
        prefill: Text that was delivered before another attempt broke. The transport sends it
            as the beginning of the assistant's answer, so that the model goes on from there.
        adapted: What was changed or left out of the request because this provider would
            refuse it, as short sentences. Transports may add to it.
        around: Makers of what plugins want entered while the provider is asked, up to the first
            content of a stream, in the very thread or task that asks: a span to be current, say.
        watchers: Told of each chunk of a stream that comes after the first content, before the
            reader has it. They must be quick, and must not raise.
    """

    call_id: str
    number: int
    deployment: Deployment
    alias: str
    reason: AttemptReason
    started: float
    deadline: float | None = None
    limits: Limits = UNLIMITED
    prefill: str | None = None
    adapted: list[str] = field(default_factory=list)
    around: list[Callable[[], AbstractContextManager[object]]] = field(default_factory=list, repr=False)
    watchers: list[Callable[[Any], object]] = field(default_factory=list, repr=False)

    def entered(self) -> AbstractContextManager[object]:
        """All that stands in `around`, entered; a host that sends by itself sends within it."""
        if not self.around:
            return _NOTHING
        with ExitStack() as stack:
            for make in self.around:
                stack.enter_context(make())
            return stack.pop_all()


@quickly_built
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """How an attempt ended.

    Attributes:
        status: "success"; "error"; "cancelled" (the task was cancelled);
            "abandoned" (the reader left a stream); "skipped" (never sent).
        error: What was raised, if anything.
        failure: `error`, classified.
        usage: Tokens, as reported or estimated (`usage.estimated`).
        cost: Nano-dollars, rounded up.
        price: The price that `cost` was counted at: of the model that served, in its tier.
            None if nobody knows one.
        latency: Seconds from begin to end.
        first_token: Seconds to the first piece of content of a stream.
        model: The model that served, by the provider's word.
        response_id: The provider's id of the answer, if it gave one.
        quota: What the provider said of its rate limits, if it did.
        skipped: Why it was never sent, for status "skipped".
        skipped_by: The plugin that said so; None where the caller had left.
    """

    status: OutcomeStatus
    error: BaseException | None = None
    failure: Failure | None = None
    usage: Usage = NO_USAGE
    cost: int = 0
    price: Price | None = None
    latency: float = 0.0
    first_token: float | None = None
    finish_reason: str | None = None
    model: str | None = None
    response_id: str | None = None
    quota: Quota | None = None
    skipped: str | None = None
    skipped_by: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the attempt gave a whole answer."""
        return self.status == "success"

    @property
    def cost_per_1k(self) -> int | None:
        """Nano-dollars per thousand tokens, rounded up; None where there are none."""
        return cost_per_1k(self.cost, self.usage)
