"""`redact_error` takes credentials out of errors and leaves what is no secret."""

from __future__ import annotations

import asyncio
import base64
import logging
import pickle
import traceback
from collections.abc import Callable
from io import StringIO
from itertools import pairwise
from typing import Any
from urllib.error import HTTPError

import anthropic
import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.canary import Canary, of_error
from support.gateways import deployment, scene

from llmgate_plugins import Gateway, HookFailed, Response, Retry, hookimpl
from llmgate_plugins.masking import MASK, conceal
from llmgate_plugins.redaction import RedactingFilter, redact_error, redact_logs

WORD = "key-of-a-client-nobody-told-us-of"
BASIC = base64.b64encode(f"user:{WORD}".encode()).decode()


def raised(error: BaseException, depth: int = 1, **told: Any) -> BaseException:
    """The error with a traceback, through frames that hold the key."""
    api_key = WORD  # noqa: F841 - what an error tracker would show
    try:
        if depth:
            raise raised(error, depth - 1)
        raise error
    except BaseException as caught:
        return caught


def sent(carried: dict[str, str], url: str = "https://api.test/v1", **answer: Any) -> httpx.Response:
    request = httpx.Request("POST", url, headers=carried, json={"model": "m"})
    return httpx.Response(answer.pop("status", 429), request=request, **answer)


CARRIED = [
    ({"Authorization": f"Bearer {WORD}"}, "https://api.test/v1"),
    ({"Authorization": f"Basic {BASIC}"}, "https://api.test/v1"),
    ({"x-api-key": WORD}, "https://api.test/v1"),
    ({"X-Goog-Api-Key": WORD}, "https://api.test/v1"),
    ({"X-Our-Auth": WORD}, "https://api.test/v1"),
    ({}, f"https://api.test/v1?key={WORD}&alt=sse"),
    ({}, f"https://user:{WORD}@api.test/v1"),
]


@pytest.mark.parametrize(("headers", "url"), CARRIED)
def test_what_the_failed_request_carried_is_masked_wherever_it_was_sent_back(
    headers: dict[str, str], url: str
) -> None:
    told = {"error": {"message": f"bad key {WORD}", "deep": [{"more": (WORD, {WORD.encode()})}]}}
    response = sent(headers, url, json={"error": {"message": WORD}}, extensions={"x": 1})
    response.headers["x-echo"] = WORD
    assert WORD in response.text
    error = openai.RateLimitError(f"429: {WORD} at {url}", response=response, body=told)
    error.add_note(f"a note with {WORD}")
    error.__cause__ = raised(httpx.ReadError(f"lost {WORD}", request=response.request))
    error.__cause__.__context__ = raised(ExceptionGroup(WORD, [ValueError(WORD), OSError(1, WORD, WORD)]))
    caught = raised(error)
    redact_error(caught)
    assert not [name for name, text in of_error(caught) if WORD in _text(text)]
    assert WORD.encode() not in pickle.dumps(vars(caught))


def _text(told: str | bytes) -> str:
    return told if isinstance(told, str) else told.decode(errors="replace")


def test_what_is_no_secret_stays() -> None:
    response = sent(
        {"Authorization": f"Bearer {WORD}", "X-Title": "mine"},
        json={"error": {"message": WORD}},
        headers={"retry-after": "7", "x-ratelimit-remaining-tokens": "5"},
    )
    body = {"max_tokens": 5, "message": f"no {WORD}", "input_tokens": 7}
    caught = raised(openai.RateLimitError(f"no {WORD}", response=response, body=body), depth=2)
    lines = [frame.lineno for frame in traceback.extract_tb(caught.__traceback__)]
    redact_error(caught)
    with pytest.raises(openai.RateLimitError) as again:
        raise caught
    error = again.value
    assert type(error) is openai.RateLimitError
    assert str(error) == f"no {MASK}"
    assert (error.status_code, error.response.status_code) == (429, 429)
    assert error.response.headers["retry-after"] == "7"
    assert error.response.headers["x-ratelimit-remaining-tokens"] == "5"
    assert error.request.headers["x-title"] == "mine"
    assert error.request.headers["authorization"] == MASK
    assert error.body == {"max_tokens": 5, "message": f"no {MASK}", "input_tokens": 7}
    assert error.response.json() == {"error": {"message": MASK}}
    assert [frame.lineno for frame in traceback.extract_tb(error.__traceback__)][-len(lines) :] == lines


def test_nothing_that_may_be_in_use_is_changed() -> None:
    response = sent({"Authorization": f"Bearer {WORD}"}, json={"said": WORD})
    shared = {"Authorization": f"Bearer {WORD}"}
    error = anthropic.AuthenticationError(WORD, response=response, body=shared)
    error.headers = shared  # type: ignore[attr-defined]
    redact_error(error)
    assert response.request.headers["authorization"] == f"Bearer {WORD}"
    assert response.json() == {"said": WORD}
    assert shared == {"Authorization": f"Bearer {WORD}"}


def test_locals_of_the_frames_are_dropped() -> None:
    caught = raised(ValueError("plain"), depth=3)
    assert WORD in _with_locals(caught)
    redact_error(caught)
    assert WORD not in _with_locals(caught)
    assert _with_locals(caught).count("in raised") == 4


def _with_locals(error: BaseException) -> str:
    told = traceback.TracebackException(type(error), error, error.__traceback__, capture_locals=True)
    return "".join(told.format())


