"""What each client's exceptions are taken for: real exception objects, constructed without a network."""

# ruff: noqa: E501 - one line per row

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import ssl
import time
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import aiohttp
import anthropic
import botocore.exceptions
import httpcore
import httpx
import httpx2
import litellm
import openai
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from langchain_anthropic.chat_models import AnthropicContextOverflowError
from langchain_core import exceptions as langchain
from langchain_openai.chat_models.base import OpenAIRateLimitError, OpenAIRefusalError
from support.client_errors import (
    DATE,
    OPENAI,
    QUOTA_TEXT,
    REQUEST,
    REQUEST2,
    caused,
    from_anthropic,
    from_bedrock,
    from_httpx,
    from_litellm,
    from_openai,
    from_requests,
    gemini,
    provider,
    through_litellm,
)

from llmgate_plugins import errors
from llmgate_plugins.classification import Reaction, classify, reaction_to, retry_after, should_retry
from llmgate_plugins.types import ErrorClass as E
from llmgate_plugins.types import Failure
from llmgate_plugins.types import Scope as S

ROWS: list[tuple[str, Exception, E, S]] = [
    # openai
    ("quota by code", from_openai(429, {"message": QUOTA_TEXT, "type": "insufficient_quota", "code": "insufficient_quota"}), E.QUOTA, S.CREDENTIAL),
    ("spend limit, whose type says nothing", from_openai(429, {"message": "m", "type": "invalid_request_error", "code": "project_spend_limit_exceeded"}), E.QUOTA, S.CREDENTIAL),
    ("credit balance exhausted", from_openai(403, {"message": "m", "type": None, "code": "credit_balance_exhausted"}), E.QUOTA, S.CREDENTIAL),
    ("402", from_openai(402, {"message": "pay"}), E.QUOTA, S.CREDENTIAL),
    ("rate limit", from_openai(429, {"message": "Rate limit reached for m on tokens per min (TPM). You can add a payment method to your account at https://platform.openai.com/account/billing.", "type": "tokens", "code": "rate_limit_exceeded"}), E.RATE_LIMIT, S.MODEL),
    ("rate limit without a body", from_openai(429), E.RATE_LIMIT, S.MODEL),
    ("a request that can never fit its rate limit", from_openai(429, {"message": "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 50000.", "type": "tokens", "code": "rate_limit_exceeded"}), E.TOO_LARGE, S.MODEL),
    ("slow down", from_openai(503, {"message": "m", "code": "slow_down"}), E.RATE_LIMIT, S.MODEL),
    ("wrong key", from_openai(401, {"message": "Incorrect API key provided", "type": "invalid_request_error", "code": "invalid_api_key"}), E.AUTHENTICATION, S.CREDENTIAL),
    ("no key, whose type misleads", from_openai(401, {"message": "You didn't provide an API key.", "type": "invalid_request_error", "code": None}), E.AUTHENTICATION, S.CREDENTIAL),
    ("region", from_openai(403, {"message": "Country, region, or territory not supported", "type": "request_forbidden", "code": "unsupported_country_region_territory"}), E.REGION, S.MODEL),
    ("permission", from_openai(403, {"message": "no", "type": "insufficient_permissions"}), E.PERMISSION, S.CREDENTIAL),
    ("model not found", from_openai(404, {"message": "The model `x` does not exist", "type": "invalid_request_error", "code": "model_not_found"}), E.MODEL_NOT_FOUND, S.MODEL),
    ("wrong path", from_openai(404, "<html>nginx</html>"), E.MODEL_NOT_FOUND, S.MODEL),
    ("gone", from_openai(410), E.MODEL_NOT_FOUND, S.MODEL),
    ("context by code", from_openai(400, {"message": "m", "type": "invalid_request_error", "code": "context_length_exceeded"}), E.CONTEXT_LENGTH, S.REQUEST),
    ("context by phrase", from_openai(400, {"message": "This model's maximum context length is 8192 tokens.", "type": "BadRequestError", "code": 400}), E.CONTEXT_LENGTH, S.REQUEST),
    ("content policy", from_openai(400, {"message": "m", "code": "content_policy_violation"}), E.CONTENT_POLICY, S.REQUEST),
    ("Azure's filter", from_openai(400, {"message": "m", "code": "content_filter", "innererror": {"code": "ResponsibleAIPolicyViolation"}}), E.CONTENT_POLICY, S.REQUEST),
    ("bad parameter", from_openai(400, {"message": "m", "type": "invalid_request_error", "code": "unsupported_parameter", "param": "x"}), E.INVALID_REQUEST, S.REQUEST),
    ("422 that quotes a user who writes of money", from_openai(422, {"message": 'Input was: {"code": "insufficient_quota"} exceeded your current quota'}), E.INVALID_REQUEST, S.REQUEST),
    ("409", from_openai(409), E.CONFLICT, S.MODEL),
    ("413", from_openai(413), E.TOO_LARGE, S.REQUEST),
    ("408", from_openai(408), E.TIMEOUT, S.DEPLOYMENT),
    ("500", from_openai(500, {"message": "The server had an error", "type": "server_error", "code": None}), E.SERVER, S.DEPLOYMENT),
    ("502 html", from_openai(502, "<html>Bad Gateway</html>"), E.SERVER, S.DEPLOYMENT),
    ("503", from_openai(503), E.OVERLOADED, S.DEPLOYMENT),
    ("504", from_openai(504), E.TIMEOUT, S.DEPLOYMENT),
    ("599", from_openai(599), E.SERVER, S.DEPLOYMENT),
    ("an unknown 4xx", from_openai(418), E.UNKNOWN, S.REQUEST),
    ("redirect", from_openai(307), E.LOCAL, S.LOCAL),
    ("connection", openai.APIConnectionError(request=REQUEST), E.CONNECTION, S.DEPLOYMENT),
    ("timeout", openai.APITimeoutError(request=REQUEST), E.TIMEOUT, S.DEPLOYMENT),
    ("our own pool is full", caused(openai.APITimeoutError(request=REQUEST), httpx.PoolTimeout("m")), E.LOCAL, S.LOCAL),
    ("error event in a stream", openai.APIError("m", REQUEST, body={"message": "m", "type": "server_error", "code": None}), E.SERVER, S.DEPLOYMENT),
    ("money in a stream", openai.APIError("m", REQUEST, body={"message": "m", "code": "insufficient_quota"}), E.QUOTA, S.CREDENTIAL),
    ("answer of another shape", openai.APIResponseValidationError(httpx.Response(200, request=REQUEST), None), E.BAD_RESPONSE, S.DEPLOYMENT),
    ("no key configured", openai.OpenAIError("The api_key client option must be set either by passing"), E.AUTHENTICATION, S.CREDENTIAL),
    ("filtered while parsing", openai.ContentFilterFinishReasonError(), E.CONTENT_POLICY, S.REQUEST),
    # anthropic
    ("overloaded", from_anthropic(529, {"type": "overloaded_error", "message": "Overloaded"}), E.OVERLOADED, S.PROVIDER),
    ("overloaded in mid-stream, at status 200", from_anthropic(200, {"type": "overloaded_error", "message": "Overloaded"}), E.OVERLOADED, S.PROVIDER),
    ("its own error in mid-stream", from_anthropic(200, {"type": "api_error", "message": "m"}), E.SERVER, S.DEPLOYMENT),
    ("something unheard of at status 200", from_anthropic(200, {"type": "odd", "message": "m"}), E.BAD_RESPONSE, S.DEPLOYMENT),
    ("anthropic rate limit", from_anthropic(429, {"type": "rate_limit_error", "message": "m"}), E.RATE_LIMIT, S.MODEL),
    ("spend limit behind a rate limit", from_anthropic(429, {"type": "rate_limit_error", "message": "m", "details": {"error_code": "enforced_spend_limit_reached"}}), E.QUOTA, S.CREDENTIAL),
    ("billing", from_anthropic(402, {"type": "billing_error", "message": "m"}), E.QUOTA, S.CREDENTIAL),
    ("credit balance behind a bad request", from_anthropic(400, {"type": "invalid_request_error", "message": "Your credit balance is too low to access the Anthropic API."}), E.QUOTA, S.CREDENTIAL),
    ("prompt too long", from_anthropic(400, {"type": "invalid_request_error", "message": "prompt is too long: 201234 tokens > 200000 maximum"}), E.CONTEXT_LENGTH, S.REQUEST),
    ("bad request", from_anthropic(400, {"type": "invalid_request_error", "message": "messages: at least one"}), E.INVALID_REQUEST, S.REQUEST),
    ("anthropic key", from_anthropic(401, {"type": "authentication_error", "message": "invalid x-api-key"}), E.AUTHENTICATION, S.CREDENTIAL),
    ("anthropic permission", from_anthropic(403, {"type": "permission_error", "message": "m"}), E.PERMISSION, S.CREDENTIAL),
    ("anthropic model", from_anthropic(404, {"type": "not_found_error", "message": "model: x"}), E.MODEL_NOT_FOUND, S.MODEL),
    ("anthropic size", from_anthropic(413, {"type": "request_too_large", "message": "m"}), E.TOO_LARGE, S.REQUEST),
    ("output filter", from_anthropic(400, {"type": "invalid_request_error", "message": "Output blocked by content filtering policy: content policy"}), E.CONTENT_POLICY, S.REQUEST),
    ("anthropic connection", anthropic.APIConnectionError(request=REQUEST2), E.CONNECTION, S.DEPLOYMENT),
    ("anthropic timeout", anthropic.APITimeoutError(request=REQUEST2), E.TIMEOUT, S.DEPLOYMENT),
    ("no way to authenticate", TypeError('"Could not resolve authentication method. Expected either api_key or auth_token"'), E.AUTHENTICATION, S.CREDENTIAL),
    # litellm
    ("litellm: money as rate limit", through_litellm(from_openai(429, {"message": QUOTA_TEXT, "type": "insufficient_quota", "code": "insufficient_quota"})), E.QUOTA, S.CREDENTIAL),
    ("litellm: money in text alone", from_litellm("RateLimitError", f"OpenAIException - {QUOTA_TEXT}"), E.QUOTA, S.CREDENTIAL),
    ("litellm: rate limit", through_litellm(from_openai(429, {"message": "slow", "code": "rate_limit_exceeded"})), E.RATE_LIMIT, S.MODEL),
    ("litellm: context", from_litellm("ContextWindowExceededError"), E.CONTEXT_LENGTH, S.REQUEST),
    ("litellm: policy", from_litellm("ContentPolicyViolationError"), E.CONTENT_POLICY, S.REQUEST),
    ("litellm: overload as 500", from_litellm("InternalServerError", 'AnthropicError - {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}'), E.OVERLOADED, S.PROVIDER),
    ("litellm: refused as 500", from_litellm("InternalServerError", "OpenAIException - Connection error."), E.CONNECTION, S.DEPLOYMENT),
    ("litellm: connection", through_litellm(openai.APIConnectionError(request=REQUEST)), E.CONNECTION, S.DEPLOYMENT),
    ("litellm: timeout", through_litellm(openai.APITimeoutError(request=REQUEST)), E.TIMEOUT, S.DEPLOYMENT),
    ("litellm: key", from_litellm("AuthenticationError"), E.AUTHENTICATION, S.CREDENTIAL),
    ("litellm: model", from_litellm("NotFoundError"), E.MODEL_NOT_FOUND, S.MODEL),
    ("litellm: payment", from_litellm("PaymentRequiredError"), E.QUOTA, S.CREDENTIAL),
    ("litellm: bad request", from_litellm("BadRequestError"), E.INVALID_REQUEST, S.REQUEST),
    ("litellm: parameters of another provider", from_litellm("UnsupportedParamsError"), E.LOCAL, S.REQUEST),
    ("litellm: unavailable", from_litellm("ServiceUnavailableError"), E.OVERLOADED, S.DEPLOYMENT),
    ("litellm: gateway", from_litellm("BadGatewayError"), E.SERVER, S.DEPLOYMENT),
    ("litellm: broken in mid-stream", from_litellm("MidStreamFallbackError", original_exception=httpx.ReadTimeout("m")), E.TIMEOUT, S.DEPLOYMENT),
    ("litellm: a budget of its own", litellm.BudgetExceededError(2.0, 1.0), E.QUOTA, S.CALLER),
    ("litellm: guardrail", litellm.exceptions.GuardrailRaisedException(message="no"), E.CONTENT_POLICY, S.CALLER),
    # LangChain
    ("langchain rate limit", langchain.ModelRateLimitError("m"), E.RATE_LIMIT, S.MODEL),
    ("langchain key", langchain.ModelAuthenticationError("m"), E.AUTHENTICATION, S.CREDENTIAL),
    ("langchain permission", langchain.ModelPermissionDeniedError("m"), E.PERMISSION, S.CREDENTIAL),
    ("langchain request", langchain.ModelInvalidRequestError("m"), E.INVALID_REQUEST, S.REQUEST),
    ("langchain model", langchain.ModelNotFoundError("m"), E.MODEL_NOT_FOUND, S.MODEL),
    ("langchain server", langchain.ModelAPIError("m"), E.SERVER, S.DEPLOYMENT),
    ("langchain connection", langchain.ModelConnectionError("m"), E.CONNECTION, S.DEPLOYMENT),
    ("langchain timeout", langchain.ModelTimeoutError("m"), E.TIMEOUT, S.DEPLOYMENT),
    ("langchain context", langchain.ContextOverflowError("m"), E.CONTEXT_LENGTH, S.REQUEST),
    ("langchain-anthropic context", AnthropicContextOverflowError("m", response=httpx2.Response(400, request=REQUEST2), body=None), E.CONTEXT_LENGTH, S.REQUEST),
    ("langchain-openai keeps its code", OpenAIRateLimitError("m", response=httpx.Response(429, request=REQUEST), body={"code": "insufficient_quota"}), E.QUOTA, S.CREDENTIAL),
    ("refusal", OpenAIRefusalError("no"), E.CONTENT_POLICY, S.REQUEST),
    ("an empty stream", ValueError("No generations found in stream."), E.EMPTY_RESPONSE, S.DEPLOYMENT),
    ("an error in a 200", ValueError({"message": "m", "code": 429}), E.RATE_LIMIT, S.MODEL),
    ("no choices", TypeError("Received response with null value for 'choices'."), E.BAD_RESPONSE, S.DEPLOYMENT),
    # transports
    ("httpx refused", httpx.ConnectError("m"), E.CONNECTION, S.DEPLOYMENT),
    ("httpx read timeout", httpx.ReadTimeout("m"), E.TIMEOUT, S.DEPLOYMENT),
    ("httpx pool", httpx.PoolTimeout("m"), E.LOCAL, S.LOCAL),
    ("httpx cut in mid-stream", httpx.RemoteProtocolError("peer closed connection without sending complete message body (incomplete chunked read)"), E.TRUNCATED, S.DEPLOYMENT),
    ("httpx hung up", httpx.RemoteProtocolError("Server disconnected without sending a response."), E.CONNECTION, S.DEPLOYMENT),
    ("httpx2 reset", httpx2.ReadError("m"), E.CONNECTION, S.DEPLOYMENT),
    ("httpx proxy", httpx.ProxyError("m"), E.LOCAL, S.LOCAL),
    ("httpx bad address", httpx.UnsupportedProtocol("m"), E.LOCAL, S.LOCAL),
    ("httpx status", from_httpx(503), E.OVERLOADED, S.DEPLOYMENT),
    ("httpx status with a body", from_httpx(429, b'{"error": {"code": "insufficient_quota"}}'), E.QUOTA, S.CREDENTIAL),
    ("httpcore", httpcore.ConnectTimeout("m"), E.TIMEOUT, S.DEPLOYMENT),
    ("requests", requests.ConnectionError("m"), E.CONNECTION, S.DEPLOYMENT),
    ("requests connect timeout", requests.ConnectTimeout("m"), E.TIMEOUT, S.DEPLOYMENT),
    ("requests status", from_requests(429), E.RATE_LIMIT, S.MODEL),
    ("requests cut", requests.exceptions.ChunkedEncodingError("m"), E.TRUNCATED, S.DEPLOYMENT),
    ("aiohttp hung up", aiohttp.ServerDisconnectedError(), E.CONNECTION, S.DEPLOYMENT),
    ("aiohttp timeout", aiohttp.ServerTimeoutError(), E.TIMEOUT, S.DEPLOYMENT),
    ("aiohttp cut", aiohttp.ClientPayloadError("Response payload is not completed"), E.TRUNCATED, S.DEPLOYMENT),
    ("aiohttp status", aiohttp.ClientResponseError(None, (), status=503), E.OVERLOADED, S.DEPLOYMENT),  # type: ignore[arg-type]
    ("bedrock throttles", from_bedrock("ThrottlingException", 400), E.RATE_LIMIT, S.MODEL),
    ("bedrock denies", from_bedrock("AccessDeniedException", 403), E.PERMISSION, S.CREDENTIAL),
    ("bedrock context", from_bedrock("ValidationException", 400, "Input is too long for requested model."), E.CONTEXT_LENGTH, S.REQUEST),
    ("bedrock without credentials", botocore.exceptions.NoCredentialsError(), E.AUTHENTICATION, S.CREDENTIAL),
    # Google
    ("gemini per minute", provider(429, body=gemini(429, "RESOURCE_EXHAUSTED", QUOTA_TEXT, violations=[{"quotaId": "GenerateRequestsPerMinutePerProject"}])), E.RATE_LIMIT, S.MODEL),
    ("gemini per day", provider(429, body=gemini(429, "RESOURCE_EXHAUSTED", QUOTA_TEXT, violations=[{"quotaId": "GenerateRequestsPerDayPerProject"}])), E.QUOTA, S.MODEL),
    ("gemini key", provider(400, body=gemini(400, "INVALID_ARGUMENT", "API key not valid.", reason="API_KEY_INVALID")), E.AUTHENTICATION, S.CREDENTIAL),
    ("gemini region", provider(400, body=gemini(400, "FAILED_PRECONDITION", "User location is not supported for the API use.")), E.REGION, S.MODEL),
    ("gemini in a 200", provider(200, body=gemini(503, "UNAVAILABLE")), E.OVERLOADED, S.DEPLOYMENT),
    # builtins
    ("timeout error", TimeoutError("m"), E.TIMEOUT, S.DEPLOYMENT),
    ("reset", ConnectionResetError(104, "m"), E.CONNECTION, S.DEPLOYMENT),
    ("dns", socket.gaierror(-2, "m"), E.CONNECTION, S.DEPLOYMENT),
    ("certificate", ssl.SSLCertVerificationError(1, "m"), E.CONNECTION, S.DEPLOYMENT),
    ("no route", OSError(113, "No route to host"), E.CONNECTION, S.DEPLOYMENT),
    ("a missing file", FileNotFoundError(2, "m"), E.LOCAL, S.LOCAL),
    ("foreign argument", TypeError("create() got an unexpected keyword argument 'seed'"), E.LOCAL, S.REQUEST),
    ("a client refuses", ValueError("m"), E.LOCAL, S.REQUEST),
    ("json", json.JSONDecodeError("m", "<html>", 0), E.BAD_RESPONSE, S.DEPLOYMENT),
    ("index", IndexError("list index out of range"), E.BAD_RESPONSE, S.DEPLOYMENT),
    ("html as an answer", AttributeError("'str' object has no attribute 'choices'"), E.BAD_RESPONSE, S.DEPLOYMENT),
    ("anything", RuntimeError("m"), E.UNKNOWN, S.DEPLOYMENT),
    ("wrapped", caused(RuntimeError("m"), caused(RuntimeError("m"), httpx.ReadTimeout("m"))), E.TIMEOUT, S.DEPLOYMENT),
    # our own
    ("a class named by a transport", provider(code="truncated"), E.TRUNCATED, S.DEPLOYMENT),
    ("empty response", provider(200, code="empty_response"), E.EMPTY_RESPONSE, S.DEPLOYMENT),
    ("a 200 that is no answer", provider(200), E.BAD_RESPONSE, S.DEPLOYMENT),
    ("nothing known", provider(), E.SERVER, S.DEPLOYMENT),
    ("the call's deadline", errors.DeadlineExceeded("m"), E.TIMEOUT, S.CALLER),
    ("no such secret", errors.SecretNotFound("m", reference="env:X"), E.AUTHENTICATION, S.CREDENTIAL),
    ("denied", errors.RequestDenied("m"), E.PERMISSION, S.CALLER),
    ("a broken plugin", errors.HookFailed("p", "h", ValueError("m")), E.LOCAL, S.LOCAL),
    ("a broken stream", caused(errors.StreamInterrupted("m"), httpx.ReadError("m")), E.CONNECTION, S.DEPLOYMENT),
    ("a stream that just ended", errors.StreamInterrupted("m"), E.TRUNCATED, S.DEPLOYMENT),
]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "error_class", "scope"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_an_error_is_taken_for_what_it_is(error: Exception, error_class: E, scope: S) -> None:
    failure = classify(error)
    assert (failure.error_class, failure.scope) == (error_class, scope)


