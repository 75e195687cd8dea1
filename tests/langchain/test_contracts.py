"""Canaries for what the adapter uses of LangChain without a promise: the first to fail on a new release."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.base import BaseLanguageModel
from langchain_core.runnables import RunnableBinding, RunnableSequence
from langchain_core.runnables.config import CONFIG_KEYS, var_child_runnable_config
from langchain_core.utils import _gateway
from langchain_llmgate import ChatLLMGate
from langchain_llmgate._leaf import Leaf
from langchain_llmgate._report import TRACE_KEY
from pydantic import BaseModel
from support.langchain_leaves import LEAVES, fake, leaf

from llmgate_plugins import Deployment
from llmgate_plugins.testing import SimulatedProvider

PARAMETERS = {
    "_generate": ["self", "messages", "stop", "run_manager", "kwargs"],
    "_agenerate": ["self", "messages", "stop", "run_manager", "kwargs"],
    "_stream": ["self", "messages", "stop", "run_manager", "kwargs"],
    "_astream": ["self", "messages", "stop", "run_manager", "kwargs"],
    "_streaming_disabled": ["self", "kwargs"],
    "_convert_input": ["self", "model_input"],
    "_resolve_model_profile": ["self"],
    "_get_invocation_params": ["self", "stop", "kwargs"],
    "_get_ls_params": ["self", "stop", "kwargs"],
    "_get_llm_string": ["self", "stop", "kwargs"],
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_methods_we_override_or_call_are_as_they_were(name: str) -> None:
    assert list(inspect.signature(getattr(BaseChatModel, name)).parameters) == PARAMETERS[name]


def test_should_stream_takes_the_words_of_a_call() -> None:
    parameters = inspect.signature(BaseChatModel._should_stream).parameters

    assert list(parameters) == ["self", "async_api", "run_manager", "kwargs"]


def test_versions_are_noted_the_same_way() -> None:
    assert list(inspect.signature(BaseLanguageModel._add_version).parameters) == ["self", "pkg", "version"]


def test_the_key_that_traces_look_for_is_the_same() -> None:
    assert _gateway.GATEWAY_METADATA_RESPONSE_KEY == TRACE_KEY


def test_a_runs_configuration_is_where_it_was() -> None:
    assert "configurable" in CONFIG_KEYS
    assert var_child_runnable_config.get() is None


class Point(BaseModel):
    """A point."""

    x: int


@pytest.mark.parametrize("kind", LEAVES)
def test_bindings_and_sequences_can_be_taken_apart(kind: str, provider: SimulatedProvider) -> None:
    model: Any = leaf(kind, provider)

    bound = model.bind_tools([Point])
    structured = model.with_structured_output(Point)

    assert isinstance(bound, RunnableBinding)
    assert bound.kwargs["tools"]
    assert isinstance(structured, RunnableSequence)
    assert isinstance(structured.first, RunnableBinding)
    assert structured.steps == [structured.first, *structured.middle, structured.last]
    assert Leaf(Deployment(id="d", alias="a", provider=kind, model="m"), model).parser


def test_the_methods_whose_signature_is_kept_still_say_the_truth() -> None:
    for name in ("_generate", "_agenerate"):
        method = getattr(ChatLLMGate, name)
        assert "run_manager" in inspect.signature(method).parameters
        assert (
            "run_manager"
            in inspect.signature(getattr(ChatLLMGate.from_models({"a": [fake()]}), name)).parameters
        )


def test_importing_the_adapter_loads_no_provider() -> None:
    script = (
        "import sys, langchain_llmgate\n"
        "heavy = 'openai anthropic litellm langchain_openai langchain_litellm langgraph'\n"
        "print([name for name in (*heavy.split(), 'sqlalchemy', 'langchain') if name in sys.modules])\n"
    )

    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert told.stdout.strip() == "[]"
