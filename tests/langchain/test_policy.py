"""Policy comes before the trace: what it changes is traced, cached and sent; what it denies is neither."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_llmgate import ChatLLMGate
from support.langchain_faces import ENTRANCES, STREAMS
from support.langchain_leaves import Fake, fake

from llmgate_plugins import Context, Message, Request, RequestDenied, Response, hookimpl
from llmgate_plugins.types import LazyMessages

SECRET = "555-12-3456"


class Redact:
    """Masks a secret in every message."""

    @hookimpl
    def admit_request(self, request: Request) -> Request:
        from dataclasses import replace

        return request.replace(
            messages=[
                replace(m, content=m.text.replace(SECRET, "[ssn]")) if SECRET in m.text else m
                for m in request.messages
            ]
        )


class RedactLater(Redact):
    @hookimpl
    async def admit_request(self, request: Request) -> Request:
        return super().admit_request(request)


class Deny:
    @hookimpl
    def admit_request(self, request: Request) -> None:
        raise RequestDenied("not today", code="closed")


class Answer:
    @hookimpl
    def admit_request(self, request: Request) -> Response:
        return Response.of("from the shelf", model="shelf")


class Trace(BaseCallbackHandler):
    """All that a tracer sees."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.starts = 0
        self.errors: list[BaseException] = []

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        self.starts += 1
        self.seen.append((serialized, messages, kwargs))

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        self.seen.append(response)

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        self.errors.append(error)


def gate_over(inner: Fake, *plugins: object) -> ChatLLMGate:
    return ChatLLMGate.from_models({"fast": [inner]}, plugins=plugins)


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("plugin", [Redact, RedactLater])
def test_a_redacted_prompt_is_what_is_traced_and_sent(entrance: str, plugin: type) -> None:
    inner, trace = fake(), Trace()

    ENTRANCES[entrance](
        gate_over(inner, plugin()),
        [("system", "be kind"), ("user", f"I am {SECRET}")],
        {"callbacks": [trace]},
    )

    ((messages, _, _),) = inner.asked
    assert [message.text for message in messages] == ["be kind", "I am [ssn]"]
    assert trace.starts == 1
    assert SECRET not in repr(trace.seen)
    assert "I am [ssn]" in repr(trace.seen)


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_denied_call_is_neither_traced_nor_sent(entrance: str) -> None:
    inner, trace = fake(), Trace()

    with pytest.raises(RequestDenied, match="not today"):
        ENTRANCES[entrance](gate_over(inner, Deny()), "hello", {"callbacks": [trace]})

    assert inner.asked == []
    assert trace.starts == 0


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_plugins_own_answer_is_an_answer_like_any_other(entrance: str) -> None:
    inner = fake()
    gate = gate_over(inner, Answer())

    answer = ENTRANCES[entrance](gate, "hello")

    assert answer.text == "from the shelf"
    told = answer.response_metadata["llmgate"]
    assert told["deployment"] is None
    assert told["answered_by"] == "Answer"
    assert inner.asked == []
    assert [record.status for record in gate.gateway.decisions] == ["answered"]


def test_several_prompts_are_several_calls() -> None:
    inner, trace = fake(), Trace()
    gate = gate_over(inner, Redact())

    result = gate.generate([[HumanMessage(f"a {SECRET}")], [HumanMessage("b")]], callbacks=[trace])

    assert [generations[0].text for generations in result.generations] == ["hello", "hello"]
    assert result.run is not None
    assert len(result.run) == 2
    assert len(gate.gateway.decisions) == 2
    assert SECRET not in repr(trace.seen)


async def test_several_prompts_run_side_by_side_and_the_first_error_is_raised() -> None:
    inner = fake(errors=[None, ValueError("no")])
    gate = ChatLLMGate.from_models({"fast": [inner]}, defaults=False)

    with pytest.raises(ValueError, match="no"):
        await gate.agenerate([[HumanMessage("a")], [HumanMessage("b")]])

    assert len(inner.asked) == 2


