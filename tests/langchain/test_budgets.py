"""Limits in a chain: what does not fit is denied before anything is sent, on every entrance."""

from __future__ import annotations

import pytest
from langchain_llmgate import ChatLLMGate
from support.langchain_faces import ENTRANCES
from support.langchain_leaves import fake

from llmgate_plugins import Context, RequestDenied
from llmgate_plugins.context import use_context
from llmgate_plugins.plugins import ConcurrencyLimit, Instead, Limits, RequestLimit
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