def test_status_and_code_are_kept_as_the_provider_gave_them() -> None:
    failure = classify(from_openai(429, {"message": "m", "code": "insufficient_quota"}, {"retry-after": "7"}))
    assert failure == Failure(
        error_class=E.QUOTA, scope=S.CREDENTIAL, status=429, code="insufficient_quota", retry_after=7.0
    )


def test_a_type_stands_in_where_there_is_no_code() -> None:
    assert (
        classify(from_anthropic(529, {"type": "overloaded_error", "message": "m"})).code == "overloaded_error"
    )


def test_a_connection_that_failed_has_no_status_whatever_litellm_invents() -> None:
    error = through_litellm(openai.APIConnectionError(request=REQUEST))
    assert getattr(error, "status_code", None) == 500
    assert classify(error).status is None


def test_a_code_that_is_no_word_is_not_kept() -> None:
    assert classify(provider(500, code="sk-secret with spaces " * 9)).code is None


def test_every_class_can_be_named_by_a_transport() -> None:
    for one in E:
        if one is not E.UNKNOWN:
            assert classify(provider(code=one.value)).error_class is one


WAITS = [
    ({"retry-after-ms": "1500"}, 1.5),
    ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
    ({"retry-after": "7"}, 7.0),
    ({"retry-after": "0.25"}, 0.25),
    ({"Retry-After": "7"}, 7.0),
    ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": DATE}, 30.0),
    ({"retry-after": "Wed, 21 Oct 2026 07:27:30 GMT", "date": DATE}, None),
    ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
    ({"retry-after": "3600"}, 3600.0),
    ({"retry-after": "99999999999"}, 365 * 86400.0),
    ({"retry-after": "-1"}, None),
    ({"retry-after": "0"}, None),
    ({"retry-after": "nan"}, None),
    ({"retry-after": "inf"}, None),
    ({"retry-after": "soon"}, None),
    ({"retry-after": "1_0"}, None),
    ({"retry-after": "1e3"}, None),
    ({"retry-after": "-0.5"}, None),
    ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
    ({"retry-after": " 7 "}, 7.0),
    ({"retry-after": "7", "x-ratelimit-reset-tokens": "6m0s"}, 7.0),
    ({"retry-after": "0", "x-ratelimit-reset-tokens": "6m0s"}, 360.0),
    ({"x-ratelimit-reset": "1792567690000", "date": DATE}, 10.0),
    ({"retry-after": ""}, None),
    ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "6m0s"}, 360.0),
    ({"x-ratelimit-reset-tokens": "120ms"}, 0.12),
    ({"x-ratelimit-reset-tokens": "2m59.56s"}, 179.56),
    ({"x-ratelimit-reset-tokens": "never"}, None),
    ({"anthropic-ratelimit-tokens-reset": "2026-10-21T07:28:10Z", "date": DATE}, 10.0),
    ({}, None),
]


