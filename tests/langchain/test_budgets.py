"""Limits in a chain: what does not fit is denied before anything is sent, on every entrance."""

from __future__ import annotations

import pytest
from langchain_llmgate import ChatLLMGate
from support.langchain_faces import ENTRANCES
from support.langchain_leaves import LEAVES, fake, leaf, simulator

from llmgate_plugins import Context, RequestDenied
from llmgate_plugins.context import use_context
from llmgate_plugins.plugins import Budget, ConcurrencyLimit, Instead, Limits, RequestLimit
from llmgate_plugins.windows import Calendar

DAY = Calendar("day")


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_call_beyond_the_limit_is_denied_and_says_until_when(entrance: str) -> None:
    inner = fake()
    limits = Limits([RequestLimit("team", 2, DAY), ConcurrencyLimit("team", 1)])
    gate = ChatLLMGate.from_models({"fast": [inner]}, plugins=[limits])
    with use_context(Context(team="search")):
        for _ in range(2):
            assert ENTRANCES[entrance](gate, "hello").text == "hello"
        with pytest.raises(
            RequestDenied, match=r"2 requests per day .* of team 'search' is used up"
        ) as denied:
            ENTRANCES[entrance](gate, "hello")
    assert (denied.value.code, denied.value.plugin) == ("limit", "Limits")
    assert denied.value.retry_at is not None
    assert len(inner.asked) == 2
    assert {(row.kind, row.spent, row.held) for row in limits.report()} == {
        ("requests", 2, 0),
        ("concurrency", 0, 0),
    }
    with use_context(Context(team="mail")):
        assert ENTRANCES[entrance](gate, "hello").text == "hello"


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_call_beyond_the_limit_may_go_to_another_alias(entrance: str) -> None:
    large, small = fake("large", pieces=("large",)), fake("small", pieces=("small",))
    limit = RequestLimit(["team", "alias=fast"], 1, DAY, on_exhausted=Instead(alias="mini"))
    gate = ChatLLMGate.from_models({"fast": [large], "mini": [small]}, plugins=[Limits([limit])])
    answers = [ENTRANCES[entrance](gate, "hello").text for _ in range(2)]
    assert answers == ["large", "small"]


def held(inner: object, entrance: str = "invoke", **words: object) -> int:
    """Nano-dollars that a hard budget holds for one call."""
    gate = ChatLLMGate.from_models({"fast": [inner]}, plugins=[Limits([Budget("team", 10**12, DAY)])])
    with use_context(Context(team="search")):
        ENTRANCES[entrance](gate, "hello", **words)
    (row,) = gate.gateway.services.ledger.attempts()
    return int(row["reserve_nano_usd"])


@pytest.mark.parametrize("entrance", ["invoke", "ainvoke", "stream", "astream"])
@pytest.mark.parametrize("kind", LEAVES)
def test_a_length_that_a_model_was_made_with_is_held(kind: str, entrance: str) -> None:
    provider = simulator().provider(f"made-{kind}-{entrance}")
    per_token = 5_000 if kind == "anthropic" else 600
    short, long = (held(leaf(kind, provider, max_tokens=most), entrance) for most in (10, 9_010))
    assert long - short == 9_000 * per_token
    assert held(leaf(kind, provider, max_tokens=9_010), entrance, max_tokens=10) == short


@pytest.mark.parametrize(
    "settings", [{"n": 2}, {"extra_body": {"n": 2}}, {"model_kwargs": {"n": 2}}, {"service_tier": "priority"}]
)
@pytest.mark.filterwarnings("ignore:WARNING! n is not default parameter:UserWarning")
@pytest.mark.filterwarnings("ignore:Parameters {'n'} should be specified explicitly:UserWarning")
def test_whatever_else_a_model_was_made_with_that_costs_money_is_held(settings: dict[str, object]) -> None:
    provider = simulator().provider("made-otherwise")
    plain, dear = (held(leaf("openai", provider, max_tokens=5_000, **more)) for more in ({}, settings))
    assert 1.5 * plain < dear < 2.01 * plain


@pytest.mark.parametrize("word", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("kind", LEAVES)
def test_a_length_of_the_call_is_sent_in_place_of_the_models_own(kind: str, word: str) -> None:
    provider = simulator().provider(f"one-length-{kind}-{word}")
    held(leaf(kind, provider, max_tokens=9_010), **{word: 10})
    body = provider.requests[-1].body
    assert [body[name] for name in ("max_tokens", "max_completion_tokens") if name in body] == [10]


def test_what_a_model_was_made_with_is_sent_as_it_sends_that_itself() -> None:
    provider = simulator().provider("made-and-sent")
    held(leaf("openai", provider, max_tokens=60, n=2))
    assert provider.requests[-1].body["max_completion_tokens"] == 60
    assert "max_tokens" not in provider.requests[-1].body


def test_a_length_that_nobody_chose_is_no_bound() -> None:
    provider = simulator().provider("made-by-default")
    assert held(leaf("anthropic", provider)) < 4_200 * 5_000
