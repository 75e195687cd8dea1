"""What went wrong, and who is to blame."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from llmgate_plugins._building import quickly_built

__all__ = ["ErrorClass", "Failure", "Scope"]


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