@pytest.mark.parametrize(("headers", "seconds"), WAITS, ids=[str(headers) for headers, _ in WAITS])
def test_how_long_to_wait_is_read_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    for error in (
        from_openai(429, None, headers),
        from_anthropic(429, {}, headers),
        provider(429, headers=headers),
    ):
        assert retry_after(error) == (pytest.approx(seconds) if seconds is not None else None)
        assert classify(error).retry_after == retry_after(error)


def test_google_and_messages_tell_how_long_to_wait_too() -> None:
    assert classify(provider(429, body=gemini(429, "RESOURCE_EXHAUSTED", retryDelay="37s"))).retry_after == 37
    stream = openai.APIError("Please try again in 1m2.5s.", REQUEST, body={"code": "rate_limit_exceeded"})
    assert classify(stream).retry_after == 62.5
    assert classify(from_bedrock("ThrottlingException", 429)).retry_after == 3


def test_litellm_keeps_how_long_to_wait() -> None:
    error = through_litellm(from_openai(429, {"message": "m"}, {"retry-after": "7"}))
    assert classify(error).retry_after == 7


def test_a_wait_means_nothing_for_what_waiting_does_not_mend() -> None:
    assert classify(from_openai(401, None, {"retry-after": "7"})).retry_after is None


@pytest.mark.parametrize(("said", "meant"), [("true", True), ("FALSE", False), ("maybe", None), (None, None)])
def test_what_the_provider_says_about_retrying_is_read(said: str | None, meant: bool | None) -> None:
    assert should_retry(from_openai(500, None, {"x-should-retry": said} if said else {})) is meant
    assert should_retry(RuntimeError("m")) is None