def test_a_standard_library_error_is_masked_where_it_keeps_its_words() -> None:
    conceal(WORD)
    errors: list[BaseException] = [
        FileNotFoundError(2, "no such file", f"/keys/{WORD}"),
        UnicodeDecodeError("utf-8", WORD.encode() + b"\xff", len(WORD), len(WORD) + 1, WORD),
        HTTPError(f"https://api.test/?key={WORD}", 401, f"no {WORD}", {"X-Echo": WORD}, None),  # type: ignore[arg-type]
        KeyError(WORD),
        SystemExit(WORD),
        StopIteration({"key": [WORD]}),
    ]
    for error in errors:
        redact_error(error)
        shown = f"{error} {error!r} {error.args} {vars(error)} {getattr(error, 'object', '')!r}"
        assert WORD not in shown


def test_a_chain_that_bites_its_tail_and_a_long_one_come_to_an_end() -> None:
    conceal(WORD)
    first, last = ValueError(WORD), ValueError(WORD)
    first.__cause__, last.__context__ = last, first
    redact_error(first)
    assert str(last) == MASK
    errors = [ValueError(WORD) for _ in range(200)]
    for one, cause in pairwise(errors):
        one.__cause__ = cause
    redact_error(errors[0])
    assert {str(one) for one in errors} == {MASK}
    body: list[Any] = [WORD]
    body.append(body)
    error = openai.OpenAIError("x")
    error.body = body  # type: ignore[attr-defined]
    redact_error(error)
    assert WORD not in repr(error.body)  # type: ignore[attr-defined]


class Frozen(Exception):
    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(name)


class Evil(Exception):
    @property
    def request(self) -> Any:
        raise RuntimeError("no request")

    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __getattr__(self, name: str) -> Any:
        raise ZeroDivisionError(name)


class Slotted(Exception):
    __slots__ = ("message",)


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=30) | st.binary(max_size=30) | st.just(WORD),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
kinds: list[Callable[..., BaseException]] = [Exception, ValueError, OSError, Frozen, Evil, Slotted, KeyError]
kinds += [openai.OpenAIError, httpx.HTTPError, SystemExit, lambda *args: ExceptionGroup("g", [Evil(*args)])]


@given(st.sampled_from(kinds), values, st.dictionaries(st.text(max_size=9), values, max_size=4))
def test_it_never_raises_and_an_error_stays_the_error(
    kind: Callable[..., BaseException], argument: Any, state: dict[str, Any]
) -> None:
    conceal(WORD)
    error = kind(argument)
    known = getattr(error, "__dict__", None) if not isinstance(error, Evil | Frozen) else None
    for name, value in state.items() if known is not None else ():
        known[name] = value  # type: ignore[index]
    before = type(error)
    caught = raised(error)
    redact_error(caught)
    redact_error(caught)
    assert caught is error
    assert type(caught) is before
    assert WORD not in repr(BaseException.__getattribute__(caught, "__dict__"))


class OneErrorForAll:
    """A transport that raises the same object whenever it fails, as a careless client may."""

    def __init__(self) -> None:
        self.error = openai.OpenAIError("the same object each time")
        self.sent = 0

    async def asend(self, attempt: Any, request: Any) -> Response:
        await asyncio.sleep(0.001 * (self.sent % 3))
        self.sent += 1
        if attempt.number < 3:
            raise self.error
        return Response.of("fine")

    def meter(self, attempt: Any, request: Any) -> Any:
        raise NotImplementedError


class WaitABit:
    @hookimpl
    def recover_attempt(self) -> Retry:
        return Retry(0.01)


async def test_a_call_that_waits_is_not_ended_by_the_error_of_another() -> None:
    """An error object that is raised by many calls collects the frames of all of them."""
    gateway = Gateway(
        [deployment("a")],
        plugins=[WaitABit()],
        defaults=False,  # a deployment that fails so often would not be asked again
        transport=OneErrorForAll(),  # type: ignore[arg-type]
    )
    answers = await asyncio.gather(*(gateway.acomplete("fast", "x") for _ in range(20)))
    assert {answer.text for answer in answers} == {"fine"}


def test_what_a_plugin_says_when_it_fails_is_masked(caplog: pytest.LogCaptureFixture) -> None:
    canary = Canary("sk")
    conceal(canary.reveal())

    class Fails:
        @hookimpl
        def end_call(self) -> None:
            raise ValueError(f"cannot log in with {canary.reveal()}")

    class Stops:
        @hookimpl
        def admit_request(self) -> None:
            raise ValueError(f"cannot ask with {canary.reveal()}")

    told = scene({"a": ["fine"]}, Fails())
    told.gateway.complete("fast", "x")
    stopped = scene({"a": ["fine"]}, Stops())
    with pytest.raises(HookFailed) as caught:
        stopped.gateway.complete("fast", "x")
    records = [*told.gateway.decisions, *stopped.gateway.decisions]
    assert records[0].problems[0][2] == f"ValueError: cannot log in with {MASK}"
    shown = [caplog.text, str(caught.value), *(str(record.to_dict()) for record in records)]
    shown += [str(told.ledger.calls()), str(stopped.ledger.calls())]
    assert not [text for text in shown if canary.in_(text)]


def test_the_filter_masks_messages_arguments_and_tracebacks() -> None:
    conceal(WORD)
    written = StringIO()
    handler = logging.StreamHandler(written)
    handler.addFilter(RedactingFilter())
    logger = logging.getLogger("apart from all others")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        raise ValueError(WORD)
    except ValueError:
        logger.exception("it was %s and %r", WORD, {"key": WORD})
    logger.info("nothing to mask: %d", 5)
    assert WORD not in written.getvalue()
    assert f"it was {MASK} and {{'key': '{MASK}'}}" in written.getvalue()
    assert f"ValueError: {MASK}" in written.getvalue()
    assert "nothing to mask: 5" in written.getvalue()


def test_the_filter_stands_once_on_each_logger() -> None:
    redact_logs()
    redact_logs()
    filters = logging.getLogger("openai._base_client").filters
    assert len([one for one in filters if isinstance(one, RedactingFilter)]) == 1
