"""The table of failures, row by row: what each is taken for, and what follows from it.

F01-F10 are made by real clients over real sockets, the others are what the clients make of
an answer. What is not raised as an error (F43, F46-F50, F57, F65-F73 and the host's own
troubles F74-F83) has no row here.
"""

# ruff: noqa: E501 - one line per row

from __future__ import annotations

import os

from support.patience import PATIENCE, auntil, until

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import anthropic
import botocore.config
import botocore.session
import httpx
import httpx2
import litellm
import openai
import pytest
import requests
from langchain_core import exceptions as langchain
from support import broken_servers
from support.client_errors import (
    QUOTA_TEXT,
    REQUEST,
    caused,
    from_anthropic,
    from_bedrock,
    from_httpx,
    from_openai,
    gemini,
    provider,
    through_litellm,
)

from llmgate_plugins import errors
from llmgate_plugins.classification import REACTIONS, classify, reaction_to, should_retry
from llmgate_plugins.classification.reactions import CODES
from llmgate_plugins.types import ErrorClass as E
from llmgate_plugins.types import Failure
from llmgate_plugins.types import Scope as S

pytestmark = [
    # Clients that failed leave their sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*`ReadOnly` qualifier:UserWarning"),
    pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning"),
]

MESSAGES: Any = [{"role": "user", "content": "x"}]


# ---------------------------------------------------------------- F01-F09: no answer came


def _openai(url: str) -> None:
    with openai.OpenAI(api_key="x", base_url=url, max_retries=0) as client:
        client.chat.completions.create(model="m", messages=MESSAGES)


async def _aopenai(url: str) -> None:
    async with openai.AsyncOpenAI(api_key="x", base_url=url, max_retries=0) as client:
        await client.chat.completions.create(model="m", messages=MESSAGES)


def _anthropic(url: str) -> None:
    with anthropic.Anthropic(api_key="x", base_url=url, max_retries=0) as client:
        client.messages.create(model="m", messages=MESSAGES, max_tokens=3)


async def _aanthropic(url: str) -> None:
    async with anthropic.AsyncAnthropic(api_key="x", base_url=url, max_retries=0) as client:
        await client.messages.create(model="m", messages=MESSAGES, max_tokens=3)


def _httpx(url: str) -> None:
    httpx.post(url)


async def _ahttpx(url: str) -> None:
    async with httpx2.AsyncClient() as client:
        await client.post(url)


def _requests(url: str) -> None:
    requests.post(url, timeout=5)


async def _aiohttp(url: str) -> None:
    async with aiohttp.ClientSession() as client, client.post(url):
        pass


def _litellm(url: str) -> None:
    litellm.completion("openai/m", MESSAGES, api_base=url, api_key="x", num_retries=0, max_retries=0)


async def _alitellm(url: str) -> None:
    await litellm.acompletion("openai/m", MESSAGES, api_base=url, api_key="x", num_retries=0, max_retries=0)


def _litellm_anthropic(url: str) -> None:
    litellm.completion("anthropic/m", MESSAGES, api_base=url, api_key="x", num_retries=0, max_retries=0)


async def _alitellm_anthropic(url: str) -> None:
    await litellm.acompletion(
        "anthropic/m", MESSAGES, api_base=url, api_key="x", num_retries=0, max_retries=0
    )


def _botocore(url: str) -> None:
    client = botocore.session.get_session().create_client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id="x",
        aws_secret_access_key="y",
        config=botocore.config.Config(retries={"total_max_attempts": 1}),
    )
    client.converse(modelId="m", messages=[{"role": "user", "content": [{"text": "x"}]}])


CLIENTS: dict[str, Callable[[str], Any]] = {
    one.__name__.strip("_"): one
    for one in (
        _openai, _aopenai, _anthropic, _aanthropic, _httpx, _ahttpx, _requests, _aiohttp,
        _litellm, _alitellm, _litellm_anthropic, _alitellm_anthropic, _botocore,
    )
}  # fmt: skip
every_client = pytest.mark.parametrize("client", CLIENTS)


def raised(client: str, url: str) -> Exception:
    """What this client raises when it asks there."""
    try:
        asked = CLIENTS[client](url)
        if asyncio.iscoroutine(asked):
            asyncio.run(asked)
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


