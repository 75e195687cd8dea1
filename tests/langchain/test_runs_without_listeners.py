"""A call to which nobody listens is made without LangChain's preparations for listeners, and is the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
from langchain_core.globals import set_debug
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage
from langchain_core.outputs import ChatResult
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.tracers.context import collect_runs
from langchain_llmgate import ChatLLMGate
from pydantic import Field
from support.langchain_faces import ENTRANCES
from support.langchain_leaves import Fake, FakeWithoutStream, fake

FACES = ("invoke", "ainvoke", "batch", "abatch", "stream", "astream")
RUN_ID = re.compile(r"lc_run--[0-9a-f-]{36}(-0)?")


class Listener(BaseCallbackHandler):
    """Counts what it hears of."""

    def __init__(self) -> None:
        self.started = 0
        self.answers: list[Any] = []

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        self.started += 1

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        self.answers.append(response)


class WithMore(Fake):
    """Tells more beside its answer."""

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        result = super()._generate(messages, stop, run_manager, **kwargs)
        return ChatResult(generations=result.generations, llm_output={"system_fingerprint": "fp_1"})


class Curious(Fake):
    """Reads what its run was given by the application."""

    given: list[Any] = Field(default_factory=list)

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        mine = {name: value for name, value in run_manager.metadata.items() if not name.startswith("ls_")}
        self.given.append((sorted(run_manager.tags), mine, type(run_manager).__name__, run_manager.run_id))
        return super()._generate(messages, stop, run_manager, **kwargs)


def told(gate: ChatLLMGate, entrance: str, config: Any = None) -> Any:
    """Everything about an answer but what is another one each time."""
    message = ENTRANCES[entrance](gate, "hello", config).model_dump()
    assert RUN_ID.fullmatch(message.pop("id"))
    llmgate = message["response_metadata"].pop("llmgate")
    assert llmgate["call_id"]
    return message


@pytest.mark.parametrize("inner", [Fake, WithMore, FakeWithoutStream])
@pytest.mark.parametrize("entrance", FACES)
def test_an_answer_is_the_same_whether_somebody_listens_or_not(entrance: str, inner: Any) -> None:
    gate = ChatLLMGate.from_models({"fast": [inner()]})
    listener = Listener()

    heard = told(gate, entrance, {"callbacks": [listener]})

    assert listener.started == len(listener.answers) == 1
    assert told(gate, entrance) == heard


def test_pieces_are_the_same_whether_somebody_listens_or_not() -> None:
    gate = ChatLLMGate.from_models({"fast": [fake(pieces=("a", "", "b"))]}, annotate=False)

    heard = [one.model_dump(exclude={"id"}) for one in gate.stream("x", {"callbacks": [Listener()]})]

    pieces = list(gate.stream("x"))
    assert [one.model_dump(exclude={"id"}) for one in pieces] == heard
    assert len({one.id for one in pieces}) == 1


@pytest.mark.parametrize("entrance", FACES)
def test_a_run_has_the_id_that_it_was_given(entrance: str) -> None:
    gate = ChatLLMGate.from_models({"fast": [fake()]})
    run_id = uuid4()

    answer = ENTRANCES[entrance](gate, "hello", {"run_id": run_id})

    assert answer.id.startswith(f"lc_run--{run_id}")


def test_the_result_of_generate_names_its_run() -> None:
    gate = ChatLLMGate.from_models({"fast": [fake()]})
    run_id = uuid4()

    result = gate.generate([[HumanMessage("hello")]], run_id=run_id)

    assert [run.run_id for run in result.run or ()] == [run_id]
    assert result.llm_output == {}


@pytest.fixture
def debugging() -> Iterator[None]:
    set_debug(True)
    yield
    set_debug(False)


@pytest.mark.parametrize("entrance", FACES)
@pytest.mark.usefixtures("debugging")
def test_who_debugs_listens(entrance: str, capsys: pytest.CaptureFixture[str]) -> None:
    ENTRANCES[entrance](ChatLLMGate.from_models({"fast": [fake()]}), "hello")

    assert "[llm/start]" in capsys.readouterr().out


@pytest.mark.parametrize("entrance", FACES)
def test_who_listens_from_the_surroundings_hears(entrance: str) -> None:
    gate = ChatLLMGate.from_models({"fast": [fake()]})

    with collect_runs() as heard:
        ENTRANCES[entrance](gate, "hello")

    (run,) = heard.traced_runs
    assert run.outputs


@pytest.mark.parametrize("entrance", FACES)
def test_a_models_own_listener_hears(entrance: str) -> None:
    listener = Listener()
    gate = ChatLLMGate.from_models({"fast": [fake()]}, callbacks=[listener])

    ENTRANCES[entrance](gate, "hello")

    assert listener.started == 1


@pytest.mark.parametrize("entrance", FACES)
def test_a_listener_that_a_tracer_puts_into_every_manager_hears(
    entrance: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As OpenInference and others bring themselves in."""
    gate, listener = ChatLLMGate.from_models({"fast": [fake()]}), Listener()
    own = BaseCallbackManager.__init__

    def with_listener(self: Any, *args: Any, **kwargs: Any) -> None:
        own(self, *args, **kwargs)
        self.add_handler(listener)

    monkeypatch.setattr(BaseCallbackManager, "__init__", with_listener)
    ENTRANCES[entrance](gate, "hello")

    assert listener.started >= 1