def test_a_circle_of_causes_ends() -> None:
    one, other = RuntimeError("one"), RuntimeError("other")
    one.__cause__, other.__cause__ = other, one
    assert classify(one).error_class is E.UNKNOWN


class Hostile:
    """Raises whenever it is looked at."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["429", "insufficient_quota", "{", "[{", '{"error": {"code": 529}}'])
)
NAMES = (
    st.sampled_from(["error", "code", "type", "message", "details", "status", "innererror", "violations"])
    | st.sampled_from(["retry-after", "retry-after-ms", "date", "x-ratelimit-reset-tokens"])
    | st.sampled_from(["Error", "ResponseMetadata", "HTTPHeaders", "retryDelay", "headers"])
)


def nested(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Lists and mappings of these, with the names that providers give to things."""
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
        max_leaves=12,
    )


JSON = nested(PLAIN)
ANYTHING = nested(PLAIN | st.binary() | st.builds(Hostile))
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["status_code", "status", "code", "type", "body", "message", "headers", "response"])
    | st.sampled_from(["error_code", "original_exception", "litellm_response_headers"]),
    ANYTHING,
)


@given(ATTRIBUTES, st.lists(ANYTHING, max_size=2))
def test_nothing_an_exception_carries_makes_it_raise(attributes: dict[str, Any], args: list[Any]) -> None:
    error = RuntimeError(*args)
    error.__dict__.update(attributes)
    typed_and_quick(error)


