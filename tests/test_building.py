"""Nouns that are built quickly are what their dataclasses say: frozen, compared, copied, pickled as ever."""

from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from typing import Any

import pytest

from llmgate_plugins._building import quickly_built
from llmgate_plugins.money import Usage
from llmgate_plugins.types import Attempt, Chunk, Outcome


@quickly_built
@dataclass(frozen=True, slots=True)
class Mixed:
    first: int
    second: str = "x"
    many: list[int] = field(default_factory=list, compare=False)
    named: int = field(default=3, kw_only=True)


@dataclass(frozen=True, slots=True)
class Sub(Mixed):
    more: int = 0


@pytest.mark.parametrize("made", [Mixed(1), Sub(1, "y", more=2), Mixed(1, "z", [4], named=5)])
def test_it_is_frozen_compared_shown_replaced_copied_and_pickled(made: Mixed) -> None:
    with pytest.raises(FrozenInstanceError):
        made.first = 2  # type: ignore[misc]
    with pytest.raises((AttributeError, TypeError)):
        made.other = 2  # type: ignore[attr-defined]
    assert replace(made, first=9) == replace(made, first=9) != made
    assert hash(replace(made, first=9)) == hash(replace(made, first=9))
    assert repr(made).startswith(f"{type(made).__name__}(first=1, ")
    again = [copy.copy(made), copy.deepcopy(made)]
    again += [pickle.loads(pickle.dumps(made, protocol)) for protocol in range(2, 6)]
    for one in again:
        assert (one, type(one), one.many) == (made, type(made), made.many)


def test_arguments_are_those_of_the_dataclass() -> None:
    assert (Mixed(1).many, Mixed(1).many is Mixed(1).many) == ([], False)
    assert [*inspect.signature(Mixed).parameters] == ["first", "second", "many", "named"]
    for wrong in ({}, {"first": 1, "other": 2}):
        with pytest.raises(TypeError):
            Mixed(**wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Mixed(1, "x", [], 3)  # type: ignore[call-arg, misc]
    with pytest.raises(TypeError):
        Usage(1)  # type: ignore[call-arg, misc]


@pytest.mark.parametrize("noun", [Attempt, Outcome, Usage, Chunk])
def test_the_nouns_are_no_looser_than_their_dataclasses(noun: Any) -> None:
    values = {one.name: 1 for one in fields(noun)}
    made = noun(**values)
    assert type(made) is noun
    assert all(getattr(made, name) == 1 for name in values)
    with pytest.raises(FrozenInstanceError):
        setattr(made, next(iter(values)), 2)
    with pytest.raises(TypeError):
        noun(**values, other=1)
    assert not hasattr(made, "__dict__")
