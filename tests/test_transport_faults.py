"""Answers that are none, over real HTTP and through a gateway: no fault is a silent success."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support.faces import STREAMS, ask
from support.plain_calls import KEY, asking, attempt, chunks, deployment, gateway, whole

from llmgate_plugins import (
    Deployment,
    ErrorClass,
    GiveUp,
    ProviderError,
    Scope,
    StreamInterrupted,
    hookimpl,
)
from llmgate_plugins.classification import classify
from llmgate_plugins.testing import Fault, ProviderSimulator, Reply, SimulatedProvider
from llmgate_plugins.transports import OpenAITransport
from llmgate_plugins.transports.answer_bytes import is_deep
from llmgate_plugins.transports.exchange import STALE
from llmgate_plugins.transports.openai_prefill import address_for_prefill
from llmgate_plugins.types import Price

E = ErrorClass
FACES = ("sync", "async", "stream", "astream")
TEXT = "You said: one two three"
ONE_EACH = Price(input=1_000_000, output=1_000_000, reasoning=1_000_000)

faces = pytest.mark.parametrize("face", FACES)
streams = pytest.mark.parametrize("face", STREAMS)
both = pytest.mark.parametrize("face", ["sync", "async"])


@pytest.fixture(scope="module")
def simulator() -> Iterator[ProviderSimulator]:
    with ProviderSimulator(seed=4) as running:
        OpenAITransport().prepare([deployment(running.default)])
        yield running


@pytest.fixture
def provider(simulator: ProviderSimulator, request: pytest.FixtureRequest) -> SimulatedProvider:
    return simulator.provider(f"p{abs(hash(request.node.nodeid))}", keys=[KEY])


@pytest.fixture
def transport() -> Iterator[OpenAITransport]:
    made = OpenAITransport(largest_answer=2_000_000)
    yield made
    made.close()


class Once:
    """Nothing is tried twice."""

    @hookimpl
    def recover_attempt(self) -> GiveUp:
        return GiveUp("tried once")


def told_by(face: str, at: Deployment, fault: Fault | None = None, provider: Any = None) -> Any:
    if fault is not None:
        provider.fail_always(fault)
    gate = gateway(at, plugins=[Once()], deadline=5.0)
    return ask(face, gate, prompt="one two three")


def cause_of(error: BaseException) -> BaseException:
    """What the transport raised, behind what the caller of a stream gets."""
    return error.__cause__ or error if isinstance(error, StreamInterrupted) else error


ERRORS: list[tuple[str, Fault, ErrorClass, ErrorClass]] = [
    # id, fault, class of a whole answer, class of a stream
    ("F02", Fault("reset"), E.CONNECTION, E.CONNECTION),
    ("F08", Fault("connection"), E.CONNECTION, E.CONNECTION),
    ("F11", Fault("invalid_request"), E.INVALID_REQUEST, E.INVALID_REQUEST),
    ("F14", Fault("quota"), E.QUOTA, E.QUOTA),
    ("F25", Fault("rate_limit"), E.RATE_LIMIT, E.RATE_LIMIT),
    ("F30", Fault("bad_gateway"), E.SERVER, E.SERVER),
    ("F37", Fault("malformed"), E.BAD_RESPONSE, E.BAD_RESPONSE),
    ("F37-begin", Fault("malformed", after=0), E.BAD_RESPONSE, E.BAD_RESPONSE),
    ("F38", Fault("cut"), E.TRUNCATED, E.TRUNCATED),
    ("F39", Fault("html"), E.BAD_RESPONSE, E.BAD_RESPONSE),
    ("F40", Fault("server", status=200), E.SERVER, E.SERVER),
    ("F41", Fault("no_choices"), E.BAD_RESPONSE, E.EMPTY_RESPONSE),
    ("F41-null", Fault("null_choices"), E.BAD_RESPONSE, E.BAD_RESPONSE),
    ("F51", Fault("huge"), E.BAD_RESPONSE, E.BAD_RESPONSE),
    ("F51-deep", Fault("deep"), E.BAD_RESPONSE, E.BAD_RESPONSE),
    ("F52", Fault("error_event", after=0, code="insufficient_quota"), E.QUOTA, E.QUOTA),
    ("F53", Fault("error_event", code="server_is_overloaded"), E.OVERLOADED, E.OVERLOADED),
    ("F55", Fault("malformed", after=3), E.BAD_RESPONSE, E.BAD_RESPONSE),
    ("F56", Fault("truncated"), E.BAD_RESPONSE, E.TRUNCATED),
    ("F58", Fault("cut", after=1), E.TRUNCATED, E.TRUNCATED),
    ("F59", Fault("reset_midstream"), E.CONNECTION, E.CONNECTION),
    ("F62", Fault("empty"), E.BAD_RESPONSE, E.EMPTY_RESPONSE),
    ("F62-done", Fault("done_only"), E.BAD_RESPONSE, E.EMPTY_RESPONSE),
]


@faces
@pytest.mark.parametrize(
    ("fault", "of_whole", "of_stream"), [row[1:] for row in ERRORS], ids=[r[0] for r in ERRORS]
)
def test_what_is_no_answer_is_an_error_of_its_class(
    face: str, fault: Fault, of_whole: ErrorClass, of_stream: ErrorClass, provider: SimulatedProvider
) -> None:
    at = deployment(provider)
    gate = gateway(at, plugins=[Once()], deadline=5.0)
    gate.transport._largest = 2_000_000  # type: ignore[union-attr]
    provider.fail_always(fault)
    told = ask(face, gate, prompt="one two three")
    assert told.error is not None, f"silent success: {told.text!r}"
    assert told.statuses == ["error"]
    (_, outcome) = told.record.attempts[0]
    assert outcome.failure is not None
    assert outcome.failure.error_class is (of_stream if face in STREAMS else of_whole)
    if isinstance(told.error, StreamInterrupted):
        assert told.error.partial == told.text
        assert TEXT.startswith(told.text)


@faces
@pytest.mark.parametrize("code", ["insufficient_quota", "server_is_overloaded"])
def test_an_error_in_the_stream_keeps_its_code(face: str, code: str, provider: SimulatedProvider) -> None:
    told = told_by(face, deployment(provider), Fault("error_event", code=code), provider)
    assert told.record.attempts[0][1].failure.code == code


GOOD = [
    # id, fault: the answer is whole all the same
    ("F57", Fault("no_done")),
    ("F57-open", Fault("unended")),
    ("F63", Fault("json")),
    ("F65", Fault("duplicate")),
    ("F65-finish", Fault("duplicate_finish")),
    ("F67", Fault("odd_lines")),
    ("F67-line", Fault("huge")),  # within what a transport bears unless told otherwise
]


@faces
@pytest.mark.parametrize("fault", [row[1] for row in GOOD], ids=[row[0] for row in GOOD])
def test_oddities_that_leave_the_answer_whole_are_borne(
    face: str, fault: Fault, provider: SimulatedProvider
) -> None:
    told = told_by(face, deployment(provider), fault, provider)
    assert (told.text, told.error) == (TEXT, None)
    outcome = told.record.attempts[0][1]
    assert (outcome.status, outcome.finish_reason) == ("success", "stop")
    assert not outcome.usage.estimated


@faces
@pytest.mark.parametrize("kind", ["no_usage", "usage_twice", "odd_usage"])
def test_the_books_get_one_believable_usage(face: str, kind: Any, provider: SimulatedProvider) -> None:
    usual = told_by(face, deployment(provider, price=ONE_EACH)).record.attempts[0][1]
    told = told_by(face, deployment(provider, price=ONE_EACH), Fault(kind), provider)
    outcome = told.record.attempts[0][1]
    assert (told.error, outcome.status) == (None, "success")
    if kind == "usage_twice":
        assert (outcome.usage, outcome.cost) == (usual.usage, usual.cost)
        return
    assert outcome.usage.estimated
    assert outcome.usage.input >= 0
    assert 0 < outcome.cost < 20_000_000_000
    assert 0 < outcome.usage.output <= 10_000_000


NAN = {"prompt_tokens": float("nan"), "completion_tokens": [], "total_tokens": "many"}


@faces
@pytest.mark.parametrize("usage", [NAN, {"prompt_tokens": None, "completion_tokens": {"a": 1}}])
def test_usage_that_is_no_number_is_not_booked(
    face: str, usage: dict[str, Any], provider: SimulatedProvider
) -> None:
    told = told_by(face, deployment(provider, price=ONE_EACH), Fault("odd_usage", body=usage), provider)
    outcome = told.record.attempts[0][1]
    assert (told.error, outcome.status) == (None, "success")
    assert outcome.cost >= 0


@streams
def test_a_model_that_repeats_itself_is_stopped(face: str, provider: SimulatedProvider) -> None:
    told = told_by(face, deployment(provider), Fault("repeat"), provider)
    error = cause_of(told.error)
    assert isinstance(error, ProviderError)
    assert classify(error).error_class is E.BAD_RESPONSE
    assert "100 times" in str(error)


@streams
def test_what_may_well_repeat_is_let_through(face: str, provider: SimulatedProvider) -> None:
    provider.script(Reply(text="--" * 150, pieces=("--",) * 150))
    assert told_by(face, deployment(provider)).text == "--" * 150


@streams
def test_repeated_text_is_not_taken_for_repeated_events(face: str, provider: SimulatedProvider) -> None:
    provider.fail_always(Fault("duplicate"))
    provider.reply(Reply(text="ha ha ha ha", pieces=("ha", " ha", " ha", " ha")))
    assert told_by(face, deployment(provider)).text == "ha ha ha ha"


@faces
def test_an_empty_answer_is_tried_elsewhere_and_given_out_at_last(
    face: str, simulator: ProviderSimulator, provider: SimulatedProvider
) -> None:
    provider.reply("")
    other = simulator.provider(f"{provider.name}-other", keys=[KEY])
    gate = gateway(deployment(provider, "empty"), deployment(other, "full"), deadline=5.0)
    told = ask(face, gate, prompt="one two three")
    assert (told.text, told.tried) == (TEXT, ["empty", "full"])
    failure = told.record.attempts[0][1].failure
    assert failure is not None
    assert failure.error_class is E.EMPTY_RESPONSE


@both
def test_an_answer_that_only_thinks_is_empty_and_a_refusal_is_not(
    face: str, transport: OpenAITransport, provider: SimulatedProvider
) -> None:
    provider.script(Reply(reasoning="hm"), Reply(refusal="I cannot."), Reply(tool_calls=[("get", {})]))
    empties = [whole(face, transport, attempt(provider), asking()).empty for _ in range(4)]
    assert empties == [True, False, False, False]


@faces
def test_the_model_that_served_is_told(face: str, provider: SimulatedProvider) -> None:
    provider.reply(Reply(text="hi", model="gpt-4o-mini-2024-07-18"))
    assert told_by(face, deployment(provider)).record.attempts[0][1].model == "gpt-4o-mini-2024-07-18"


@faces
def test_what_the_headers_say_of_rate_limits_is_in_the_outcome(
    face: str, provider: SimulatedProvider
) -> None:
    provider.throttle(100)
    quota = told_by(face, deployment(provider)).record.attempts[0][1].quota
    assert quota is not None
    assert (quota.limits["requests"], quota.remaining["requests"]) == (100, 99)
    assert 0 < quota.resets["requests"] <= 60


# ---------------------------------------------------------------- the connection


@contextmanager
def answering(*answers: bytes | None) -> Iterator[str]:
    """A server that gives these answers, one per connection; None resets it. Then nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for answer in answers:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                with peer:
                    read_request(peer)
                    if answer is None:
                        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    else:
                        peer.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def read_request(peer: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += peer.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    sizes = [
        line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    ]
    length = int(sizes[0]) if sizes else 0
    while len(body) < length:
        body += peer.recv(65536)


def http(body: bytes, kind: bytes = b"application/json", **headers: str) -> bytes:
    more = b"".join(b"%s: %s\r\n" % (n.replace("_", "-").encode(), v.encode()) for n, v in headers.items())
    return b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n%s\r\n%s" % (
        kind,
        len(body),
        more,
        body,
    )