@pytest.mark.parametrize(
    ("entrance", "method"),
    [("invoke", "generate"), ("ainvoke", "agenerate"), ("stream", "stream"), ("astream", "astream")],
)
def test_a_tracer_around_the_cores_own_methods_is_not_left_out(
    entrance: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Datadog and others bring themselves in."""
    gate, own, passed = ChatLLMGate.from_models({"fast": [fake()]}), getattr(BaseChatModel, method), []

    def around(*args: Any, **kwargs: Any) -> Any:
        passed.append(method)
        return own(*args, **kwargs)

    monkeypatch.setattr(BaseChatModel, method, around)
    answer = ENTRANCES[entrance](gate, "hello")

    assert answer.text == "hello"
    assert passed == [method]


@pytest.mark.parametrize("entrance", ["invoke", "batch"])
def test_an_inner_model_reads_of_its_run_what_the_application_told(entrance: str) -> None:
    inner = Curious()
    gate = ChatLLMGate.from_models({"fast": [inner]}, tags=["gate"], metadata={"own": 1})
    config = {"tags": ["mine"], "metadata": {"page": 7}, "run_id": uuid4()}

    ENTRANCES[entrance](gate, "hello", config)
    ENTRANCES[entrance](gate, "hello", {**config, "callbacks": [Listener()]})

    unheard, heard = inner.given
    assert unheard == heard
    assert unheard[0] == ["gate", "mine"]
    assert unheard[1].items() >= {"page": 7, "own": 1}.items()


@pytest.mark.parametrize("entrance", FACES)
def test_blocks_of_older_shapes_reach_the_model_in_todays(entrance: str) -> None:
    inner = fake()
    gate = ChatLLMGate.from_models({"fast": [inner]})
    image = {"type": "image", "source_type": "base64", "mime_type": "image/png", "data": "AAAA"}

    ENTRANCES[entrance](gate, [HumanMessage([image])])

    ((message,), _, _) = inner.asked[0]
    assert message.content == [{"type": "image", "base64": "AAAA", "mime_type": "image/png"}]


class Slow(BaseRateLimiter):
    """Counts who waits."""

    def __init__(self) -> None:
        self.waited = 0

    def acquire(self, *, blocking: bool = True) -> bool:
        self.waited += 1
        return True

    async def aacquire(self, *, blocking: bool = True) -> bool:
        self.waited += 1
        return True


@pytest.mark.parametrize("entrance", FACES)
def test_a_gates_own_rate_limiter_is_asked(entrance: str) -> None:
    limiter = Slow()
    gate = ChatLLMGate.from_models({"fast": [fake()]}, rate_limiter=limiter)

    ENTRANCES[entrance](gate, "hello")

    assert limiter.waited == 1


@pytest.mark.parametrize("entrance", FACES)
def test_a_failing_call_fails_with_the_same_error(entrance: str) -> None:
    errors = []
    for config in (None, {"callbacks": [Listener()]}):
        gate = ChatLLMGate.from_models({"fast": [fake(errors=[ValueError("no")] * 3)]})
        with pytest.raises(ValueError, match="no") as raised:
            ENTRANCES[entrance](gate, "hello", config)
        errors.append(raised.value)

    assert [len(error.__notes__) for error in errors] == [1, 1]
