"""A gate is made from a configuration, a gateway, or chat models; what it cannot be made of is refused."""

from __future__ import annotations

import copy
import importlib
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import HumanMessage
from langchain_core.runnables import ConfigurableField
from langchain_llmgate import ChatLLMGate, init_llmgate
from langchain_openai import ChatOpenAI
from pydantic import SecretStr, ValidationError
from support.langchain_faces import ENTRANCES
from support.langchain_leaves import fake, leaf

from llmgate_plugins import (
    ConfigurationError,
    Context,
    Deployment,
    Endpoint,
    Gateway,
    Request,
    Secret,
    UnknownModel,
    hookimpl,
    use_context,
)
from llmgate_plugins.testing import Fault, SimulatedProvider

KEY = "sk-simulated-0123456789"


def document(provider: SimulatedProvider, other: SimulatedProvider) -> dict[str, Any]:
    return {
        "model_list": [
            {
                "model_name": "fast",
                "litellm_params": {
                    "model": "openai/gpt-4o-mini",
                    "api_key": "env:GATE_TEST_KEY",
                    "api_base": provider.openai_base_url,
                    "temperature": 0.25,
                    "extra_headers": {"x-team": "env:GATE_TEST_TEAM"},
                    "timeout": "20s",
                },
            },
            {
                "model_name": "fast",
                "litellm_params": {
                    "model": "anthropic/claude-haiku-4-5",
                    "api_key": "env:GATE_TEST_KEY",
                    "api_base": other.anthropic_base_url,
                },
            },
            {
                "model_name": "odd",
                "litellm_params": {
                    "model": "deepinfra/some-model",
                    "api_key": "env:GATE_TEST_KEY",
                    "api_base": provider.openai_base_url,
                },
            },
        ]
    }


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE_TEST_KEY", KEY)
    monkeypatch.setenv("GATE_TEST_TEAM", "search-team")


# ------------------------------------------------------------ from configuration


def test_from_a_file(tmp_path: Path, provider: SimulatedProvider, other: SimulatedProvider) -> None:
    import yaml

    path = tmp_path / "llmgate.yaml"
    path.write_text(yaml.safe_dump(document(provider, other)))
    gate = ChatLLMGate(model="fast", config=str(path))

    answer = gate.invoke("hello")

    assert answer.text == "You said: hello"
    (asked,) = provider.requests
    assert asked.authorization() == KEY
    assert asked.headers["x-team"] == "search-team"
    assert asked.body["temperature"] == 0.25
    assert asked.body["model"] == "gpt-4o-mini"


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_from_a_mapping_with_failover_and_usage_of_streams(
    entrance: str, provider: SimulatedProvider, other: SimulatedProvider
) -> None:
    provider.fail_always(Fault("overloaded"))
    gate = ChatLLMGate(model="fast", config=document(provider, other))

    answer = ENTRANCES[entrance](gate, "hello")

    assert answer.response_metadata["llmgate"]["provider"] == "anthropic"
    assert len(provider.requests) == 1
    assert gate.gateway.decisions[-1].usage.total == answer.usage_metadata["total_tokens"] > 0


def test_inner_models_are_built_when_first_used_and_shared(
    provider: SimulatedProvider, other: SimulatedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    from langchain_llmgate import _fleet

    built: list[str] = []
    real = _fleet.build_model
    monkeypatch.setattr(_fleet, "build_model", lambda one: (built.append(one.id), real(one))[1])
    gateway = Gateway.from_config(document(provider, other))
    first, second = (ChatLLMGate(model="fast", gateway=gateway) for _ in range(2))

    assert built == []
    first.invoke("hello")
    second.invoke("hello")

    assert built == ["fast/openai-gpt-4o-mini"]


def test_a_provider_without_a_package_goes_by_way_of_litellm(
    provider: SimulatedProvider, other: SimulatedProvider
) -> None:
    gate = ChatLLMGate(model="odd", config=document(provider, other))

    assert gate.invoke("hello").text == "You said: hello"
    assert provider.requests[0].authorization() == KEY

    provider.fail_always(Fault("server"))
    with pytest.raises(Exception, match="server had an error"):
        gate.invoke("hello")
    assert len(provider.requests) - 1 == len(gate.gateway.decisions[-1].attempts)


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str, *args: Any) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", nothing)
    gateway = Gateway([Deployment(id="m", alias="fast", provider="mistral", model="mistral-small")])

    with pytest.raises(ConfigurationError, match=r"pip install langchain-mistralai, or .*langchain-litellm"):
        ChatLLMGate(model="fast", gateway=gateway).invoke("hello")