@faces
def test_nobody_there_is_a_connection_error(face: str, provider: SimulatedProvider) -> None:
    told = told_by(face, deployment(provider.closed_url))
    failure = told.record.attempts[0][1].failure
    assert (failure.error_class, failure.scope) == (E.CONNECTION, Scope.DEPLOYMENT)


@faces
def test_a_name_that_nobody_knows_is_a_connection_error(face: str) -> None:
    told = told_by(face, deployment("http://nobody.invalid/v1"))
    assert told.record.attempts[0][1].failure.error_class is E.CONNECTION


@faces
def test_a_redirect_never_takes_the_key_elsewhere(
    face: str, simulator: ProviderSimulator, provider: SimulatedProvider
) -> None:
    other = simulator.provider(f"{provider.name}-other")
    for status in (301, 302, 303, 307, 308):
        location = {"location": f"{other.openai_base_url}/chat/completions"}
        told = told_by(face, deployment(provider), Fault("server", status=status, headers=location), provider)
        assert told.error is not None
        assert other.requests == []


WHOLE = (
    b'{"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0, '
    b'"finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}]}'
)


@both
@pytest.mark.parametrize("stream", [False, True])
def test_a_kept_connection_that_was_closed_meanwhile_says_so(face: str, stream: bool) -> None:
    """The first request keeps its connection; the server resets it when the second one comes."""
    transport = OpenAITransport()
    with keeping_then_resetting() as url:
        at = attempt(url)

        async def twice() -> Exception:
            await transport.asend(at, asking())
            try:
                if stream:
                    async for _ in transport.aopen(at, asking(stream=True)):
                        pass
                else:
                    await transport.asend(at, asking())
            except Exception as error:
                return error
            pytest.fail("it answered")

        if face == "async":
            error = asyncio.run(twice())
        else:
            transport.send(at, asking())
            with pytest.raises(Exception) as caught:
                chunks(face, transport, at, asking(stream=True)) if stream else transport.send(at, asking())
            error = caught.value
    assert error.code == STALE  # type: ignore[attr-defined]
    transport.close()


