"""Experiments and feedback in LangChain: arms change what is asked; answers and runs can be judged."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from langchain_core.runnables import RunnableLambda
from langchain_llmgate import ChatLLMGate, FeedbackCallback, call_id_of
from support.langchain_faces import ENTRANCES
from support.langchain_leaves import fake

from llmgate_plugins import Context, Request, hookimpl
from llmgate_plugins.experiments import Arm, Experiment, Prompt
from llmgate_plugins.plugins import Experiments


def treated(**arm: Any) -> Experiments:
    """Every user is a candidate."""
    arms = [Arm(name="control"), Arm(name="candidate", weight=1.0, **arm)]
    return Experiments([Experiment(name="e", arms=arms)])


WHO = {"configurable": {"llmgate_context": Context(user="ada")}}


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_an_arm_asks_in_other_words(entrance: str) -> None:
    inner = fake()
    plugin = treated(prompt=Prompt(system="Be brief.", template="Q: {prompt}"), params={"temperature": 0.5})
    gate = ChatLLMGate.from_models({"fast": [inner]}, plugins=[plugin])
    ENTRANCES[entrance](gate, [("system", "Be long."), ("user", "why?")], WHO)
    ((messages, _, words),) = inner.asked
    assert [(one.type, one.text) for one in messages] == [("system", "Be brief."), ("human", "Q: why?")]
    assert words["temperature"] == 0.5
    assert gate.gateway.decisions[-1].experiments == {"e": "candidate"}


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_an_arm_asks_another_model(entrance: str) -> None:
    usual, other = fake("usual"), fake("other")
    gate = ChatLLMGate.from_models(
        {"fast": [usual], "strong": [other]}, model="fast", plugins=[treated(model="strong")]
    )
    ENTRANCES[entrance](gate, "hello", WHO)
    assert (len(usual.asked), len(other.asked)) == (0, 1)


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_an_answer_says_which_call_it_is_of(entrance: str) -> None:
    gate = ChatLLMGate.from_models({"fast": [fake()]})
    answer = ENTRANCES[entrance](gate, "hello")
    gate.gateway.feedback(call_id_of(answer), 1)
    (row,) = gate.gateway.services.ledger.feedback()
    assert row["call_id"] == gate.gateway.decisions[-1].call_id


@pytest.mark.parametrize("annotate", [True, False])
@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_run_is_judged_by_its_id(entrance: str, annotate: bool) -> None:
    gate = ChatLLMGate.from_models({"fast": [fake()]}, annotate=annotate)
    heard = FeedbackCallback(gate.gateway)
    run_id = uuid4()
    ENTRANCES[entrance](gate, "hello", {"callbacks": [heard], "run_id": run_id})
    (given,) = heard.create_feedback(str(run_id), "helpful", score=0.5, comment="so so")
    assert given.call_id == gate.gateway.decisions[-1].call_id
    assert given.deployment == "fast/fake-fake-model"


def test_the_run_of_a_chain_is_that_of_all_its_calls() -> None:
    gate = ChatLLMGate.from_models({"fast": [fake()]})
    heard = FeedbackCallback(gate.gateway)
    chain = RunnableLambda(lambda text: text) | gate | RunnableLambda(lambda answer: answer.text) | gate
    run_id = uuid4()
    chain.invoke("hello", {"callbacks": [heard], "run_id": run_id})
    given = heard.create_feedback(run_id, score=1)
    assert [one.call_id for one in given] == [one.call_id for one in gate.gateway.decisions]
    assert len(given) == 2


def test_what_is_not_known_is_told() -> None:
    gate = ChatLLMGate.from_models({"fast": [fake()]})
    with pytest.raises(LookupError, match="no call of run"):
        FeedbackCallback(gate.gateway).create_feedback(uuid4(), score=1)
    with pytest.raises(ValueError, match="does not say which call"):
        call_id_of(fake().invoke("hello"))


def test_only_so_many_runs_are_remembered() -> None:
    gate = ChatLLMGate.from_models({"fast": [fake()]})
    heard = FeedbackCallback(gate.gateway, most=3)
    ids = [uuid4() for _ in range(5)]
    for run_id in ids:
        gate.invoke("hello", {"callbacks": [heard], "run_id": run_id})
    assert [bool(heard.calls(run_id)) for run_id in ids] == [False, False, True, True, True]


def test_the_thread_of_a_graph_is_a_session_that_nobody_has_to_believe() -> None:
    asked: list[Any] = []

    class Note:
        @hookimpl
        def admit_request(self, request: Request, context: Context) -> None:
            asked.append((request.session, context.session))

    gate = ChatLLMGate.from_models({"fast": [fake()]}, plugins=[Note()])
    thread = {"configurable": {"thread_id": "t-1"}}
    gate.invoke("hello", thread)
    list(gate.stream("hello", thread))
    (RunnableLambda(lambda text: text) | gate).invoke("hello", thread)
    gate.invoke("hello")
    assert asked == [("t-1", None)] * 3 + [(None, None)]
