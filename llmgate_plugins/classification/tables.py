"""The tables by which failures are told apart: words, phrases, class names and statuses.

Read in this order, the first that knows decides: a body's *code*, its *type* (both are
`WORDS`), a telling class name (`TELLING_NAMES`), a *phrase* in the message, a client's
transport error (`TRANSPORT_NAMES`), the *status*, a type that says little (`VAGUE_WORDS`),
a class name that says little (`VAGUE_NAMES`). Words are compared in lower case.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from llmgate_plugins.types import ErrorClass as E
from llmgate_plugins.types import Scope as S  # noqa: N817 - one letter keeps the tables readable

__all__ = [
    "PHRASES",
    "STATUSES",
    "TELLING_NAMES",
    "TRANSPORT_NAMES",
    "VAGUE_NAMES",
    "VAGUE_WORDS",
    "WORDS",
    "Verdict",
]

Verdict: TypeAlias = tuple[E, S]
Rows: TypeAlias = tuple[tuple[E, S, str], ...]


def _by_word(rows: Rows) -> Mapping[str, Verdict]:
    return {word: (error_class, scope) for error_class, scope, words in rows for word in words.split()}


WORDS: Final = _by_word(
    (
        # Money first: a provider may say `rate_limit_error` and mean an empty account.
        (E.QUOTA, S.CREDENTIAL, "insufficient_quota credit_balance_exhausted billing_error payment_required"),
        (E.QUOTA, S.CREDENTIAL, "organization_spend_limit_exceeded project_spend_limit_exceeded"),
        (E.QUOTA, S.CREDENTIAL, "organization_usage_limit_exceeded enforced_spend_limit_reached"),
        (E.QUOTA, S.CREDENTIAL, "billing_hard_limit_reached billing_not_active billing_disabled arrearage"),
        (E.QUOTA, S.CREDENTIAL, "insufficient_balance insufficient_credits insufficient_funds"),
        (E.QUOTA, S.CREDENTIAL, "quota_exceeded exceeded_current_quota_error blocked_api_access quota"),
        (E.RATE_LIMIT, S.MODEL, "rate_limit_exceeded slow_down rate_limited rate_limit too_many_requests"),
        (E.RATE_LIMIT, S.MODEL, "throttlingexception toomanyrequestsexception servicequotaexceededexception"),
        (E.RATE_LIMIT, S.MODEL, "rate_limit_reached_error throttling throttling.ratequota"),
        (E.AUTHENTICATION, S.CREDENTIAL, "invalid_api_key incorrect_api_key api_key_invalid missing_api_key"),
        (E.AUTHENTICATION, S.CREDENTIAL, "authentication_error authentication invalid_authentication"),
        (E.AUTHENTICATION, S.CREDENTIAL, "invalid_authentication_error unauthenticated unauthorized"),
        (
            E.AUTHENTICATION,
            S.CREDENTIAL,
            "api_key_expired expired_api_key token_expired",
        ),
        (
            E.AUTHENTICATION,
            S.CREDENTIAL,
            "expiredtokenexception unrecognizedclientexception invalidsignatureexception",
        ),
        (E.AUTHENTICATION, S.CREDENTIAL, "invalid_organization invalid_grant invalid_client"),
        (E.PERMISSION, S.CREDENTIAL, "permission insufficient_permissions accessdeniedexception"),
        (E.PERMISSION, S.CREDENTIAL, "account_deactivated deactivated_workspace access_terminated"),
        (E.PERMISSION, S.CREDENTIAL, "ip_not_authorized service_disabled"),
        (E.REGION, S.MODEL, "unsupported_country_region_territory unsupported_region region"),
        (E.MODEL_NOT_FOUND, S.MODEL, "model_not_found deploymentnotfound modelnotfound model_not_available"),
        (E.MODEL_NOT_FOUND, S.MODEL, "model_decommissioned model_deprecated unknown_model invalid_model"),
        (E.MODEL_NOT_FOUND, S.MODEL, "resourcenotfoundexception operationnotsupported unsupported_model"),
        (E.CONTEXT_LENGTH, S.REQUEST, "context_length_exceeded context_window_exceeded context_length"),
        (E.CONTEXT_LENGTH, S.REQUEST, "model_context_window_exceeded exceed_context_size_error"),
        (E.CONTEXT_LENGTH, S.REQUEST, "tokens_limit_reached"),
        (
            E.CONTENT_POLICY,
            S.REQUEST,
            "content_policy_violation content_filter content_policy",
        ),
        (E.CONTENT_POLICY, S.REQUEST, "content_blocked responsibleaipolicyviolation moderation_blocked"),
        (E.CONTENT_POLICY, S.REQUEST, "datainspectionfailed data_inspection_failed prohibited_content"),
        (E.CONTENT_POLICY, S.REQUEST, "invalid_prompt refusal"),
        (E.TOO_LARGE, S.REQUEST, "request_too_large payload_too_large string_above_max_length too_large"),
        (
            E.INVALID_REQUEST,
            S.REQUEST,
            "invalid_request invalid_value invalid_type",
        ),
        (
            E.INVALID_REQUEST,
            S.REQUEST,
            "missing_required_parameter unsupported_parameter unsupported_value unknown_parameter",
        ),
        (E.INVALID_REQUEST, S.REQUEST, "invalid_function_parameters invalid_json integer_above_max_value"),
        (E.CONFLICT, S.MODEL, "conflict_error conflictexception conflict"),
        (E.TIMEOUT, S.DEPLOYMENT, "request_timeout timeout_error timeout gateway_timeout deadline_exceeded"),
        (E.TIMEOUT, S.DEPLOYMENT, "modeltimeoutexception"),
        (E.OVERLOADED, S.PROVIDER, "overloaded_error"),
        (E.OVERLOADED, S.DEPLOYMENT, "overloaded engine_overloaded model_overloaded server_is_overloaded"),
        (E.OVERLOADED, S.DEPLOYMENT, "service_unavailable unavailable serviceunavailableexception"),
        (E.OVERLOADED, S.DEPLOYMENT, "modelnotreadyexception capacity_exceeded"),
        # What a model wrote badly, a second attempt may write well.
        (E.BAD_RESPONSE, S.DEPLOYMENT, "bad_response json_validate_failed tool_use_failed"),
        (E.EMPTY_RESPONSE, S.DEPLOYMENT, "empty_response"),
        (E.TRUNCATED, S.DEPLOYMENT, "truncated"),
        (E.CONNECTION, S.DEPLOYMENT, "connection stale_connection"),
        (E.SERVER, S.DEPLOYMENT, "server modelerrorexception modelstreamerrorexception"),
        (E.LOCAL, S.LOCAL, "local"),
        (E.LOCAL, S.REQUEST, "diverged"),  # another attempt answered in other words: nobody's fault
    )
)
"""Codes and types that settle it. The values of `ErrorClass` are among them, so that a
transport can name the class itself."""

VAGUE_WORDS: Final = _by_word(
    (
        (
            E.INVALID_REQUEST,
            S.REQUEST,
            "validationexception out_of_range invalid_request_error bad_request bad_request_error",
        ),
        (
            E.INVALID_REQUEST,
            S.REQUEST,
            "invalid_argument failed_precondition",
        ),
        (E.RATE_LIMIT, S.MODEL, "rate_limit_error resource_exhausted throttling_error requests tokens"),
        (E.PERMISSION, S.CREDENTIAL, "permission_error permission_denied forbidden"),
        (E.MODEL_NOT_FOUND, S.MODEL, "not_found_error not_found"),
        (E.SERVER, S.DEPLOYMENT, "api_error server_error internal_server_error internal_error internal"),
        (E.SERVER, S.DEPLOYMENT, "internalserverexception unknown_error upstream_error"),
    )
)

PHRASES: Final[tuple[tuple[E, S, frozenset[int | None], tuple[str, ...]], ...]] = tuple(
    (error_class, scope, frozenset(statuses), tuple(text.split("|")))
    for error_class, scope, statuses, text in (
        # Statuses bound where a phrase counts, since messages may quote what a user wrote.
        (E.RATE_LIMIT, S.MODEL, (429,), "perminute|please retry in "),
        (E.QUOTA, S.MODEL, (429,), "perday|per day (rpd)|per day (tpd)|permonth|s per month"),
        (E.QUOTA, S.CREDENTIAL, (None, 200, 400, 402, 403, 429), "exceeded your current quota"),
        (E.QUOTA, S.CREDENTIAL, (None, 200, 400, 402, 403, 429), "credit balance is too low|spend limit"),
        (E.QUOTA, S.CREDENTIAL, (None, 200, 402, 403, 429), "insufficient balance|insufficient credits"),
        (E.TOO_LARGE, S.MODEL, (None, 200, 413, 429), "request too large for"),
        (E.TOO_LARGE, S.REQUEST, (None, 400, 413, 429), "request entity too large|payload too large"),
        (E.CONTEXT_LENGTH, S.REQUEST, (None, 200, 400, 413, 422, 500), "maximum context length"),
        (E.CONTEXT_LENGTH, S.REQUEST, (None, 200, 400, 413, 422, 500), "context window|prompt is too long"),
        (E.CONTEXT_LENGTH, S.REQUEST, (None, 200, 400, 413, 422), "input is too long|exceed context limit"),
        (E.CONTEXT_LENGTH, S.REQUEST, (None, 200, 400, 413, 422), "token count exceeds|input tokens exceed"),
        (E.CONTEXT_LENGTH, S.REQUEST, (None, 200, 400, 413, 422), "token count ("),
        (E.CONTENT_POLICY, S.REQUEST, (None, 200, 400, 403), "content management policy|content filter"),
        (E.CONTENT_POLICY, S.REQUEST, (None, 200, 400, 403), "content policy|usage policy|usage policies"),
        (E.CONTENT_POLICY, S.REQUEST, (None, 200, 400, 403), "safety system|flagged by"),
        (E.AUTHENTICATION, S.CREDENTIAL, (None, 400, 403), "incorrect api key|invalid api key"),
        (E.AUTHENTICATION, S.CREDENTIAL, (None, 400, 403), "api key not valid|api key expired"),
        (E.AUTHENTICATION, S.CREDENTIAL, (None,), "missing credentials|resolve authentication method"),
        (E.AUTHENTICATION, S.CREDENTIAL, (None,), "api_key client option must be set|unable to locate cred"),
        (E.REGION, S.MODEL, (None, 400, 403), "region, or territory|location is not supported"),
        (E.REGION, S.MODEL, (None, 400, 403), "not available in your region|not available in your country"),
        (E.MODEL_NOT_FOUND, S.MODEL, (None, 400, 403), "you do not have access to it|not a valid model"),
        (E.MODEL_NOT_FOUND, S.MODEL, (None, 400, 403), "does not have access to model|model not found"),
        (E.MODEL_NOT_FOUND, S.MODEL, (None, 400, 403), "llm provider not provided|on-demand throughput isn"),
        (E.RATE_LIMIT, S.MODEL, (None, 200, 403, 500, 503), "rate limit|too many requests"),
        (E.OVERLOADED, S.DEPLOYMENT, (None, 200, 400, 429, 500), "overloaded"),
        (E.EMPTY_RESPONSE, S.DEPLOYMENT, (None,), "no generations found in stream|no generation chunks were"),
        (E.BAD_RESPONSE, S.DEPLOYMENT, (None,), "null value for 'choices'|null value for `choices`"),
        (E.BAD_RESPONSE, S.DEPLOYMENT, (None,), "unexpected response type from"),  # LangChain, of HTML
        (E.TRUNCATED, S.DEPLOYMENT, (None, 500), "incomplete chunked read|incompleteread"),
        (E.TRUNCATED, S.DEPLOYMENT, (None, 500), "complete message body|payload is not completed"),
        (E.TIMEOUT, S.DEPLOYMENT, (500, 503), "request timed out|read timed out|deadline exceeded"),
        (E.CONNECTION, S.DEPLOYMENT, (500, 503), "connection error|cannot connect to host"),
    )
)

TELLING_NAMES: Final = _by_word(
    (
        (E.CONTEXT_LENGTH, S.REQUEST, "ContextWindowExceededError ContextOverflowError"),
        (E.CONTENT_POLICY, S.REQUEST, "ContentPolicyViolationError RejectedRequestError ModelRefusalError"),
        (E.CONTENT_POLICY, S.REQUEST, "ContentFilterFinishReasonError OpenAIRefusalError"),
        (E.CONTENT_POLICY, S.CALLER, "GuardrailRaisedException BlockedPiiEntityError ResponseRejected"),
        (E.CONTENT_POLICY, S.CALLER, "SensitiveDataRouteException ModifyResponseException"),
        (E.PERMISSION, S.CALLER, "RequestDenied"),
        (E.QUOTA, S.CALLER, "BudgetExceededError"),
        (E.QUOTA, S.CREDENTIAL, "PaymentRequiredError"),
        (E.AUTHENTICATION, S.CREDENTIAL, "SecretNotFound CredentialsError NoCredentialsError RefreshError"),
        (E.AUTHENTICATION, S.CREDENTIAL, "PartialCredentialsError CredentialRetrievalError"),
        (E.AUTHENTICATION, S.CREDENTIAL, "DefaultCredentialsError TokenRetrievalError"),
        (E.MODEL_NOT_FOUND, S.MODEL, "LiteLLMUnknownProvider"),
        (E.TRUNCATED, S.REQUEST, "LengthFinishReasonError"),  # the caller's own max_tokens cut it
        (E.BAD_RESPONSE, S.DEPLOYMENT, "JSONDecodeError UnicodeDecodeError APIResponseValidationError"),
        (E.BAD_RESPONSE, S.DEPLOYMENT, "InvalidJSONError DecodingError ContentTypeError DecodeError"),
        (E.TIMEOUT, S.CALLER, "DeadlineExceeded"),  # the call's own deadline, not the deployment's
        (E.OVERLOADED, S.DEPLOYMENT, "AllDeploymentsUnavailable"),
        (E.LOCAL, S.REQUEST, "UnsupportedParamsError"),
        (E.LOCAL, S.LOCAL, "ConfigurationError HookFailed StorageError UnknownModel"),
    )
)
"""By class name, the most derived class first."""

TRANSPORT_NAMES: Final = _by_word(
    (
        (E.LOCAL, S.LOCAL, "PoolTimeout LocalProtocolError UnsupportedProtocol ProxyError InvalidURL"),
        (E.LOCAL, S.LOCAL, "ClientProxyConnectionError ClientHttpProxyError ProxyConnectionError"),
        (E.LOCAL, S.LOCAL, "MissingSchema InvalidSchema InvalidHeader StreamError EmptyPoolError"),
        (E.LOCAL, S.LOCAL, "TooManyRedirects"),
        (E.TRUNCATED, S.DEPLOYMENT, "ChunkedEncodingError ClientPayloadError IncompleteRead EOFError"),
        (E.TRUNCATED, S.DEPLOYMENT, "IncompleteReadError ResponseStreamingError"),
        (E.TIMEOUT, S.DEPLOYMENT, "TimeoutError TimeoutException Timeout APITimeoutError ServerTimeoutError"),
        (E.TIMEOUT, S.DEPLOYMENT, "ConnectTimeout ModelTimeoutError ReadTimeoutError ConnectTimeoutError"),
        (E.CONNECTION, S.DEPLOYMENT, "ConnectionError APIConnectionError NetworkError ProtocolError"),
        (E.CONNECTION, S.DEPLOYMENT, "ClientConnectionError ModelConnectionError SSLError gaierror"),
        (E.CONNECTION, S.DEPLOYMENT, "NewConnectionError MaxRetryError ConnectionClosedError"),
    )
)

STATUSES: Final[Mapping[int, Verdict]] = {
    400: (E.INVALID_REQUEST, S.REQUEST),
    401: (E.AUTHENTICATION, S.CREDENTIAL),
    402: (E.QUOTA, S.CREDENTIAL),
    403: (E.PERMISSION, S.CREDENTIAL),
    404: (E.MODEL_NOT_FOUND, S.MODEL),
    405: (E.MODEL_NOT_FOUND, S.MODEL),  # a wrong path, as 404 may be
    407: (E.LOCAL, S.LOCAL),
    408: (E.TIMEOUT, S.DEPLOYMENT),
    409: (E.CONFLICT, S.MODEL),
    410: (E.MODEL_NOT_FOUND, S.MODEL),
    413: (E.TOO_LARGE, S.REQUEST),
    414: (E.TOO_LARGE, S.REQUEST),
    415: (E.INVALID_REQUEST, S.REQUEST),
    422: (E.INVALID_REQUEST, S.REQUEST),
    424: (E.SERVER, S.DEPLOYMENT),
    425: (E.OVERLOADED, S.DEPLOYMENT),
    429: (E.RATE_LIMIT, S.MODEL),
    431: (E.TOO_LARGE, S.REQUEST),
    451: (E.REGION, S.MODEL),
    499: (E.SERVER, S.DEPLOYMENT),
    503: (E.OVERLOADED, S.DEPLOYMENT),
    504: (E.TIMEOUT, S.DEPLOYMENT),
    524: (E.TIMEOUT, S.DEPLOYMENT),
    529: (E.OVERLOADED, S.PROVIDER),
    # Never followed with the key: whoever wrote this address has to write the right one.
    **dict.fromkeys(range(300, 400), (E.LOCAL, S.LOCAL)),
}
"""Any other 5xx is a server's failure; any other 4xx is unknown, and the request's."""

VAGUE_NAMES: Final = _by_word(
    (
        (E.RATE_LIMIT, S.MODEL, "RateLimitError ModelRateLimitError ResourceExhausted"),
        (E.AUTHENTICATION, S.CREDENTIAL, "AuthenticationError ModelAuthenticationError"),
        (E.PERMISSION, S.CREDENTIAL, "PermissionDeniedError ModelPermissionDeniedError"),
        (E.MODEL_NOT_FOUND, S.MODEL, "NotFoundError ModelNotFoundError"),
        (E.INVALID_REQUEST, S.REQUEST, "BadRequestError ModelInvalidRequestError UnprocessableEntityError"),
        (E.CONFLICT, S.MODEL, "ConflictError"),
        (E.OVERLOADED, S.DEPLOYMENT, "OverloadedError ServiceUnavailableError"),
        (E.SERVER, S.DEPLOYMENT, "InternalServerError ModelAPIError APIError ProviderError"),
        (E.TRUNCATED, S.DEPLOYMENT, "StreamInterrupted"),
        # A client that stumbles over an answer it did not expect.
        (E.BAD_RESPONSE, S.DEPLOYMENT, "LookupError AttributeError"),
        (E.EMPTY_RESPONSE, S.DEPLOYMENT, "StopIteration StopAsyncIteration"),
        # Raised before anything was sent: another client may well take the same request.
        (E.LOCAL, S.REQUEST, "TypeError ValueError NotImplementedError ImportError"),
        (E.LOCAL, S.LOCAL, "FileNotFoundError PermissionError IsADirectoryError NotADirectoryError"),
        (E.LOCAL, S.LOCAL, "FileExistsError MemoryError RecursionError AssertionError"),
        (E.LOCAL, S.CALLER, "CancelledError GeneratorExit KeyboardInterrupt SystemExit"),
        (E.CONNECTION, S.DEPLOYMENT, "OSError TransportError RequestError"),
    )
)
"""By class name along the whole MRO, the most derived class first."""