@contextmanager
def keeping_then_resetting() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                read_request(peer)
                peer.sendall(http(WHOLE))
                read_request(peer)
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        thread.join(30)


@both
def test_a_fresh_connection_that_is_reset_is_no_stale_one(face: str, transport: OpenAITransport) -> None:
    with answering(None) as url, pytest.raises(Exception) as caught:
        whole(face, transport, attempt(url), asking())
    assert getattr(caught.value, "code", None) != STALE
    assert classify(caught.value).error_class is E.CONNECTION


# ---------------------------------------------------------------- bodies


@both
def test_a_packed_answer_is_read_and_a_bomb_is_not(face: str, transport: OpenAITransport) -> None:
    with answering(http(gzip.compress(WHOLE), content_encoding="gzip")) as url:
        assert whole(face, transport, attempt(url), asking()).text == "hi"
    bomb = gzip.compress(b" " * 50_000_000)
    with (
        answering(http(bomb, content_encoding="gzip")) as url,
        pytest.raises(ProviderError, match="larger than 2000000 bytes"),
    ):
        whole(face, transport, attempt(url), asking())


ODD_BODIES = [
    b"null",
    b"[]",
    b"3",
    b'"text"',
    b'{"choices": "abc"}',
    b'{"choices": [null]}',
    b'{"choices": [{"message": "hi"}]}',
    b'{"choices": [{"message": null, "finish_reason": "stop"}]}',
    b'{"object": "error", "message": "no money", "code": "insufficient_quota"}',
    b'{"choices": [{"finish_reason": "error", "error": {"code": "insufficient_quota", "message": "no"}}]}',
    b'{"choices": [{"finish_reason": "error", "message": {"content": "half an ans"}}]}',
]