KINDS = st.sampled_from(
    [
        httpx.ConnectError, httpx.RemoteProtocolError, httpx.PoolTimeout, ssl.SSLError, OSError, KeyError,
        TimeoutError, json.JSONDecodeError, errors.ProviderError, errors.StreamInterrupted, UnicodeDecodeError,
        openai.APIConnectionError, requests.ConnectionError, aiohttp.ClientError,
        botocore.exceptions.HTTPClientError,
    ]
)  # fmt: skip


@given(st.lists(st.tuples(KINDS, st.text(max_size=60), ATTRIBUTES), min_size=1, max_size=9), st.booleans())
def test_no_chain_of_causes_makes_it_raise(links: list[Any], circular: bool) -> None:
    chain: list[BaseException] = []
    for kind, text, attributes in links:
        error = kind.__new__(kind)
        error.args = (text,)
        with contextlib.suppress(AttributeError, TypeError, ValueError):
            error.__dict__.update(attributes)
        if chain:
            chain[-1].__cause__ = error
        chain.append(error)
    if circular:
        chain[-1].__cause__ = chain[0]
    typed_and_quick(chain[0])


@given(
    st.integers(100, 599),
    st.binary(max_size=300) | JSON.map(lambda body: json.dumps(body).encode()),
    st.dictionaries(
        st.sampled_from(
            ["retry-after", "retry-after-ms", "date", "x-should-retry", "x-ratelimit-reset-tokens"]
        ),
        st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=40),
    ),
)
def test_no_answer_of_any_server_makes_it_raise(status: int, body: bytes, headers: dict[str, str]) -> None:
    coded = {name: value.encode("latin-1") for name, value in headers.items()}
    for error in (
        from_httpx_response(httpx.Response(status, headers=coded, request=REQUEST, content=body)),
        provider(status, headers=headers, body=body),
    ):
        typed_and_quick(error)


