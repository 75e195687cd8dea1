"""Narrow with reasons, then rank; the host's order where nobody has an opinion."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from support.faces import ask, every_face
from support.gateways import deployment, scene
from support.plugins import Narrow, Rank, raising

from llmgate_plugins import (
    AllDeploymentsUnavailable,
    Deployment,
    HookFailed,
    ProviderError,
    Ranking,
    UnknownModel,
    hookimpl,
)


@every_face
def test_configured_order_holds_where_nobody_has_an_opinion(face: str) -> None:
    s = scene({"a": ["from a"], "b": ["from b"]})
    told = ask(face, s.gateway)
    assert told.text == "from a"
    assert told.record.selections[0].ranked_by is None


@every_face
def test_the_first_ranking_wins_and_is_recorded(face: str) -> None:
    s = scene({"a": ["a"], "b": ["b"], "c": ["c"]}, Rank("c", "a", name="one"), Rank("b", name="two"))
    told = ask(face, s.gateway)
    assert told.text == "c"
    selection = told.record.selections[0]
    assert selection.order == ("c", "a", "b")
    assert (selection.ranked_by, selection.scores, selection.reason) == (
        "one",
        {"c": 0.0, "a": 1.0},
        "told so",
    )


@every_face
def test_what_is_dropped_is_recorded_with_reason_and_plugin_and_never_comes_back(face: str) -> None:
    second = Narrow({"b": "slow"}, name="second")
    s = scene(
        {"a": ["a"], "b": ["b"], "c": ["c"]},
        Narrow({"a": "region"}, name="first"),
        second,
        Rank("a", "b", "c"),
    )
    told = ask(face, s.gateway)
    assert told.text == "c"
    assert second.seen == [["b", "c"]]
    assert told.record.selections[0].considered == ("a", "b", "c")
    assert told.record.selections[0].dropped == {"a": ("region", "first"), "b": ("slow", "second")}


@every_face
def test_nothing_left_is_an_error_with_every_reason(face: str) -> None:
    s = scene({"a": ["a"], "b": ["b"]}, Narrow({"a": "region", "b": "no_tools"}))
    told = ask(face, s.gateway)
    assert isinstance(told.error, AllDeploymentsUnavailable)
    assert told.error.reasons == {"a": "region", "b": "no_tools"}
    assert "a: region, b: no_tools" in str(told.error)
    assert s.sent == []


@every_face
def test_a_ranking_cannot_bring_in_a_stranger(face: str) -> None:
    class Smuggler:
        @hookimpl
        def rank_deployments(self) -> Ranking:
            return Ranking([deployment("elsewhere")])

    s = scene({"a": ["a"]}, Smuggler())
    told = ask(face, s.gateway)
    assert isinstance(told.error, HookFailed)
    assert "'elsewhere', which is not among the candidates" in str(told.error)
    assert s.sent == []


@every_face
def test_a_plain_list_is_a_ranking(face: str) -> None:
    class Backwards:
        @hookimpl
        def rank_deployments(self, deployments: Sequence[Deployment]) -> list[Deployment]:
            return list(reversed(deployments))

    s = scene({"a": ["a"], "b": ["b"]}, Backwards())
    assert ask(face, s.gateway).text == "b"


@pytest.mark.parametrize("hook", ["narrow_deployments", "rank_deployments"])
@every_face
def test_a_broken_selection_plugin_stops_the_call(face: str, hook: str) -> None:
    s = scene({"a": ["a"]}, raising(hook, KeyError("x"), "picky"))
    told = ask(face, s.gateway)
    assert isinstance(told.error, HookFailed)
    assert (told.error.plugin, told.error.hook) == ("picky", hook)
    assert s.sent == []


@every_face
def test_an_unknown_model_is_told_with_what_is_near(face: str) -> None:
    s = scene({"a": ["a"]})
    told = ask(face, s.gateway, model="fasst")
    assert isinstance(told.error, UnknownModel)
    assert str(told.error) == "unknown model 'fasst'; did you mean 'fast'?"
    assert told.record.status == "error"


@every_face
def test_other_names_and_ids_lead_to_deployments(face: str) -> None:
    s = scene({"a": ["a"], "b": ["b"]}, aliases={"quick": "fast", "swift": "quick"})
    assert ask(face, s.gateway, model="swift").text == "a"
    assert ask(face, s.gateway, model="b").text == "b"


@every_face
def test_fallbacks_are_selected_by_the_same_rules(face: str) -> None:
    narrow = Narrow({"s1": "region"})
    s = scene(
        {"a": [ProviderError("no", status=401)], "s1": ["s1"], "s2": ["s2"]},
        narrow,
        deployments=[deployment("a"), deployment("s1", "strong"), deployment("s2", "strong")],
        fallbacks={"fast": ["strong"]},
    )
    told = ask(face, s.gateway)
    assert told.text == "s2"
    assert [selection.alias for selection in told.record.selections] == ["fast", "strong"]
    assert [attempt.reason for attempt, _ in told.record.attempts] == ["first", "fallback"]