@both
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("body", ODD_BODIES)
def test_json_that_is_no_answer_is_an_error(
    face: str, stream: bool, body: bytes, transport: OpenAITransport
) -> None:
    read = chunks if stream else whole
    with answering(http(body)) as url, pytest.raises(Exception) as caught:
        read(face, transport, attempt(url), asking(stream=stream))
    wanted = E.QUOTA if b"insufficient_quota" in body else E.BAD_RESPONSE
    assert classify(caught.value).error_class is wanted


@both
@pytest.mark.parametrize("data", [*ODD_BODIES[:6], *ODD_BODIES[8:]])
def test_events_that_are_no_chunks_are_errors(face: str, data: bytes, transport: OpenAITransport) -> None:
    event = b"data: " + data + b"\n\n"
    with answering(http(event, b"text/event-stream")) as url, pytest.raises(Exception) as caught:
        chunks(face, transport, attempt(url), asking(stream=True))
    wanted = E.QUOTA if b"insufficient_quota" in data else E.BAD_RESPONSE
    assert classify(caught.value).error_class is wanted


PARTS = (
    b'[{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "yes"}]'
)


@both
def test_content_in_typed_parts_is_text_and_thoughts(face: str, transport: OpenAITransport) -> None:
    with answering(http(WHOLE.replace(b'"hi"', PARTS))) as url:
        answer = whole(face, transport, attempt(url), asking())
        assert (answer.text, answer.empty) == ("yes", False)
    delta = b'data: {"model": "m", "choices": [{"index": 0, "delta": {"content": %s}}]}\n\n' % PARTS
    with answering(http(delta, b"text/event-stream")) as url:
        (chunk,) = chunks(face, transport, attempt(url), asking(stream=True))
    assert (chunk.text, chunk.reasoning) == ("yes", "hm")