def test_a_policy_may_change_parameters_and_the_model() -> None:
    class Cheaper:
        @hookimpl
        def admit_request(self, request: Request) -> Request:
            return request.replace(model="slow", params={**request.params, "max_tokens": 5})

    fast, slow = fake("one"), fake("two")
    gate = ChatLLMGate.from_models({"fast": [fast], "slow": [slow]}, plugins=[Cheaper()], max_tokens=100)

    answer = gate.invoke("hello", temperature=0.5)

    assert fast.asked == []
    assert slow.asked[0][2] == {"max_tokens": 5, "temperature": 0.5}
    assert answer.response_metadata["llmgate"]["alias"] == "slow"


def test_messages_nobody_touched_are_the_very_same_objects() -> None:
    inner = fake()
    history = [
        SystemMessage("be kind"),
        HumanMessage([{"type": "text", "text": "look"}, {"type": "image", "url": "http://x/y.png"}]),
        AIMessage("", tool_calls=[{"name": "f", "args": {"a": 1}, "id": "1"}]),
        ToolMessage(f"it is {SECRET}", tool_call_id="1", artifact={"kept": True}),
    ]

    gate_over(inner, Redact()).invoke(history)

    sent = inner.asked[0][0]
    assert [after is before for after, before in zip(sent, history, strict=True)] == [True, True, True, False]
    assert sent[3].content == "it is [ssn]"
    assert sent[3].artifact == {"kept": True}
    assert history[3].content == f"it is {SECRET}"


def test_nothing_is_read_where_no_plugin_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: LazyMessages) -> Any:
        raise AssertionError("the messages were read")

    monkeypatch.setattr(LazyMessages, "messages", property(refuse))

    assert gate_over(fake()).invoke("hello").text == "hello"


@pytest.mark.parametrize("entrance", ["invoke", "ainvoke"])
def test_a_reviewed_answer_is_the_one_handed_out(entrance: str) -> None:
    class Shout:
        @hookimpl
        def review_response(self, response: Response) -> Response:
            return response.replace(source=Message(role="assistant", content=response.text.upper()))

    answer = ENTRANCES[entrance](gate_over(fake(), Shout()), "hello")

    assert answer.text == "HELLO"
    assert answer.response_metadata["llmgate"]["deployment"] == "fast/fake-fake-model"


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_an_async_plugin_works_in_every_entrance(entrance: str) -> None:
    class Slow:
        @hookimpl
        async def admit_request(self, request: Request, context: Context) -> None:
            assert request.messages[0].text == "hello"

    assert ENTRANCES[entrance](gate_over(fake(), Slow()), "hello").text == "hello"


def test_plugins_see_whether_a_call_is_streamed() -> None:
    seen: list[bool] = []

    class Note:
        @hookimpl
        def admit_request(self, request: Request) -> None:
            seen.append(request.stream)

    gate = gate_over(fake(), Note())
    gate.invoke("hello")
    list(gate.stream("hello"))

    assert seen == [False, True]


@pytest.mark.parametrize("entrance", STREAMS)
def test_tools_that_a_policy_leaves_keep_what_they_were_made_of(entrance: str) -> None:
    def keep(city: str) -> str:
        """Weather there."""
        return city

    def drop(city: str) -> str:
        """Delete it."""
        return city

    class NoDrop:
        @hookimpl
        def admit_request(self, request: Request) -> Request:
            tools = [tool for tool in request.params["tools"] if tool["function"]["name"] != "drop"]
            return request.replace(params={**request.params, "tools": tools})

    bound: list[Any] = []

    class WithTools(Fake):
        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            bound.append(list(tools))
            return self.bind(tools=[getattr(tool, "__name__", tool) for tool in tools])

    inner = WithTools()

    ENTRANCES[entrance](gate_over(inner, NoDrop()).bind_tools([keep, drop]), "hello")

    assert bound == [[keep]]
    assert inner.asked[0][2]["tools"] == ["keep"]