def from_httpx_response(response: httpx.Response) -> Exception:
    return OPENAI._make_status_error_from_response(response)


DEEP: Any = []
for _ in range(900):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "error",
    [
        provider(400, body="{" * 1_000_000),
        provider(400, body=b"[" * 10_000_000),
        provider(400, body={"error": {"message": "a" * 10_000_000}}),
        provider(400, body={"error": {"details": [{"reason": "x" * 10_000}] * 100_000}}),
        provider(429, body={"error": {"details": [{"violations": [{"quotaId": "x" * 10_000}] * 100_000}]}}),
        provider(429, headers={"retry-after": "9" * 10_000_000}),
        provider(429, headers={"retry-after": "1h" * 1_000_000}),
        provider(429, headers={"x-ratelimit-reset-tokens": "1m" * 5_000_000}),
        provider(400, body={"error": DEEP}),
        RuntimeError("try again in " * 1_000_000),
        RuntimeError("try again in " + "1h" * 1_000_000),
        RuntimeError('"code": "' * 1_000_000),
        RuntimeError('{"error": ' * 100_000),
        requests.ConnectionError(RuntimeError("x" * 10_000_000)),
    ],
    ids=range(14),
)
def test_huge_things_are_classified_in_no_time(error: Exception) -> None:
    typed_and_quick(error)