def test_depth_is_counted_outside_of_texts() -> None:
    assert is_deep(b"[" * 101 + b"]" * 101)
    assert not is_deep(b"[" * 100 + b"]" * 100)
    assert not is_deep(b'["' + b"[" * 500 + b'\\"' + b"{" * 500 + b'"]')
    assert not is_deep(b"[{}]," * 1_000)


# ---------------------------------------------------------------- going on from a beginning


@both
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("provider_name", "way", "words"),
    [
        ("openrouter", "continue", {}),
        ("hosted_vllm", "continue", {"continue_final_message": True, "add_generation_prompt": False}),
        ("mistral", "echo", {"prefix": True}),
        ("deepseek", "continue", {"prefix": True}),
        ("moonshot", "continue", {"partial": True}),
        ("dashscope", "continue", {"partial": True}),
    ],
)
def test_an_answer_goes_on_from_its_given_beginning(
    face: str,
    stream: bool,
    provider_name: str,
    way: Any,
    words: dict[str, Any],
    transport: OpenAITransport,
    provider: SimulatedProvider,
) -> None:
    provider.prefill = way
    given = attempt(provider, provider=provider_name, prefill="You said: one")
    if stream:
        said = "".join(chunk.text for chunk in chunks(face, transport, given, asking(stream=True)))
    else:
        said = whole(face, transport, given, asking()).text
    assert said == " two three"
    body = provider.requests[-1].body
    last = body["messages"][-1]
    assert (last["role"], last["content"]) == ("assistant", "You said: one")
    assert {**body, **last}.items() >= words.items()


def test_deepseek_goes_on_at_another_path_of_the_same_host() -> None:
    usual = deployment("https://api.deepseek.com/v1", provider="deepseek")
    assert address_for_prefill(usual) == "https://api.deepseek.com/beta"
    assert address_for_prefill(deployment("https://own.example/llm/v2", provider="deepseek")) is None
    assert address_for_prefill(deployment("https://api.mistral.ai/v1", provider="mistral")) is None


@both
def test_what_an_answer_does_not_say_again_is_left_whole(
    face: str, transport: OpenAITransport, provider: SimulatedProvider
) -> None:
    provider.prefill = "ignore"
    provider.reply("You say: something else")
    given = attempt(provider, provider="mistral", prefill="You said")
    pieces = chunks(face, transport, given, asking(stream=True))
    assert "".join(piece.text for piece in pieces) == "You say: something else"


@streams
def test_a_broken_stream_is_resumed_by_another_deployment(
    face: str, simulator: ProviderSimulator, provider: SimulatedProvider
) -> None:
    other = simulator.provider(f"{provider.name}-other", keys=[KEY])
    other.prefill = "continue"
    provider.script(Fault("cut", after=3))
    words = {"provider": "openrouter", "capabilities": frozenset({"assistant_prefill"})}
    gate = gateway(
        deployment(provider, "one", **words),
        deployment(other, "two", **words),
        on_break="resume",
        deadline=5.0,
    )
    told = ask(face, gate, prompt="one two three four")
    assert (told.text, told.error) == ("You said: one two three four", None)
    assert told.tried == ["one", "two"]
    assert other.requests[-1].body["messages"][-1]["role"] == "assistant"


@streams
def test_a_model_that_takes_no_beginning_is_asked_anew(
    face: str, simulator: ProviderSimulator, provider: SimulatedProvider
) -> None:
    other = simulator.provider(f"{provider.name}-other", keys=[KEY])
    other.prefill = "refuse"
    provider.script(Fault("cut", after=3))
    words = {"provider": "openrouter", "capabilities": frozenset({"assistant_prefill"})}
    gate = gateway(
        deployment(provider, "one", **words),
        deployment(other, "two", **words),
        on_break="resume",
        deadline=5.0,
    )
    told = ask(face, gate, prompt="one two three four")
    assert (told.text, told.error) == ("You said: one two three four", None)
    assert len(other.requests) == 2
