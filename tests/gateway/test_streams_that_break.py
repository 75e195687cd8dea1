"""A stream breaks after its first content: it ends, goes on as one answer, begins anew, or was held back."""

from __future__ import annotations

from typing import Any

import pytest
from support.faces import STREAMS, ask
from support.gateways import Scene, deployment, scene

from llmgate_plugins import (
    Chunk,
    ConfigurationError,
    ErrorClass,
    Gateway,
    Message,
    Request,
    StreamInterrupted,
    ToolCall,
)
from llmgate_plugins.plugins import Budget, Limits
from llmgate_plugins.testing import Fault, Stream

every_stream = pytest.mark.parametrize("face", STREAMS)

STORY = ("Once ", "upon ", "a ", "time ")
BROKEN = Stream(*STORY[:3], then=Fault("connection"))
WHOLE = Stream(*STORY)


def asked(on_break: Any, **fields: Any) -> Request:
    messages = (Message(role="user", content="tell"),)
    return Request(model="fast", messages=messages, on_break=on_break, **fields)


def told_by(face: str, script: dict[str, list[Any]], request: Request, **options: Any) -> tuple[Any, Scene]:
    world = scene(script, **options)
    told = ask(face, world.gateway, request)
    assert world.books_balance()
    assert sorted(world.provider.opened) == sorted(world.provider.closed)
    return told, world


@every_stream
def test_by_default_it_ends_with_what_was_delivered(face: str) -> None:
    told, world = told_by(face, {"a": [BROKEN], "b": [WHOLE]}, asked(None))
    assert isinstance(told.error, StreamInterrupted)
    assert told.text == told.error.partial == "Once upon a "
    assert type(told.error.__cause__).__name__ == "ProviderError"
    assert world.sent == ["a"]


@every_stream
def test_resumed_it_is_one_whole_answer_word_for_word(face: str) -> None:
    again = Stream("Once upon", " a ti", "me")
    told, world = told_by(face, {"a": [BROKEN], "b": [again]}, asked("resume"))
    assert (told.text, told.error) == ("Once upon a time", None)
    assert told.statuses == ["error", "success"]
    assert told.record.status == "success"
    assert all(outcome.cost > 0 for _, outcome in told.record.attempts)
    assert world.sent == ["a", "b"]


@every_stream
def test_resumed_more_than_once_nothing_is_said_twice(face: str) -> None:
    parts = [Stream("Once ", then=Fault("connection")), Stream("Once upon ", then=Fault("server")), WHOLE]
    told, _ = told_by(face, {id: [one] for id, one in zip("abc", parts, strict=True)}, asked("resume"))
    assert (told.text, told.error) == ("Once upon a time ", None)
    assert told.tried == ["a", "b", "c"]


@every_stream
def test_resumed_by_one_that_breaks_before_it_has_caught_up_nothing_is_lost(face: str) -> None:
    script = {"a": [BROKEN], "b": [Stream("Once ", then=Fault("server"))], "c": [WHOLE]}
    told, _ = told_by(face, script, asked("resume"))
    assert (told.text, told.error) == ("Once upon a time ", None)


@every_stream
@pytest.mark.parametrize(
    "other",
    [Stream("Once there was"), Stream("Once "), Stream(Chunk(tool_calls=(ToolCall(id="1", name="f"),)))],
)
def test_an_answer_in_other_words_is_not_joined(face: str, other: Stream) -> None:
    told, world = told_by(face, {"a": [BROKEN], "b": [other], "c": [WHOLE]}, asked("resume"))
    assert isinstance(told.error, StreamInterrupted)
    assert told.text == told.error.partial == "Once upon a "
    assert len(told.error.__notes__) == 2
    assert world.sent == ["a", "b"]
    assert told.record.attempts[1][1].failure.error_class is ErrorClass.LOCAL, "nobody's ill health"


@every_stream
def test_a_tool_call_or_structured_output_is_never_joined(face: str) -> None:
    call = Chunk(tool_calls=(ToolCall(id="1", name="f", arguments='{"a'),))
    broken = Stream("Let me ", call, then=Fault("connection"))
    told, world = told_by(face, {"a": [broken], "b": [WHOLE]}, asked("resume"))
    assert isinstance(told.error, StreamInterrupted)
    wanted = {"response_format": {"type": "json_schema", "json_schema": {}}}
    told, world = told_by(face, {"a": [BROKEN], "b": [WHOLE]}, asked("resume", params=wanted))
    assert isinstance(told.error, StreamInterrupted)
    assert world.sent == ["a"]


@every_stream
def test_reasoning_that_was_shown_is_not_shown_twice(face: str) -> None:
    thought = Chunk(reasoning="hm")
    first = Stream(thought, "Once ", then=Fault("connection"))
    world = scene({"a": [first], "b": [Stream(thought, "Once ", "more")]})
    told = ask(face, world.gateway, asked("resume"))
    assert told.text == "Once more"
    only_thought = scene({"a": [Stream(thought, then=Fault("connection"))], "b": [Stream(thought, "Yes")]})
    chunks = list(only_thought.gateway.stream(asked("resume")))
    assert "".join(chunk.reasoning for chunk in chunks) == "hm"
    assert "".join(chunk.text for chunk in chunks) == "Yes"


@every_stream
def test_restarted_it_says_so_and_begins_anew(face: str) -> None:
    other = Stream("It ", "was ")
    told, world = told_by(face, {"a": [BROKEN], "b": [other]}, asked("restart"))
    assert told.error is None
    assert told.text == "Once upon a It was "
    world = scene({"a": [BROKEN], "b": [other]})
    chunks = list(world.gateway.stream(asked("restart")))
    marks = [index for index, chunk in enumerate(chunks) if chunk.restarted]
    assert len(marks) == 1
    assert "".join(chunk.text for chunk in chunks[marks[0] :]) == "It was "