def test_a_key_goes_only_where_it_was_written(
    provider: SimulatedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-the-environment")
    monkeypatch.setenv("OPENAI_BASE_URL", provider.openai_base_url)
    monkeypatch.setenv("OPENAI_API_BASE", provider.openai_base_url)
    without_key = Deployment(
        id="a", alias="a", provider="openai", model="m", endpoint=Endpoint(base_url=provider.openai_base_url)
    )
    without_address = Deployment(
        id="b", alias="b", provider="openai", model="m", endpoint=Endpoint(api_key=Secret(KEY))
    )
    gateway = Gateway([without_key, without_address])

    ChatLLMGate(model="a", gateway=gateway).invoke("hello")
    fleet = ChatLLMGate(model="b", gateway=gateway).fleet

    assert provider.requests[0].authorization() == "not-needed"
    assert fleet.leaf(without_address).model.openai_api_base == "https://api.openai.com/v1"


def test_secrets_show_nowhere(provider: SimulatedProvider, other: SimulatedProvider) -> None:
    gate = ChatLLMGate(model="fast", config=document(provider, other))
    gate.invoke("hello")

    shown = [repr(gate), str(gate), gate.model_dump_json(), repr(gate._serialized), gate._get_llm_string()]
    shown += [repr(gate._identifying_params), repr(gate.gateway.decisions), repr(gate.gateway)]

    assert not any(KEY in one for one in shown)


def test_none_or_unknown_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="config="):
        ChatLLMGate(model="fast")
    with pytest.raises(UnknownModel, match="did you mean 'fast'"):
        ChatLLMGate.from_models({"fast": [fake()]}, model="fsat")
    with pytest.raises(ConfigurationError, match="no models"):
        ChatLLMGate.from_models({})
    with pytest.raises(ConfigurationError, match="has no models"):
        ChatLLMGate.from_models({"fast": []})
    with pytest.raises(ConfigurationError, match="int is not a chat model"):
        ChatLLMGate.from_models({"fast": [3]})  # type: ignore[list-item]
    with pytest.raises(UserWarning, match="polices"):
        ChatLLMGate.from_models({"fast": [fake()]}, polices="eu")


# ------------------------------------------------------------ from models


def test_deployments_are_named_after_their_models_and_priced(provider: SimulatedProvider) -> None:
    gate = ChatLLMGate.from_models(
        {
            "fast": [leaf("openai", provider), leaf("openai", provider), leaf("litellm", provider)],
            "strong": lambda: leaf("anthropic", provider),
            "later": "openai/gpt-4o",
        }
    )

    assert list(gate.gateway.deployments) == [
        "fast/openai-gpt-4o-mini",
        "fast/openai-gpt-4o-mini-2",
        "fast/openai-gpt-4o-mini-3",
        "strong/anthropic-claude-haiku-4-5",
        "later/openai-gpt-4o",
    ]
    for deployment in gate.gateway.deployments.values():
        assert deployment.price is not None
        assert deployment.context_window
        assert "tools" in deployment.capabilities


def test_the_callers_own_model_is_left_as_it_is(provider: SimulatedProvider) -> None:
    own = leaf("openai", provider, max_retries=3)

    gate = ChatLLMGate.from_models({"fast": [own]})

    inner: Any = gate.fleet.given("fast/openai-gpt-4o-mini")
    assert inner.max_retries == inner.root_client.max_retries == inner.root_async_client.max_retries == 0
    assert inner.stream_usage is True
    assert own.max_retries == own.root_client.max_retries == 3  # type: ignore[attr-defined]