def told(error: BaseException) -> tuple[E, S, int | None, str | None]:
    failure = classify(error)
    return failure.error_class, failure.scope, failure.status, failure.code


@every_client
def test_f01_refused(client: str) -> None:
    with broken_servers.no_server() as address:
        failure = classify(raised(client, f"http://{address}/v1"))
    assert (failure.error_class, failure.scope, failure.status) == (E.CONNECTION, S.DEPLOYMENT, None)
    assert failure.code in {"refused", "unreachable"}  # some clients do not say which
    assert (reaction_to(failure).retry_cost, reaction_to(failure).booked) == (0.4, "nothing")


@every_client
def test_f03_a_name_that_leads_nowhere(client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    failure = classify(raised(client, "http://no-such-host.invalid/v1"))
    assert (failure.error_class, failure.scope, failure.status) == (E.CONNECTION, S.DEPLOYMENT, None)
    assert failure.code in {"dns", "unreachable"}
    assert (reaction_to(failure).retry_cost, reaction_to(failure).booked) == (0.4, "nothing")


@every_client
def test_f04_a_certificate_that_nobody_vouches_for(client: str, tmp_path: Any) -> None:
    with broken_servers.certificate_of_nobody(tmp_path) as address:
        error = raised(client, f"https://{address}/v1")
    assert told(error) == (E.CONNECTION, S.DEPLOYMENT, None, "certificate")
    reaction = reaction_to(classify(error))
    assert (reaction.again, reaction.health, reaction.elsewhere) == (False, "ejects", "sibling")


@every_client
def test_f08_hung_up_before_any_answer(client: str) -> None:
    with broken_servers.hangs_up() as address:
        error = raised(client, f"http://{address}/v1")
    assert told(error) == (E.CONNECTION, S.DEPLOYMENT, None, "stale_connection")
    reaction = reaction_to(classify(error))
    assert (reaction.at_once, reaction.again, reaction.health, reaction.retry_cost) == (
        True,
        True,
        "nothing",
        0,
    )
    assert reaction.booked == "nothing"


def test_f08_a_connection_that_was_kept_open_too_long() -> None:
    with (
        broken_servers.hangs_up_later() as address,
        openai.OpenAI(api_key="x", base_url=f"http://{address}/v1", max_retries=0) as client,
    ):
        client.chat.completions.create(model="m", messages=MESSAGES)
        with pytest.raises(openai.APIConnectionError) as caught:
            client.chat.completions.create(model="m", messages=MESSAGES)
    assert told(caught.value)[3] == "stale_connection"


@pytest.fixture
def busy() -> Iterator[str]:
    with broken_servers.silent() as address:
        yield f"http://{address}/v1"


TIGHT = httpx.Timeout(PATIENCE, pool=0.1)
ONE = httpx.Limits(max_connections=1)


def taken(client: Any) -> bool:
    """Whether a request has a connection of this client's pool."""
    return bool(client._transport._pool.connections)


def test_f06_no_connection_left_in_our_own_pool(busy: str) -> None:
    with httpx.Client(limits=ONE, timeout=TIGHT) as pool:
        first = threading.Thread(
            target=lambda: raises(lambda: pool.post(busy, timeout=PATIENCE)), daemon=True
        )
        first.start()
        until(lambda: taken(pool))
        client = openai.OpenAI(api_key="x", base_url=busy, max_retries=0, http_client=pool, timeout=TIGHT)
        error = raises(lambda: client.chat.completions.create(model="m", messages=MESSAGES))
    assert told(error) == (E.LOCAL, S.LOCAL, None, "pool_timeout")


async def test_f06_no_connection_left_in_the_pool_of_a_loop(busy: str) -> None:
    async with httpx.AsyncClient(limits=ONE, timeout=TIGHT) as pool:
        first = asyncio.ensure_future(pool.post(busy, timeout=PATIENCE))
        await auntil(lambda: taken(pool))
        client = openai.AsyncOpenAI(
            api_key="x", base_url=busy, max_retries=0, http_client=pool, timeout=TIGHT
        )
        with pytest.raises(openai.APITimeoutError) as caught:
            await client.chat.completions.create(model="m", messages=MESSAGES)
        first.cancel()
    assert told(caught.value) == (E.LOCAL, S.LOCAL, None, "pool_timeout")


def test_f07_no_first_byte(busy: str) -> None:
    with openai.OpenAI(api_key="x", base_url=busy, max_retries=0, timeout=0.1) as client:
        error = raises(lambda: client.chat.completions.create(model="m", messages=MESSAGES))
    assert told(error) == (E.TIMEOUT, S.DEPLOYMENT, None, None)
    assert (reaction_to(classify(error)).retry_cost, reaction_to(classify(error)).booked) == (1, "unknown")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_f09_a_proxy_that_lets_nobody_through(scheme: str) -> None:
    with broken_servers.proxy_that_refuses() as address, httpx.Client(proxy=f"http://{address}") as through:
        url = f"{scheme}://provider.invalid/v1"
        client = openai.OpenAI(api_key="x", base_url=url, max_retries=0, http_client=through)
        error = raises(lambda: client.chat.completions.create(model="m", messages=MESSAGES))
    failure = classify(error)
    assert (failure.error_class, failure.scope, failure.code) == (E.LOCAL, S.LOCAL, "proxy")
    assert reaction_to(failure).elsewhere == "never"
    assert reaction_to(failure).health == "nothing"


def raises(work: Callable[[], Any]) -> Exception:
    try:
        work()
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


# ---------------------------------------------------------------- F02, F05, F10-F64: what was answered

ANYWHERE, ACCOUNT, LARGER, ALLOWED, NEVER = (
    "sibling",
    "other_account",
    "larger_window",
    "allowed_only",
    "never",
)


def money(code: str, status: int = 429, **more: Any) -> Exception:
    return from_openai(status, {"message": "m", "code": code, **more})


def anthropic_429(**more: Any) -> Exception:
    return from_anthropic(429, {"type": "rate_limit_error", "message": "m", **more})


def groq(status: int, code: str, message: str = "m") -> Exception:
    return from_openai(status, {"message": message, "type": "invalid_request_error", "code": code})


def json_error() -> Exception:
    return raises(lambda: json.loads("<html>"))


# row, error, class, scope, code, where else, again, retry cost, booked
ROWS: list[tuple[str, Exception, E, S, str | None, str, bool, float, str]] = [
    ("F02 reset before any byte", caused(openai.APIConnectionError(request=REQUEST), caused(httpx.ReadError("m"), ConnectionResetError(104, "m"))), E.CONNECTION, S.DEPLOYMENT, None, ANYWHERE, True, 1, "unknown"),
    ("F05 connect timeout", caused(openai.APITimeoutError(request=REQUEST), httpx.ConnectTimeout("m")), E.TIMEOUT, S.DEPLOYMENT, "connect_timeout", ANYWHERE, True, 0.4, "nothing"),
    ("F05 connect timeout of requests", requests.ConnectTimeout("m"), E.TIMEOUT, S.DEPLOYMENT, "connect_timeout", ANYWHERE, True, 0.4, "nothing"),
    ("F07 first token of ours", TimeoutError("the deployment did not begin in time"), E.TIMEOUT, S.DEPLOYMENT, None, ANYWHERE, True, 1, "unknown"),
    ("F10 deadline", errors.DeadlineExceeded("m"), E.TIMEOUT, S.CALLER, None, NEVER, False, 0, "nothing"),
    ("F11 400", groq(400, "invalid_value"), E.INVALID_REQUEST, S.REQUEST, "invalid_value", NEVER, False, 0, "nothing"),
    ("F11 415", from_openai(415), E.INVALID_REQUEST, S.REQUEST, None, NEVER, False, 0, "nothing"),
    ("F11 422", from_openai(422, {"message": "m"}), E.INVALID_REQUEST, S.REQUEST, None, NEVER, False, 0, "nothing"),
    ("F11 bedrock", from_bedrock("ValidationException", 400), E.INVALID_REQUEST, S.REQUEST, "ValidationException", NEVER, False, 0, "nothing"),
    ("F11 mistral", from_openai(422, {"object": "error", "message": {"detail": [{"msg": "field required"}]}, "type": "invalid_request_error"}), E.INVALID_REQUEST, S.REQUEST, "invalid_request_error", NEVER, False, 0, "nothing"),
    ("F12 openai", groq(400, "context_length_exceeded"), E.CONTEXT_LENGTH, S.REQUEST, "context_length_exceeded", LARGER, False, 0, "nothing"),
    ("F12 gemini", provider(400, body=gemini(400, "INVALID_ARGUMENT", "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576).")), E.CONTEXT_LENGTH, S.REQUEST, "INVALID_ARGUMENT", LARGER, False, 0, "nothing"),
    ("F12 openrouter", from_openai(400, {"message": "This endpoint's maximum context length is 8192 tokens. However, you requested about 9000", "code": 400}), E.CONTEXT_LENGTH, S.REQUEST, None, LARGER, False, 0, "nothing"),
    ("F13 azure", from_openai(400, {"message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.", "code": "content_filter", "innererror": {"code": "ResponsibleAIPolicyViolation"}}), E.CONTENT_POLICY, S.REQUEST, "ResponsibleAIPolicyViolation", ALLOWED, False, 0, "nothing"),
    ("F13 openrouter moderation", from_openai(403, {"message": "Your chosen model requires moderation and your input was flagged by the moderator", "code": 403}), E.CONTENT_POLICY, S.REQUEST, None, ALLOWED, False, 0, "nothing"),
    *((f"F14 {code}", money(code), E.QUOTA, S.CREDENTIAL, code, ACCOUNT, False, 0, "nothing") for code in ("insufficient_quota", "credit_balance_exhausted", "organization_spend_limit_exceeded", "project_spend_limit_exceeded", "organization_usage_limit_exceeded", "blocked_api_access", "quota_exceeded")),
    *((f"F14 the code behind a type that stays, {status}", money("project_spend_limit_exceeded", status, type="insufficient_quota"), E.QUOTA, S.CREDENTIAL, "project_spend_limit_exceeded", ACCOUNT, False, 0, "nothing") for status in (400, 402, 403, 429)),
    ("F14 anthropic spend limit", anthropic_429(details={"error_code": "enforced_spend_limit_reached"}), E.QUOTA, S.CREDENTIAL, "enforced_spend_limit_reached", ACCOUNT, False, 0, "nothing"),
    ("F14 anthropic 402", from_anthropic(402, {"type": "billing_error", "message": "m"}), E.QUOTA, S.CREDENTIAL, "billing_error", ACCOUNT, False, 0, "nothing"),
    ("F14 anthropic 400", from_anthropic(400, {"type": "invalid_request_error", "message": "Your credit balance is too low"}), E.QUOTA, S.CREDENTIAL, "invalid_request_error", ACCOUNT, False, 0, "nothing"),
    ("F14 anthropic spend limit in words", from_anthropic(400, {"type": "invalid_request_error", "message": "You have reached your specified API usage limits: spend limit"}), E.QUOTA, S.CREDENTIAL, "invalid_request_error", ACCOUNT, False, 0, "nothing"),
    ("F14 gemini 402", provider(402, body=gemini(402, "FAILED_PRECONDITION")), E.QUOTA, S.CREDENTIAL, "FAILED_PRECONDITION", ACCOUNT, False, 0, "nothing"),
    ("F14 openrouter", from_openai(402, {"message": "Insufficient credits", "code": 402}), E.QUOTA, S.CREDENTIAL, None, ACCOUNT, False, 0, "nothing"),
    ("F14 deepseek", from_openai(402, {"message": "Insufficient Balance", "type": "unknown_error", "code": "invalid_request_error"}), E.QUOTA, S.CREDENTIAL, "invalid_request_error", ACCOUNT, False, 0, "nothing"),
    ("F14 through langchain", caused(langchain.ModelRateLimitError("m"), money("insufficient_quota")), E.QUOTA, S.CREDENTIAL, "insufficient_quota", ACCOUNT, False, 0, "nothing"),
    ("F15 401", from_openai(401, {"message": "m", "code": "invalid_api_key"}), E.AUTHENTICATION, S.CREDENTIAL, "invalid_api_key", ACCOUNT, False, 0, "nothing"),
    ("F15 gemini's bad key is a 400", provider(400, body=gemini(400, "INVALID_ARGUMENT", "API key not valid.", reason="API_KEY_INVALID")), E.AUTHENTICATION, S.CREDENTIAL, "API_KEY_INVALID", ACCOUNT, False, 0, "nothing"),
    ("F15 azure", from_openai(401, {"code": "401", "message": "Access denied due to invalid subscription key or wrong API endpoint."}), E.AUTHENTICATION, S.CREDENTIAL, None, ACCOUNT, False, 0, "nothing"),
    ("F15 bedrock", from_bedrock("UnrecognizedClientException", 403), E.AUTHENTICATION, S.CREDENTIAL, "UnrecognizedClientException", ACCOUNT, False, 0, "nothing"),
    ("F17 403 key", from_openai(403, {"message": "m", "type": "insufficient_permissions"}), E.PERMISSION, S.CREDENTIAL, "insufficient_permissions", ACCOUNT, False, 0, "nothing"),
    ("F17 anthropic", from_anthropic(403, {"type": "permission_error", "message": "m"}), E.PERMISSION, S.CREDENTIAL, "permission_error", ACCOUNT, False, 0, "nothing"),
    ("F18 region", from_openai(403, {"message": "Country, region, or territory not supported", "code": "unsupported_country_region_territory"}), E.REGION, S.MODEL, "unsupported_country_region_territory", ANYWHERE, False, 0, "nothing"),
    ("F18 gemini", provider(400, body=gemini(400, "FAILED_PRECONDITION", "User location is not supported for the API use.")), E.REGION, S.MODEL, "FAILED_PRECONDITION", ANYWHERE, False, 0, "nothing"),
    ("F19 404 model", from_openai(404, {"message": "The model `x` does not exist or you do not have access to it.", "code": "model_not_found"}), E.MODEL_NOT_FOUND, S.MODEL, "model_not_found", ANYWHERE, False, 0, "nothing"),
    ("F19 anthropic", from_anthropic(404, {"type": "not_found_error", "message": "model: claude-x"}), E.MODEL_NOT_FOUND, S.MODEL, "not_found_error", ANYWHERE, False, 0, "nothing"),
    ("F19 azure", from_openai(404, {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist."}), E.MODEL_NOT_FOUND, S.MODEL, "DeploymentNotFound", ANYWHERE, False, 0, "nothing"),
    ("F19 gemini", provider(404, body=gemini(404, "NOT_FOUND", "models/x is not found for API version v1beta")), E.MODEL_NOT_FOUND, S.MODEL, "NOT_FOUND", ANYWHERE, False, 0, "nothing"),
    ("F19 403 model", from_openai(403, {"message": "Project `p` does not have access to model `m`", "code": "model_not_found"}), E.MODEL_NOT_FOUND, S.MODEL, "model_not_found", ANYWHERE, False, 0, "nothing"),
    ("F20 404 path of nginx", from_openai(404, "<html><h1>404 Not Found</h1></html>"), E.MODEL_NOT_FOUND, S.MODEL, "wrong_path", ANYWHERE, False, 0, "nothing"),
    ("F20 404 path of openai", from_openai(404, {"message": "Invalid URL (POST /v1/models/completions)", "type": "invalid_request_error", "code": None}), E.MODEL_NOT_FOUND, S.MODEL, "wrong_path", ANYWHERE, False, 0, "nothing"),
    ("F20 404 no chat model of openai", from_openai(404, {"message": "This is not a chat model and thus not supported in the v1/chat/completions endpoint. Did you mean to use v1/completions?", "type": "invalid_request_error", "param": "model", "code": None}), E.MODEL_NOT_FOUND, S.MODEL, "wrong_path", ANYWHERE, False, 0, "nothing"),
    ("F20 404 responses alone of openai", from_openai(404, {"message": "This model is only supported in v1/responses and not in v1/chat/completions.", "type": "invalid_request_error", "param": "model", "code": None}), E.MODEL_NOT_FOUND, S.MODEL, "wrong_path", ANYWHERE, False, 0, "nothing"),
    ("F20 404 path of anthropic", from_anthropic(404, {"type": "not_found_error", "message": "Not Found"}), E.MODEL_NOT_FOUND, S.MODEL, "wrong_path", ANYWHERE, False, 0, "nothing"),
    ("F20 404 path of fastapi", from_httpx(404, b'{"detail":"Not Found"}'), E.MODEL_NOT_FOUND, S.MODEL, "wrong_path", ANYWHERE, False, 0, "nothing"),
    ("F20 405", from_openai(405), E.MODEL_NOT_FOUND, S.MODEL, "wrong_path", ANYWHERE, False, 0, "nothing"),
    ("F21 408", from_openai(408), E.TIMEOUT, S.DEPLOYMENT, None, ANYWHERE, True, 1, "unknown"),
    ("F22 409", from_openai(409), E.CONFLICT, S.MODEL, None, NEVER, True, 1, "nothing"),
    ("F23 410", from_openai(410), E.MODEL_NOT_FOUND, S.MODEL, "gone", ANYWHERE, False, 0, "nothing"),
    ("F23 groq", groq(400, "model_decommissioned"), E.MODEL_NOT_FOUND, S.MODEL, "model_decommissioned", ANYWHERE, False, 0, "nothing"),
    ("F24 413", from_openai(413), E.TOO_LARGE, S.REQUEST, None, LARGER, False, 0, "nothing"),
    ("F24 cloudflare before anthropic", from_anthropic(413, "<html>413 Request Entity Too Large</html>"), E.TOO_LARGE, S.REQUEST, None, LARGER, False, 0, "nothing"),
    ("F24 through litellm, which calls it a rate limit", through_litellm(from_openai(413, {"message": "too large"})), E.TOO_LARGE, S.REQUEST, None, LARGER, False, 0, "nothing"),
    ("F25 openai", from_openai(429, {"message": "Rate limit reached for gpt-4o on requests per min (RPM)", "code": "rate_limit_exceeded"}), E.RATE_LIMIT, S.MODEL, "rate_limit_exceeded", ANYWHERE, True, 0.4, "nothing"),
    ("F25 slow down", from_openai(503, {"message": "m", "code": "slow_down"}), E.RATE_LIMIT, S.MODEL, "slow_down", ANYWHERE, True, 0.4, "nothing"),
    ("F25 anthropic", anthropic_429(), E.RATE_LIMIT, S.MODEL, "rate_limit_error", ANYWHERE, True, 0.4, "nothing"),
    ("F25 bedrock", from_bedrock("ThrottlingException", 429), E.RATE_LIMIT, S.MODEL, "ThrottlingException", ANYWHERE, True, 0.4, "nothing"),
    ("F25 gemini per minute", provider(429, body=gemini(429, "RESOURCE_EXHAUSTED", QUOTA_TEXT, violations=[{"quotaId": "GenerateRequestsPerMinutePerProject"}])), E.RATE_LIMIT, S.MODEL, "RESOURCE_EXHAUSTED", ANYWHERE, True, 0.4, "nothing"),
    ("F25 mistral", from_openai(429, {"message": "Requests rate limit exceeded"}), E.RATE_LIMIT, S.MODEL, None, ANYWHERE, True, 0.4, "nothing"),
    ("F25 through langchain", langchain.ModelRateLimitError("m"), E.RATE_LIMIT, S.MODEL, None, ANYWHERE, True, 0.4, "nothing"),
    ("F27 gemini per day", provider(429, body=gemini(429, "RESOURCE_EXHAUSTED", QUOTA_TEXT, violations=[{"quotaId": "GenerateRequestsPerDayPerProject"}])), E.QUOTA, S.MODEL, "RESOURCE_EXHAUSTED", ANYWHERE, False, 0, "nothing"),
    ("F27 groq per day", groq(429, "rate_limit_exceeded", "Rate limit reached on tokens per day (TPD): Limit 100000"), E.QUOTA, S.MODEL, "rate_limit_exceeded", ANYWHERE, False, 0, "nothing"),
    ("F27 per month", from_openai(429, {"message": "Rate limit reached: tokens per month"}), E.QUOTA, S.MODEL, None, ANYWHERE, False, 0, "nothing"),
    ("F28 more than a minute holds", from_openai(429, {"message": "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 50000.", "code": "rate_limit_exceeded"}), E.TOO_LARGE, S.MODEL, "rate_limit_exceeded", ANYWHERE, False, 0, "nothing"),
    ("F28 groq's 413", groq(413, "rate_limit_exceeded", "Request too large for model `m` on tokens per minute (TPM): Limit 6000"), E.TOO_LARGE, S.MODEL, "rate_limit_exceeded", ANYWHERE, False, 0, "nothing"),
    ("F29 500", from_openai(500, {"message": "m", "type": "server_error"}), E.SERVER, S.DEPLOYMENT, "server_error", ANYWHERE, True, 1, "nothing"),
    ("F30 502 html", from_openai(502, "<html>Bad Gateway</html>"), E.SERVER, S.DEPLOYMENT, None, ANYWHERE, True, 1, "nothing"),
    ("F31 503", from_openai(503), E.OVERLOADED, S.DEPLOYMENT, None, ANYWHERE, True, 1, "nothing"),
    ("F31 gemini", provider(503, body=gemini(503, "UNAVAILABLE", "The model is overloaded.")), E.OVERLOADED, S.DEPLOYMENT, "UNAVAILABLE", ANYWHERE, True, 1, "nothing"),
    ("F32 504", from_openai(504), E.TIMEOUT, S.DEPLOYMENT, None, ANYWHERE, True, 1, "unknown"),
    ("F33 529", from_anthropic(529, {"type": "overloaded_error", "message": "Overloaded"}), E.OVERLOADED, S.PROVIDER, "overloaded_error", ANYWHERE, True, 1, "nothing"),
    ("F33 529 without a body", from_httpx(529), E.OVERLOADED, S.PROVIDER, None, ANYWHERE, True, 1, "nothing"),
    *((f"F34 {status}", from_openai(status), E.LOCAL, S.LOCAL, "redirect", NEVER, False, 0, "nothing") for status in (301, 302, 307, 308)),
    ("F36 unknown status", from_openai(418), E.UNKNOWN, S.REQUEST, None, NEVER, False, 0, "unknown"),
    ("F36 unknown 5xx is a server's", from_openai(599), E.SERVER, S.DEPLOYMENT, None, ANYWHERE, True, 1, "nothing"),
    ("F37 broken JSON", json_error(), E.BAD_RESPONSE, S.DEPLOYMENT, None, ANYWHERE, True, 1, "unknown"),
    ("F38 short body", httpx.RemoteProtocolError("peer closed connection without sending complete message body (received 5 bytes, expected 9)"), E.TRUNCATED, S.DEPLOYMENT, None, ANYWHERE, True, 1, "estimate"),
    ("F39 html", AttributeError("'str' object has no attribute 'choices'"), E.BAD_RESPONSE, S.DEPLOYMENT, None, ANYWHERE, True, 1, "unknown"),
    ("F39 html, as langchain raises it", ValueError("Unexpected response type from OpenAI-compatible endpoint. Expected a dict or openai.BaseModel, got str: '<html></html>'"), E.BAD_RESPONSE, S.DEPLOYMENT, None, ANYWHERE, True, 1, "unknown"),
    ("F40 openrouter's error in a 200", provider(200, body={"error": {"code": 429, "message": "Rate limit exceeded"}}), E.RATE_LIMIT, S.MODEL, None, ANYWHERE, True, 0.4, "nothing"),
    ("F40 its money in a 200", provider(200, body={"error": {"code": 402, "message": "Insufficient credits"}}), E.QUOTA, S.CREDENTIAL, None, ACCOUNT, False, 0, "nothing"),
    ("F40 its upstream in a 200", provider(200, body={"error": {"code": 502, "message": "Provider returned error"}}), E.SERVER, S.DEPLOYMENT, None, ANYWHERE, True, 1, "nothing"),
    ("F40 as langchain raises it", ValueError({"message": "m", "code": 503}), E.OVERLOADED, S.DEPLOYMENT, None, ANYWHERE, True, 1, "nothing"),
    ("F41 no choices", provider(200, code="bad_response"), E.BAD_RESPONSE, S.DEPLOYMENT, "bad_response", ANYWHERE, True, 1, "unknown"),
    ("F42 nothing in it", provider(200, code="empty_response"), E.EMPTY_RESPONSE, S.DEPLOYMENT, "empty_response", ANYWHERE, True, 1, "estimate"),
    ("F44 filtered", openai.ContentFilterFinishReasonError(), E.CONTENT_POLICY, S.REQUEST, None, ALLOWED, False, 0, "nothing"),
    ("F45 refused", provider(200, code="refusal"), E.CONTENT_POLICY, S.REQUEST, "refusal", ALLOWED, False, 0, "nothing"),
    ("F46 tool JSON that groq could not read", groq(400, "tool_use_failed"), E.BAD_RESPONSE, S.DEPLOYMENT, "tool_use_failed", ANYWHERE, True, 1, "unknown"),
    ("F52 error as the first event", openai.APIError("m", REQUEST, body={"message": "m", "type": "server_error"}), E.SERVER, S.DEPLOYMENT, "server_error", ANYWHERE, True, 1, "nothing"),
    ("F53 money in mid-stream", openai.APIError("m", REQUEST, body={"message": "m", "code": "insufficient_quota"}), E.QUOTA, S.CREDENTIAL, "insufficient_quota", ACCOUNT, False, 0, "nothing"),
    ("F54 anthropic's overload at status 200", from_anthropic(200, {"type": "overloaded_error", "message": "Overloaded"}), E.OVERLOADED, S.PROVIDER, "overloaded_error", ANYWHERE, True, 1, "nothing"),
    ("F56 a clean end without one", provider(code="truncated"), E.TRUNCATED, S.DEPLOYMENT, "truncated", ANYWHERE, True, 1, "estimate"),
    ("F58 cut", httpx2.RemoteProtocolError("peer closed connection without sending complete message body (incomplete chunked read)"), E.TRUNCATED, S.DEPLOYMENT, None, ANYWHERE, True, 1, "estimate"),
    ("F58 cut, with aiohttp", aiohttp.ClientPayloadError("Response payload is not completed"), E.TRUNCATED, S.DEPLOYMENT, None, ANYWHERE, True, 1, "estimate"),
    ("F59 reset in mid-stream", caused(httpx.ReadError("m"), ConnectionResetError(104, "m")), E.CONNECTION, S.DEPLOYMENT, None, ANYWHERE, True, 1, "unknown"),
    ("F60 a gap too long", httpx.ReadTimeout("m"), E.TIMEOUT, S.DEPLOYMENT, None, ANYWHERE, True, 1, "unknown"),
    ("F62 no chunks", ValueError("No generations found in stream."), E.EMPTY_RESPONSE, S.DEPLOYMENT, None, ANYWHERE, True, 1, "estimate"),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_row(row: tuple[str, Exception, E, S, str | None, str, bool, float, str]) -> None:
    _, error, error_class, scope, code, elsewhere, again, cost, booked = row
    failure = classify(error)
    assert (failure.error_class, failure.scope, failure.code) == (error_class, scope, code)
    reaction = reaction_to(failure)
    assert (reaction.elsewhere, reaction.again, reaction.retry_cost, reaction.booked) == (
        elsewhere,
        again,
        cost,
        booked,
    )


MAPPED = [
    (row[0], row[1], "openai" if isinstance(row[1], openai.APIStatusError) else "anthropic")
    for row in ROWS
    if isinstance(row[1], openai.APIStatusError | anthropic.APIStatusError)
]


@pytest.mark.parametrize(("error", "name"), [row[1:] for row in MAPPED], ids=[row[0] for row in MAPPED])
def test_litellm_hides_nothing_of_it(error: Exception, name: str) -> None:
    one, other = classify(error), classify(through_litellm(error, name))
    assert (other.error_class, other.scope, other.retry_after) == (
        one.error_class,
        one.scope,
        one.retry_after,
    )


@pytest.mark.parametrize("error_class", E)
def test_every_class_has_a_reaction(error_class: E) -> None:
    assert error_class in REACTIONS


@pytest.mark.parametrize("scope", [S.CALLER, S.LOCAL, S.REQUEST])
@pytest.mark.parametrize("error_class", E)
def test_what_is_not_a_providers_fault_is_nothing_to_its_health(error_class: E, scope: S) -> None:
    assert reaction_to(Failure(error_class=error_class, scope=scope)).health == "nothing"


def test_the_price_of_a_retry_is_at_most_a_whole_one() -> None:
    for reaction in (*REACTIONS.values(), *CODES.values()):
        assert 0 <= reaction.retry_cost <= 1
        assert not reaction.at_once or reaction.again


@pytest.mark.parametrize(("said", "meant"), [("true", True), ("false", False), ("perhaps", None)])
def test_f35_x_should_retry(said: str, meant: bool | None) -> None:
    assert should_retry(from_openai(429, None, {"x-should-retry": said})) is meant
    assert should_retry(from_anthropic(529, {}, {"x-should-retry": said})) is meant
    assert should_retry(through_litellm(from_openai(500, None, {"x-should-retry": said}))) is meant