@every_stream
def test_held_back_nothing_comes_before_the_answer_is_whole(face: str) -> None:
    told, _ = told_by(face, {"a": [BROKEN], "b": [WHOLE]}, asked("hold"))
    assert (told.text, told.error) == ("Once upon a time ", None)
    assert told.statuses == ["error", "success"]
    told, _ = told_by(face, {"a": [Stream("cut", finish_reason=None)], "b": [WHOLE]}, asked("hold"))
    assert told.text == "Once upon a time "


@every_stream
def test_without_anybody_to_go_on_the_partial_text_is_in_the_error(face: str) -> None:
    script = {"a": [BROKEN], "b": [Fault("authentication")]}
    told, _ = told_by(face, script, asked("resume"))
    assert isinstance(told.error, StreamInterrupted)
    assert told.error.partial == "Once upon a "
    assert len(told.error.__notes__) == len(told.tried) > 1


@every_stream
def test_a_cut_stream_is_resumed_as_well(face: str) -> None:
    cut = Stream(*STORY[:2], finish_reason=None)
    told, _ = told_by(face, {"a": [cut], "b": [WHOLE]}, asked("resume"))
    assert (told.text, told.error) == ("Once upon a time ", None)


@every_stream
def test_the_gateway_has_a_choice_of_its_own_and_a_call_wins(face: str) -> None:
    script = {"a": [BROKEN], "b": [WHOLE]}
    told, _ = told_by(face, script, asked(None), on_break="resume")
    assert told.text == "Once upon a time "
    told, _ = told_by(face, script, asked("raise"), on_break="resume")
    assert isinstance(told.error, StreamInterrupted)


def test_a_choice_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="on_break must be one of raise, restart, resume, hold"):
        Gateway(on_break="retry")  # type: ignore[arg-type]


@every_stream
def test_a_reader_who_leaves_in_the_second_attempt_is_booked_for_both(face: str) -> None:
    world = scene({"a": [BROKEN], "b": [WHOLE]})
    told = ask(face, world.gateway, asked("resume"), take=4)
    assert told.statuses == ["error", "abandoned"]
    assert world.books_balance()
    assert sorted(world.provider.closed) == ["a", "b"]


@every_stream
def test_one_that_can_go_on_from_a_beginning_is_given_it(face: str) -> None:
    able = [deployment("a"), deployment("b", capabilities=frozenset({"assistant_prefill"}))]
    script = {"a": [BROKEN], "b": ["Once upon a time in a far land"]}
    world = scene(script, deployments=able)
    prefills: list[str | None] = []
    open_one = world.provider._take
    world.provider._take = lambda attempt, request: (  # type: ignore[method-assign]
        prefills.append(attempt.prefill),
        open_one(attempt, request),
    )[1]
    told = ask(face, world.gateway, asked("resume"))
    assert (told.text, told.error) == ("Once upon a time in a far land", None)
    assert prefills == [None, "Once upon a"]


@every_stream
def test_the_beginning_that_one_is_given_is_held_and_booked_as_read(face: str) -> None:
    able = [deployment("a"), deployment("b", capabilities=frozenset({"assistant_prefill"}))]
    beginning = "Once upon a time " * 50
    broken, rest = Stream(beginning, then=Fault("connection")), Stream("there was", finish_reason=None)
    world = scene({"a": [broken], "b": [rest]}, Limits([Budget("global", 10**9, 86_400.0)]), deployments=able)
    ask(face, world.gateway, asked("resume", params={"max_tokens": 10}))
    first, second = world.ledger.attempts()
    assert second["reserve_nano_usd"] - first["reserve_nano_usd"] >= len(beginning) // 4
    assert second["input_tokens"] - first["input_tokens"] == -(-len(beginning.rstrip()) // 4)


@every_stream
@pytest.mark.parametrize("tail", ["", " "])
def test_one_that_was_given_the_beginning_and_says_all_again_says_nothing_twice(face: str, tail: str) -> None:
    beginning = "It was the best of times, it was the worst" + tail
    able = [deployment("a"), deployment("b", capabilities=frozenset({"assistant_prefill"}))]
    again = [beginning[:10], beginning[10:30], beginning[30:] + "!"]
    script = {"a": [Stream(beginning, then=Fault("server"))], "b": [lambda _: Stream(*again)]}
    world = scene(script, deployments=able)
    told = ask(face, world.gateway, asked("resume"))
    assert (told.text, told.error) == (beginning + "!", None)


@every_stream
def test_one_that_goes_on_with_a_word_or_two_is_whole(face: str) -> None:
    beginning = "It was the best of times, it was the worst"
    able = [deployment("a"), deployment("b", capabilities=frozenset({"assistant_prefill"}))]
    script = {"a": [Stream(beginning, then=Fault("server"))], "b": [lambda _: Stream("I")]}
    world = scene(script, deployments=able)
    told = ask(face, world.gateway, asked("resume"))
    assert (told.text, told.error) == (beginning + "I", None)


@every_stream
def test_an_empty_answer_is_tried_once_elsewhere_and_given_out_if_nothing_better_comes(face: str) -> None:
    nothing = Stream()
    told, _ = told_by(face, {"a": [nothing], "b": [WHOLE]}, asked(None))
    assert told.text == "Once upon a time "
    told, _ = told_by(face, {"a": [nothing], "b": [nothing], "c": [WHOLE]}, asked(None))
    assert (told.text, told.error, told.tried) == ("", None, ["a", "b"])
    told, _ = told_by(face, {"a": [nothing], "b": [Fault("authentication")]}, asked(None))
    assert (told.text, told.error) == ("", None)
