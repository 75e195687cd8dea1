"""All faces make the same decisions, whatever fails."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.faces import FACES, ask
from support.gateways import deployment, scene
from support.plugins import AsyncWitness, Begin

from llmgate_plugins import ProviderError, Skip, Wait

FAULTS = st.sampled_from(
    [
        lambda: ProviderError("rate", status=429, headers={"retry-after": "1"}),
        lambda: ProviderError("quota", status=429, code="insufficient_quota"),
        lambda: ProviderError("down", status=503),
        lambda: ProviderError("bad", status=400),
        lambda: ProviderError("key", status=401),
        lambda: ProviderError("model", status=404),
        lambda: ProviderError("context", status=400, code="context_length_exceeded"),
        lambda: TimeoutError("slow"),
        lambda: ConnectionResetError("reset"),
        lambda: "an answer",
    ]
)
IDS = ("a", "b", "s")


def story(face: str, script: dict[str, list[Any]], begins: list[Any], seed: int) -> tuple[Any, ...]:
    s = scene(
        {id: [make() for make in steps] for id, steps in script.items()},
        Begin(*begins),
        AsyncWitness(),
        deployments=[deployment("a"), deployment("b"), deployment("s", "strong")],
        fallbacks={"fast": ["strong"]},
        seed=seed,
        deadline=60.0,
    )
    told = ask(face, s.gateway)
    assert s.books_balance()
    assert len(s.ledger.calls()) == 1
    return (
        told.text,
        type(told.error),
        told.tried,
        told.statuses,
        [outcome.failure and outcome.failure.error_class for _, outcome in told.record.attempts],
        [attempt.reason for attempt, _ in told.record.attempts],
        s.sleeper.slept,
        told.record.call_id,
    )


any_story = given(
    script=st.fixed_dictionaries({id: st.lists(FAULTS, min_size=1, max_size=4) for id in IDS}),
    begins=st.lists(st.sampled_from([None, Skip("rpm"), Wait(0.25)]), max_size=3),
    seed=st.integers(0, 2**32),
)


@settings(max_examples=60, deadline=None)
@any_story
def test_all_faces_decide_alike_for_any_script_of_faults(
    script: dict[str, list[Any]], begins: list[Any], seed: int
) -> None:
    agree(script, begins, seed)


@pytest.mark.campaign
@settings(max_examples=5_000, deadline=None)
@any_story
def test_all_faces_decide_alike_for_thousands_of_scripts(
    script: dict[str, list[Any]], begins: list[Any], seed: int
) -> None:
    agree(script, begins, seed)


def agree(script: dict[str, list[Any]], begins: list[Any], seed: int) -> None:
    first, *others = [story(face, script, begins, seed) for face in FACES]
    for other in others:
        assert other == first
