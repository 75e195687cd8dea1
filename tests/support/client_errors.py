"""Failures as the clients of providers raise them, constructed without a network."""

from __future__ import annotations

import json
import os
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import anthropic
import botocore.exceptions
import httpx
import httpx2
import litellm
import openai
import requests

from llmgate_plugins import errors

__all__ = [
    "DATE",
    "OPENAI",
    "QUOTA_TEXT",
    "REQUEST",
    "REQUEST2",
    "caused",
    "from_anthropic",
    "from_bedrock",
    "from_httpx",
    "from_litellm",
    "from_openai",
    "from_requests",
    "gemini",
    "provider",
    "through_litellm",
]

URL = "https://provider.example/v1/chat/completions"
REQUEST = httpx.Request("POST", URL)
REQUEST2 = httpx2.Request("POST", URL)
DATE = "Wed, 21 Oct 2026 07:28:00 GMT"

OPENAI = openai.OpenAI(api_key="x", max_retries=0)
ANTHROPIC = anthropic.Anthropic(api_key="x", max_retries=0)
litellm.suppress_debug_info = True

QUOTA_TEXT = "You exceeded your current quota, please check your plan and billing details."


def from_openai(status: int, error: Any = None, headers: dict[str, str] | None = None) -> Exception:
    """As the client makes it of a response, its own way."""
    body = {"error": error} if isinstance(error, dict) else error
    response = httpx.Response(status, headers=headers, request=REQUEST, content=json.dumps(body))
    return OPENAI._make_status_error_from_response(response)


def from_anthropic(status: int, error: Any = None, headers: dict[str, str] | None = None) -> Exception:
    body = {"type": "error", "error": error}
    response = httpx2.Response(status, headers=headers, request=REQUEST2, content=json.dumps(body))
    return ANTHROPIC._make_status_error(f"Error code: {status}", body=body, response=response)


def through_litellm(original: Exception, provider: str = "openai") -> Exception:
    """What LiteLLM makes of a client's exception."""
    try:
        try:
            raise original
        except Exception as error:
            raise litellm.exception_type(  # type: ignore[attr-defined]
                model="m", original_exception=error, custom_llm_provider=provider
            ) from None
    except Exception as mapped:
        return mapped


def from_litellm(kind: str, message: str = "m", **more: Any) -> Exception:
    return getattr(litellm.exceptions, kind)(message=message, model="m", llm_provider="openai", **more)


def from_bedrock(code: str, status: int, message: str = "m") -> Exception:
    answer: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {"retry-after": "3"}},
    }
    return botocore.exceptions.ClientError(answer, "Converse")


def from_httpx(status: int, content: bytes = b"") -> Exception:
    return httpx.HTTPStatusError(
        "m", request=REQUEST, response=httpx.Response(status, request=REQUEST, content=content)
    )


def from_requests(status: int) -> Exception:
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError("m", response=response)


def gemini(code: int, status: str, message: str = "m", **detail: Any) -> dict[str, Any]:
    return {
        "error": {"code": code, "status": status, "message": message, "details": [detail] if detail else []}
    }


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


def provider(status: int | None = None, **more: Any) -> Exception:
    return errors.ProviderError("m", status=status, **more)
