"""Narrow with reasons, then rank; the host's order where nobody has an opinion."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from support.faces import ask, every_face
from support.gateways import deployment, scene
from support.plugins import Narrow, Rank, raising

from llmgate_plugins import (
    AllDeploymentsUnavailable,
    Call,
    Context,
    Deployment,
    Drop,
    HookFailed,
    ProviderError,
    Ranking,
    Request,
    RequestDenied,
    Scores,
    UnknownModel,
    hookimpl,
)
from llmgate_plugins.services import Services


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
    assert told.error.call_id == told.record.call_id
    assert s.sent == []


def test_of_thousands_a_message_names_a_few() -> None:
    told = AllDeploymentsUnavailable("fast", {f"d{number}": "region" for number in range(5_000)})
    assert len(told.reasons) == 5_000
    assert str(told).endswith("d9: region, and 4990 more)")


@every_face
def test_a_ranking_whose_scores_are_none_is_told_of_and_the_next_opinion_counts(face: str) -> None:
    class Lists:
        @hookimpl
        def rank_deployments(self, deployments: Sequence[Deployment]) -> Ranking:
            return Ranking(deployments, scores=[1.0, 2.0])  # type: ignore[arg-type]

    told = ask(face, scene({"a": ["a"], "b": ["b"]}, Lists(), Rank("b")).gateway)
    assert told.text == "b"
    [(plugin, hook, error)] = told.record.problems
    assert (plugin, hook) == ("Lists", "rank_deployments")
    assert "Ranking takes scores={one.id: score}, not list" in error
    assert told.record.to_dict()["selections"][0]["scores"] == {"b": 0.0}


@every_face
def test_a_ranking_cannot_bring_in_a_stranger(face: str) -> None:
    class Smuggler:
        @hookimpl
        def rank_deployments(self) -> Ranking:
            return Ranking([deployment("elsewhere")])

    s = scene({"a": ["a"], "b": ["b"]}, Smuggler(), Rank("b"))
    told = ask(face, s.gateway)
    assert told.text == "b"
    [(plugin, hook, error)] = told.record.problems
    assert (plugin, hook) == ("Smuggler", "rank_deployments")
    assert "'elsewhere', which is not among the candidates" in error


@every_face
def test_a_ranking_of_ids_is_told_from_one_of_deployments(face: str) -> None:
    class Names:
        @hookimpl
        def rank_deployments(self) -> Any:
            return ["b"]

    s = scene({"a": ["a"], "b": ["b"]}, Names(), Rank("b"))
    told = ask(face, s.gateway)
    assert told.text == "b"
    [(plugin, _, error)] = told.record.problems
    assert plugin == "Names"
    assert "rank the deployments themselves, not their ids" in error


@every_face
@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda left: [one.id for one in left], "not list"),
        (lambda left: {one.id for one in left}, "not set"),
        (lambda left: left[0].id, "not str"),
        (lambda left: dict.fromkeys(left, "region"), "not by Deployment"),
    ],
)
def test_a_drop_that_names_nobody_by_mistake_stops_the_call_and_is_told_of_its_plugin(
    face: str, wrong: Callable[[Any], Any], why: str
) -> None:
    class OutsideTheLaw:
        @hookimpl
        def narrow_deployments(self, deployments: Sequence[Deployment]) -> Drop:
            return Drop(wrong(deployments))

    s = scene({"a": ["a"], "b": ["b"]}, OutsideTheLaw())
    told = ask(face, s.gateway)
    assert isinstance(told.error, HookFailed)
    assert "plugin 'OutsideTheLaw' failed in narrow_deployments: TypeError: Drop" in str(told.error)
    assert why in str(told.error)
    assert not told.record.attempts


@every_face
def test_a_plain_list_is_a_ranking(face: str) -> None:
    class Backwards:
        @hookimpl
        def rank_deployments(self, deployments: Sequence[Deployment]) -> list[Deployment]:
            return list(reversed(deployments))

    s = scene({"a": ["a"], "b": ["b"]}, Backwards())
    assert ask(face, s.gateway).text == "b"


@every_face
def test_a_plugin_that_cannot_say_who_may_serve_stops_the_call(face: str) -> None:
    s = scene({"a": ["a"]}, raising("narrow_deployments", KeyError("x"), "picky"))
    told = ask(face, s.gateway)
    assert isinstance(told.error, HookFailed)
    assert (told.error.plugin, told.error.hook) == ("picky", "narrow_deployments")
    assert s.sent == []


@pytest.mark.parametrize("error", [KeyError("x"), RequestDenied("no")])
@every_face
def test_a_plugin_that_cannot_say_who_should_serve_is_skipped_and_noted(face: str, error: Exception) -> None:
    broken = raising("rank_deployments", error, "picky")
    s = scene({"a": ["a"], "b": ["b"]}, broken, Rank("b"))
    told = ask(face, s.gateway)
    assert told.text == "b"
    assert told.record.selections[0].ranked_by == "Rank"
    assert told.record.problems == [("picky", "rank_deployments", f"{type(error).__name__}: {error}")]
    assert ask(face, scene({"a": ["a"], "b": ["b"]}, broken).gateway).text == "a"


class Green:
    """Scores by what it is given; waits before it does, if it should."""

    def __init__(self, name: str, scores: Any, knows: str = "greenest") -> None:
        self.name, self.scores, self.knows = name, scores, knows

    @hookimpl
    def score_deployments(self, preference: str) -> Scores | None:
        if preference != self.knows:
            return None
        if isinstance(self.scores, Exception):
            raise self.scores
        return self.scores  # type: ignore[no-any-return]


class LaterGreen(Green):
    @hookimpl
    async def score_deployments(self, preference: str) -> Scores | None:
        await asyncio.sleep(0)
        return Green.score_deployments(self, preference)


class AsksForScores:
    def __init__(self) -> None:
        self.told: list[Scores | None] = []

    @hookimpl
    async def rank_deployments(
        self,
        request: Request,
        deployments: Sequence[Deployment],
        context: Context,
        call: Call,
        services: Services,
    ) -> None:
        answer = services.score("greenest", request, deployments, context, call)
        self.told.append((await answer) if inspect.isawaitable(answer) else answer)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [Green, LaterGreen])
@every_face
def test_a_third_partys_preference_is_asked_by_its_name_and_passed_over_where_it_fails(
    face: str, kind: type[Green]
) -> None:
    mine, asks = Scores({"a": 2.0, "b": 1.0}, unit="gCO2"), AsksForScores()
    s = scene(
        {"a": ["a"]},
        kind("other", Scores({"a": 0.0}), knows="tidiest"),
        kind("broken", ValueError("no data")),
        kind("wrong", {"a": 1.0}),
        kind("mine", mine),
        kind("late", Scores({})),
        asks,
    )
    told = ask(face, s.gateway)
    assert asks.told == [mine]
    assert [(plugin, hook) for plugin, hook, _ in told.record.problems] == [
        ("broken", "score_deployments"),
        ("wrong", "score_deployments"),
    ]
    assert "the answer is Scores, or None" in told.record.problems[1][2]


@pytest.mark.parametrize("kind", [Green, LaterGreen])
@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([1.0], "not list"),
        ({deployment("a"): 1.0}, "not by Deployment"),
        ({"a": "low"}, "the score of 'a' must be a number, not 'low'"),
        ({"a": None}, "the score of 'a' must be a number, not None"),
        ({"a": float("nan")}, "the score of 'a' must be a number, not nan"),
    ],
)
@every_face
def test_what_are_no_scores_is_told_of_the_plugin_that_gave_them_and_stands_in_no_record(
    face: str, kind: type[Green], values: Any, why: str
) -> None:
    mine, asks = Scores({"a": 1.0}), AsksForScores()
    told = ask(face, scene({"a": ["a"]}, kind("wrong", Scores(values)), kind("mine", mine), asks).gateway)
    assert asks.told == [mine]
    [(plugin, hook, error)] = told.record.problems
    assert (plugin, hook) == ("wrong", "score_deployments")
    assert why in error


@every_face
def test_a_preference_that_nobody_knows_has_no_scores(face: str) -> None:
    asks = AsksForScores()
    ask(face, scene({"a": ["a"]}, asks).gateway)
    assert asks.told == [None]


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


class Many:
    """A gateway of fifty deployments, most of which do not answer."""

    def __init__(
        self, ranking: Callable[[Sequence[Deployment]], Any], *plugins: object, answers: str
    ) -> None:
        class Ranks:
            @hookimpl
            def rank_deployments(self, deployments: Sequence[Deployment]) -> Ranking:
                return ranking(deployments)  # type: ignore[no-any-return]

        script: dict[str, Sequence[Any]] = {
            f"d{n}": [ProviderError("down", status=503)] * 9 for n in range(50)
        }
        script[answers] = ["fine"] * 9
        self.scene = scene(script, *plugins, Ranks())


@every_face
def test_of_many_the_named_are_tried_first_and_the_others_follow_as_given(face: str) -> None:
    many = Many(lambda group: Ranking([group[7], group[3], group[7]]), answers="d1")
    told = ask(face, many.scene.gateway)
    assert told.text == "fine"
    assert many.scene.sent == ["d7", "d3", "d0", "d1"]
    assert told.record.selections[0].order == ("d7", "d3")


@every_face
def test_the_rest_of_many_may_have_an_order_of_its_own(face: str) -> None:
    kept: dict[int, tuple[Deployment, ...]] = {}

    def ranked(group: Sequence[Deployment]) -> Ranking:
        rest = kept.setdefault(id(group), tuple(reversed(group)))
        return Ranking([group[7]], rest=rest)

    many = Many(ranked, answers="d47")
    for _ in range(2):
        assert ask(face, many.scene.gateway).text == "fine"
        assert many.scene.sent[:4] == ["d7", "d49", "d48", "d47"]


@every_face
def test_a_ranking_of_all_of_many_is_gone_along_and_one_that_was_dropped_is_no_candidate(face: str) -> None:
    whole: list[Deployment] = []

    def ranked(group: Sequence[Deployment]) -> Ranking:
        whole[:] = whole or [*group]
        return Ranking([whole[2], whole[1]])

    many = Many(ranked, Narrow({"d9": "region"}), answers="d1")
    assert ask(face, many.scene.gateway).text == "fine"
    assert many.scene.sent == ["d2", "d1"]
    many = Many(lambda group: Ranking(tuple(reversed(group))), answers="d48")
    assert ask(face, many.scene.gateway).text == "fine"
    assert many.scene.sent == ["d49", "d48"]

    class Smuggles:
        name = "smuggles"

        def __init__(self) -> None:
            self.seen: list[Deployment] = []

        @hookimpl
        def narrow_deployments(self, deployments: Sequence[Deployment]) -> None:
            self.seen = [*deployments]

        @hookimpl
        def rank_deployments(self) -> Ranking:
            return Ranking([self.seen[9]])

    many = Many(lambda group: Ranking([group[1]]), Smuggles(), Narrow({"d9": "region"}), answers="d1")
    told = ask(face, many.scene.gateway)
    assert told.text == "fine"
    assert many.scene.sent == ["d1"]
    assert "'d9', which is not among the candidates" in told.record.problems[0][2]