def test_what_an_inner_model_would_do_by_itself_is_warned_of() -> None:
    class Stubborn(FakeListChatModel):
        max_retries: int = 2

    with pytest.warns(UserWarning, match="retries by itself"):
        ChatLLMGate.from_models({"fast": [Stubborn(responses=["x"])]})
    with pytest.warns(UserWarning, match="cache of the inner FakeListChatModel have no effect"):
        ChatLLMGate.from_models({"fast": [FakeListChatModel(responses=["x"], cache=InMemoryCache())]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ChatLLMGate.from_models({"fast": [FakeListChatModel(responses=["x"])]})


def test_a_gate_may_stand_inside_a_gate() -> None:
    inner = ChatLLMGate.from_models({"inner": [fake(errors=[ConnectionError("no")]), fake("second")]})
    outer = ChatLLMGate.from_models({"outer": [inner]})

    for entrance in ENTRANCES.values():
        answer = entrance(outer, "hello")
        told = answer.response_metadata["llmgate"]
        assert answer.text == "hello"
        assert told["deployment"].startswith("outer/")
        assert len(told["attempts"]) == 1
    assert len(inner.gateway.decisions) == len(outer.gateway.decisions) == len(ENTRANCES)


# ------------------------------------------------------------ as a chat model


def test_a_call_may_ask_for_another_alias_or_deployment() -> None:
    gate = ChatLLMGate.from_models({"fast": [fake("a")], "strong": [fake("b"), fake("c")]})

    assert gate.invoke("x", model="strong").response_metadata["model_name"] == "b"
    assert gate.invoke("x", model="strong/fake-c").response_metadata["model_name"] == "c"
    with pytest.raises(UnknownModel):
        gate.invoke("x", model="other")


def test_fields_can_be_made_configurable() -> None:
    fast, strong = fake("a"), fake("b")
    gate = ChatLLMGate.from_models({"fast": [fast], "strong": [strong]}, temperature=0.1)
    flexible = gate.configurable_fields(
        model=ConfigurableField(id="model"), temperature=ConfigurableField(id="heat")
    )

    flexible.invoke("x")
    flexible.invoke("x", {"configurable": {"model": "strong", "heat": 0.9}})

    assert fast.asked[0][2]["temperature"] == 0.1
    assert strong.asked[0][2]["temperature"] == 0.9
    assert len(gate.gateway.decisions) == 2, "one gateway, whatever is configured"


def test_the_profile_follows_a_configured_model(provider: SimulatedProvider) -> None:
    small, large = leaf("openai", provider), leaf("anthropic", provider)
    gate = ChatLLMGate.from_models({"fast": [small, large], "strong": [large]})
    strong = ChatLLMGate(**{**gate.__dict__, "model": "strong"})

    assert gate.profile is not None
    assert strong.profile is not None
    assert gate.profile["max_input_tokens"] == 128_000
    assert strong.profile["max_input_tokens"] == 200_000
    assert gate.profile["structured_output"] is True
    assert ChatLLMGate.from_models({"fast": [small, fake()]}).profile is None


def test_the_provider_is_named_if_all_deployments_share_it(provider: SimulatedProvider) -> None:
    one, two = leaf("openai", provider), leaf("anthropic", provider)

    assert ChatLLMGate.from_models({"fast": [one, one]})._get_ls_params()["ls_provider"] == "openai"
    assert ChatLLMGate.from_models({"fast": [one, two]})._get_ls_params()["ls_provider"] == "llmgate"


def test_copies_share_the_gateway(provider: SimulatedProvider, other: SimulatedProvider) -> None:
    gate = ChatLLMGate(model="fast", config=document(provider, other), tags=["a"], stop=["x"])

    for twin in (copy.copy(gate), copy.deepcopy(gate), gate.model_copy()):
        assert twin.gateway is gate.gateway
        assert twin.invoke("hello").text == "You said: hello"
    assert copy.deepcopy(gate).tags is not gate.tags
    assert copy.deepcopy({"deep": [gate]})["deep"][0].gateway is gate.gateway


def test_a_configured_gate_can_be_pickled(provider: SimulatedProvider, other: SimulatedProvider) -> None:
    gate = ChatLLMGate(model="fast", config=document(provider, other), temperature=0.5)

    twin = pickle.loads(pickle.dumps(gate))

    assert twin.temperature == 0.5
    assert twin.invoke("hello").text == "You said: hello"
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(ChatLLMGate.from_models({"fast": [fake()]}))


def test_counting_tokens_asks_nobody(provider: SimulatedProvider) -> None:
    gate = ChatLLMGate.from_models({"fast": [leaf("anthropic", provider)]})

    assert gate.get_num_tokens("four words are here") > 0
    assert gate.get_num_tokens_from_messages([HumanMessage("hello there")]) > 0
    assert provider.requests == []


def test_the_models_own_words_are_defaults_and_a_calls_words_win() -> None:
    inner = fake()
    gate = ChatLLMGate.from_models({"fast": [inner]}, temperature=0.5, max_tokens=7, stop=["END"])

    gate.invoke("x")
    gate.invoke("x", temperature=0.9, stop=["FIN"])

    assert inner.asked[0][1:] == (["END"], {"temperature": 0.5, "max_tokens": 7})
    assert inner.asked[1][1:] == (["FIN"], {"temperature": 0.9, "max_tokens": 7})


def test_without_annotation_an_answer_says_nothing_of_us() -> None:
    gate = ChatLLMGate.from_models({"fast": [fake()]}, annotate=False)

    for entrance in ENTRANCES.values():
        assert "llmgate" not in entrance(gate, "x").response_metadata


# ------------------------------------------------------------ who is calling


class Note:
    def __init__(self) -> None:
        self.contexts: list[Context] = []
        self.tags: list[dict[str, str]] = []

    @hookimpl
    def admit_request(self, request: Request, context: Context) -> None:
        self.contexts.append(context)
        self.tags.append(dict(request.tags))


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_the_context_is_the_runs_then_the_gates_then_the_surrounding_one(entrance: str) -> None:
    note = Note()
    plain = ChatLLMGate.from_models({"fast": [fake()]}, plugins=[note])
    own = ChatLLMGate(model="fast", gateway=plain.gateway, context=Context(tenant="gate"))
    call = ENTRANCES[entrance]

    with use_context(Context(tenant="around")):
        call(plain, "x")
        call(own, "x")
        call(own, "x", {"configurable": {"llmgate_context": Context(tenant="run")}})
    call(plain, "x")

    assert [context.tenant for context in note.contexts] == ["around", "gate", "run", None]


def test_the_context_of_a_chain_reaches_a_model_called_inside_it() -> None:
    from langchain_core.runnables import RunnableLambda

    note = Note()
    gate = ChatLLMGate.from_models({"fast": [fake()]}, plugins=[note])
    chain = RunnableLambda(lambda question: gate.invoke(question))

    chain.invoke("x", {"configurable": {"llmgate_context": Context(tenant="run")}})

    assert note.contexts[0].tenant == "run"


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_context_that_came_from_outside_is_refused(entrance: str) -> None:
    inner = fake()
    gate = ChatLLMGate.from_models({"fast": [inner]})

    with pytest.raises(TypeError, match="only the application can make"):
        ENTRANCES[entrance](gate, "x", {"configurable": {"llmgate_context": {"tenant": "admin"}}})
    with pytest.raises(
        ValidationError, match=r"such as Context\(team='search'\), which only the application"
    ):
        ChatLLMGate(model="fast", gateway=gate.gateway, context={"tenant": "admin"})  # type: ignore[arg-type]

    assert inner.asked == []


MISSPELT: dict[str, tuple[dict[str, Any], str]] = {
    "configurable": (
        {"configurable": {"llmgate_contxt": Context(tenant="run")}},
        r"llmgate_contxt, which llmgate does not know there; did you mean llmgate_context\?",
    ),
    "another way of writing": (
        {"configurable": {"llmgateContext": Context(tenant="run")}},
        r"did you mean llmgate_context\?",
    ),
    "call id": ({"configurable": {"llmgate_callid": "job-17"}}, r"did you mean llmgate_call_id\?"),
    "beside configurable": ({"llmgate_contxt": Context(tenant="run")}, r"did you mean llmgate_context\?"),
    "metadata": (
        {"metadata": {"llmgate_context": Context(tenant="run")}},
        r'llmgate_context goes into config\["configurable"\]',
    ),
}


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_the_context_may_stand_beside_configurable_as_the_core_has_it(entrance: str) -> None:
    note = Note()
    gate = ChatLLMGate.from_models({"fast": [fake()]}, plugins=[note])

    ENTRANCES[entrance](gate, "x", {"llmgate_context": Context(tenant="run")})

    assert [context.tenant for context in note.contexts] == ["run"]


@pytest.mark.parametrize("where", MISSPELT)
@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_call_does_not_go_on_without_a_context_that_is_misspelt_or_misplaced(
    entrance: str, where: str
) -> None:
    from langchain_core.runnables import RunnableLambda

    inner = fake()
    gate = ChatLLMGate.from_models({"fast": [inner]})
    run, remedy = MISSPELT[where]

    with pytest.raises(TypeError, match=remedy):
        ENTRANCES[entrance](gate, "x", run)
    with pytest.raises(TypeError, match=remedy):
        RunnableLambda(lambda question: ENTRANCES[entrance](gate, question)).invoke("x", run)

    assert inner.asked == []


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_misspelt_word_of_llmgates_own_reaches_no_provider(entrance: str) -> None:
    inner = fake()
    gate = ChatLLMGate.from_models({"fast": [inner]})

    with pytest.raises(TypeError, match=r"did you mean llmgate_context\?"):
        ENTRANCES[entrance](gate.bind(llmgate_contex=Context(tenant="run")), "x")

    assert inner.asked == []


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_tags_and_metadata_are_labels_and_never_context(entrance: str) -> None:
    note = Note()
    gate = ChatLLMGate.from_models({"fast": [fake()]}, plugins=[note])
    metadata = {
        "tenant": "admin",
        "turn": 3,
        "openai_api_key": "sk-x",
        "deep": {"a": 1},
        "ls_x": "y",
        "long": "x" * 999,
    }

    ENTRANCES[entrance](gate, "x", {"tags": ["a", "b"], "metadata": metadata})

    assert note.contexts == [Context()]
    assert note.tags[0] == {"tags": "a,b", "tenant": "admin", "turn": "3", "long": "x" * 256}


# ------------------------------------------------------------ init_llmgate


def test_init_llmgate_makes_a_gate_of_whatever_there_is(
    tmp_path: Path, provider: SimulatedProvider, other: SimulatedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    import yaml

    path = tmp_path / "gate.yaml"
    path.write_text(yaml.safe_dump(document(provider, other)))
    gateway = Gateway.from_config(path)

    assert init_llmgate("odd", config=path).model == "odd"
    assert init_llmgate(gateway=gateway).gateway is gateway
    assert init_llmgate(models={"x": [fake()]}, temperature=0.1).temperature == 0.1
    with pytest.raises(ConfigurationError, match="LLMGATE_CONFIG"):
        init_llmgate("fast")
    monkeypatch.setenv("LLMGATE_CONFIG", str(path))
    assert init_llmgate().model == "fast"
    with pytest.raises(ConfigurationError, match="not several"):
        init_llmgate("fast", config=path, gateway=gateway)


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_run_may_choose_what_was_made_configurable(entrance: str) -> None:
    fast, strong = fake("a"), fake("b")
    gate = init_llmgate(
        models={"fast": [fast], "strong": [strong]},
        configurable_fields=("model", "temperature"),
        config_prefix="chat",
    )
    run = {"configurable": {"chat_model": "strong", "chat_temperature": 0.3, "chat_max_tokens": 9}}

    assert isinstance(gate, BaseChatModel)
    ENTRANCES[entrance](gate, "x", run)

    assert fast.asked == []
    assert strong.asked[0][2] == {"temperature": 0.3}


def test_only_harmless_fields_can_be_chosen_by_a_run() -> None:
    everything = init_llmgate(models={"fast": [fake()]}, configurable_fields="any")

    harmless = {"model", "temperature", "max_tokens", "timeout", "stop", "on_break"}
    assert set(everything.configurable) == harmless
    with pytest.raises(ConfigurationError, match="gateway cannot be configurable"):
        init_llmgate(models={"fast": [fake()]}, configurable_fields=["gateway"])
    with pytest.raises(ConfigurationError, match="begin with llmgate are its own"):
        init_llmgate(models={"fast": [fake()]}, configurable_fields=["model"], config_prefix="llmgate")


def test_both_names_that_chat_openai_has_for_an_argument_are_understood() -> None:
    gateway = Gateway([Deployment(id="m", alias="fast", provider="openai", model="gpt-4o-mini")])
    asked: dict[str, Any] = {"model_name": "fast", "request_timeout": 7.0, "max_completion_tokens": 9}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = ChatLLMGate(gateway=gateway, **asked)
        theirs = ChatOpenAI(api_key=SecretStr("sk-none"), **asked)
    assert (ours.model, ours.timeout, ours.max_tokens) == ("fast", 7.0, 9)
    assert (theirs.model_name, theirs.request_timeout, theirs.max_tokens) == ("fast", 7.0, 9)


@pytest.mark.parametrize("wrong", ["llmgate.yaml", {"model_list": []}])
def test_a_file_in_the_gateways_place_is_told_where_it_goes(wrong: object) -> None:
    with pytest.raises(ConfigurationError, match=r"takes a Gateway, not .*goes to config="):
        ChatLLMGate(model="fast", gateway=wrong)
