"""How the answers of several plugins become one, and what it means when one raises."""

from __future__ import annotations

from typing import Any, NoReturn

from llmgate_plugins._asking import Hook, Implementation, Said
from llmgate_plugins._engine.effects import Await, Left
from llmgate_plugins._engine.flight import Flight, Steps
from llmgate_plugins.errors import HookFailed, RequestDenied
from llmgate_plugins.hookspecs import RULES
from llmgate_plugins.redaction import redact_error
from llmgate_plugins.services import is_pending

__all__ = ["first", "settle", "tell"]


def settle(one: Implementation, answer: Any, error: Exception | None = None) -> Steps:
    """The answer when it is there, of a type that its hook allows, or None.

    Raises:
        HookFailed: It raised, then or meanwhile, or the answer is of the wrong type.
        RequestDenied: It denied.
    """
    if isinstance(answer, _answers[one.hook]):
        return answer
    try:
        answer = yield from _arrived(one, answer, error)
    except Exception as failure:  # noqa: BLE001 - whatever a plugin raises
        _blame(one, failure)
    return answer


def _blame(one: Implementation, error: Exception) -> NoReturn:
    """Raise it again under the plugin's name.

    Raises:
        HookFailed: It raised. Carries the plugin's name.
        RequestDenied: It denied.
    """
    if isinstance(error, RequestDenied):
        error.plugin = error.plugin or one.plugin
        raise error
    redact_error(error)  # a plugin may have keys and clients of its own
    raise HookFailed(one.plugin, one.hook, error) from error


def _arrived(one: Implementation, answer: Any, error: Exception | None) -> Steps:
    """An answer that is not one by type: it may be on its way. Raises the error, if there is one."""
    if error is not None:
        raise error
    allowed = _answers[one.hook]
    if is_pending(answer):
        answer = yield Await(answer, told=not RULES[one.hook].answers)
    if answer is None or isinstance(answer, allowed):
        return answer
    if not RULES[one.hook].answers:
        return None  # a hook that is told: what it returns is nobody's business
    names = ", ".join(kind.__name__ for kind in allowed)
    raise TypeError(f"answered {type(answer).__name__}; the answer is one of {names}, or None")


def first(flight: Flight, hook: Hook, given: tuple[Any, ...], said: Said | None) -> Steps:
    """The first opinion; one that fails is skipped and noted.

    Args:
        said: What `hook.ask_all(*given)` has said.
    """
    while said is not None:
        place, answer, error = said
        one = hook[place]
        try:
            answer = yield from settle(one, answer, error)
        except (HookFailed, RequestDenied) as failure:
            flight.report(one.plugin, one.hook, failure.__cause__ or failure)
            answer = None
        if answer is not None:
            return answer
        said = hook.ask_from(place + 1, given)
    return None


def tell(flight: Flight, hook: Hook, given: tuple[Any, ...], said: Said | None) -> Steps:
    """All are told, also if the caller leaves meanwhile. One that fails is reported.

    Args:
        said: What `hook.ask_all(*given)` has said; where that is nothing, all are told already.
    """
    left: Left | None = None
    while said is not None:
        place, answer, error = said
        one = hook[place]
        try:
            yield from _arrived(one, answer, error)
        except Left as leaving:
            left = leaving
        except Exception as failure:  # noqa: BLE001 - accounting is isolated, whatever it raises
            flight.report(one.plugin, one.hook, failure)
        said = hook.ask_from(place + 1, given)
    if left is not None:
        raise left


_answers: dict[str, tuple[type, ...]] = {name: rule.answers for name, rule in RULES.items()}