def typed_and_quick(error: BaseException) -> None:
    """A `Failure` of sensible values in no time, whatever it is made from: it takes 1 ms or less."""
    begun = time.thread_time()
    failure = classify(error)
    took = time.thread_time() - begun
    assert isinstance(failure, Failure)
    assert isinstance(failure.error_class, E)
    assert isinstance(failure.scope, S)
    assert failure.status is None or 100 <= failure.status <= 599
    assert failure.code is None or 2 <= len(failure.code) <= 64
    assert failure.retry_after is None or 0 < failure.retry_after <= 365 * 86400
    assert isinstance(reaction_to(failure), Reaction)
    assert should_retry(error) in (True, False, None)
    assert took < 0.5


@given(st.text(max_size=40))
def test_a_header_of_any_text_is_a_sensible_wait_or_none(text: str) -> None:
    for name in ("retry-after", "retry-after-ms", "x-ratelimit-reset-tokens"):
        wait = retry_after(provider(429, headers={name: text, "date": DATE}))
        assert wait is None or 0 < wait <= 365 * 86400


async def test_a_time_out_of_an_event_loop_is_a_time_out_and_no_cancelled_caller() -> None:
    with pytest.raises(TimeoutError) as raised:
        async with asyncio.timeout(0):
            await asyncio.sleep(1)
    failure = classify(raised.value)
    assert failure.error_class.value == "timeout"
    assert failure.scope.value == "deployment"
