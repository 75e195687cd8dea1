"""Nouns that are built quickly are what their dataclasses say: frozen, compared, copied, pickled as ever."""

from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from typing import Any

import pytest

from llmgate_plugins._building import builder, quickly_built
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


@quickly_built
@dataclass(slots=True, kw_only=True)
class Open:
    """One that may be changed."""

    first: int
    many: list[int] = field(default_factory=list)


def test_one_that_may_be_changed_is_changed_replaced_copied_and_pickled() -> None:
    made = Open(first=1)
    made.first = 2
    made.many.append(7)
    assert (made, Open(first=1).many) == (Open(first=2, many=[7]), [])
    assert replace(made, first=3) == Open(first=3, many=[7])
    for again in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert again == made
        assert again.many is not made.many
    with pytest.raises(TypeError):
        Open(1, [])  # type: ignore[call-arg, misc]


@quickly_built
@dataclass(frozen=True, slots=True)
class Doubled:
    """One of which something is worked out when it is built."""

    twice: int = field(init=False)
    number: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "twice", 2 * self.number)


def test_what_is_worked_out_when_it_is_built_is_worked_out_again_for_another() -> None:
    made = Doubled(3)
    assert made.twice == builder(Doubled)(3).twice == pickle.loads(pickle.dumps(made)).twice == 6
    assert replace(made, number=4).twice == 8
    assert [*inspect.signature(Doubled).parameters] == ["number"]
    with pytest.raises(TypeError):
        Doubled(3, twice=7)  # type: ignore[call-arg]


def test_a_builder_builds_what_the_class_does_of_the_same_arguments() -> None:
    assert builder(Mixed)(1, named=5) == Mixed(1, named=5)
    assert builder(Open)(first=1) == Open(first=1)
    with pytest.raises(TypeError):
        builder(Mixed)()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        builder(Open)(1, [])  # type: ignore[call-arg, misc]


@pytest.mark.parametrize("noun", [Attempt, Outcome, Usage, Chunk])
def test_the_nouns_are_no_looser_than_their_dataclasses(noun: Any) -> None:
    values = {one.name: 1 for one in fields(noun) if one.init}
    made = noun(**values)
    assert type(made) is noun
    assert all(getattr(made, name) == 1 for name in values)
    with pytest.raises(FrozenInstanceError):
        setattr(made, next(iter(values)), 2)
    with pytest.raises(TypeError):
        noun(**values, other=1)
    assert not hasattr(made, "__dict__")
