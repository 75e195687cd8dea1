"""Those who implement a hook are asked in turn until one says something, and then those after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from llmgate_plugins._asking import Hook, Implementation, Said

OFFERED = ("request", "context", "call")


def hook_of(*functions: Callable[..., Any]) -> Hook:
    """Each of them takes the context alone."""
    return Hook(
        [
            Implementation(plugin=f"p{place}", hook="h", function=one, wanted=("context",), ask=one)
            for place, one in enumerate(functions)
        ],
        OFFERED,
    )


def everything(hook: Hook, given: tuple[Any, ...]) -> list[Said]:
    """All that is said, by way of `ask_all` and then `ask_from`."""
    found = []
    said = hook.ask_all(*given)
    while said is not None:
        found.append(said)
        said = hook.ask_from(said[0] + 1, given)
    return found


def silent(context: str) -> None:
    return None


def speaking(context: str) -> str:
    return f"heard {context}"


def failing(context: str) -> None:
    raise LookupError(context)


GIVEN = ("R", "C", "K")


@pytest.mark.parametrize("place", range(6))
def test_the_place_of_who_answers_or_raises_is_told(place: int) -> None:
    others = [silent] * 5
    answered = hook_of(*others[:place], speaking, *others[place:])
    assert everything(answered, GIVEN) == [(place, "heard C", None)]
    ((where, answer, error),) = everything(hook_of(*others[:place], failing, *others[place:]), GIVEN)
    assert (where, answer, repr(error)) == (place, None, "LookupError('C')")


def test_nobody_is_asked_twice_and_nobody_left_out() -> None:
    asked: list[str] = []

    def noting(name: str, answer: object = None) -> Callable[[str], object]:
        def one(context: str) -> object:
            asked.append(name)
            return answer

        return one

    hook = hook_of(noting("a"), noting("b", 0), noting("c"), failing, noting("d", ""), noting("e"))
    said = [(where, answer, type(error)) for where, answer, error in everything(hook, GIVEN)]
    assert said == [(1, 0, type(None)), (3, None, LookupError), (4, "", type(None))]
    assert asked == ["a", "b", "c", "d", "e"]


def test_an_error_from_deep_inside_is_of_the_plugin_that_was_asked() -> None:
    def deeper(context: str) -> None:
        for _ in range(3):
            failing(context)

    ((where, _, error),) = everything(hook_of(silent, silent, deeper), GIVEN)
    assert (where, type(error)) == (2, LookupError)


def test_what_is_no_exception_of_a_plugin_goes_through() -> None:
    def leaving(context: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hook_of(silent, leaving).ask_all(*GIVEN)


def test_those_of_some_plugins_are_a_hook_of_their_own() -> None:
    hook = hook_of(silent, speaking, failing, speaking)
    some = hook.of(frozenset({"p1", "p3"}))
    assert [one.plugin for one in some] == ["p1", "p3"]
    assert everything(some, GIVEN) == [(0, "heard C", None), (1, "heard C", None)]
    assert hook.of(frozenset({"p3", "p1"})) is some
    assert everything(hook.of(frozenset()), GIVEN) == []
