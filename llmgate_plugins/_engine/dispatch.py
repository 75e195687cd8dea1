"""How the answers of several plugins become one, and what it means when one raises."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

from llmgate_plugins._engine.effects import Await, Left
from llmgate_plugins._engine.flight import Flight, Steps
from llmgate_plugins._registry import Implementation
from llmgate_plugins.errors import HookFailed, RequestDenied
from llmgate_plugins.hookspecs import RULES
from llmgate_plugins.redaction import redact_error
from llmgate_plugins.services import is_pending

__all__ = ["ask", "blame", "first", "settle", "tell"]


def ask(one: Implementation, given: tuple[Any, ...]) -> Any:
    """What one plugin says at once: None, an answer, or one that is on its way (see `settle`).

    A plain function, so that a plugin with no opinion costs no more than being asked.

    Raises:
        HookFailed: It raised. Carries the plugin's name.
        RequestDenied: It denied.
    """
    try:
        return one.ask(*given)
    except Exception as error:  # noqa: BLE001 - whatever a plugin raises
        blame(one, error)


def settle(one: Implementation, answer: Any) -> Steps:
    """The answer when it is there, of a type that its hook allows, or None.

    Raises:
        HookFailed: It raised meanwhile, or the answer is of the wrong type.
        RequestDenied: It denied.
    """
    if isinstance(answer, _answers[one.hook]):
        return answer
    try:
        answer = yield from _arrived(one, answer)
    except Exception as error:  # noqa: BLE001 - whatever a plugin raises
        blame(one, error)
    return answer


def blame(one: Implementation, error: Exception) -> NoReturn:
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


def _arrived(one: Implementation, answer: Any) -> Steps:
    """An answer that is not one by type: it may be on its way."""
    allowed = _answers[one.hook]
    if is_pending(answer):
        answer = yield Await(answer, told=not RULES[one.hook].answers)
    if answer is None or isinstance(answer, allowed):
        return answer
    if not RULES[one.hook].answers:
        return None  # a hook that is told: what it returns is nobody's business
    names = ", ".join(kind.__name__ for kind in allowed)
    raise TypeError(f"answered {type(answer).__name__}; the answer is one of {names}, or None")


def first(flight: Flight, implementations: Iterable[Implementation], given: tuple[Any, ...]) -> Steps:
    """The first opinion; one that fails is skipped and noted."""
    for one in implementations:
        try:
            answer = ask(one, given)
            if answer is not None:
                answer = yield from settle(one, answer)
        except (HookFailed, RequestDenied) as error:
            flight.report(one.plugin, one.hook, error.__cause__ or error)
            continue
        if answer is not None:
            return answer
    return None


def tell(flight: Flight, implementations: Iterable[Implementation], given: tuple[Any, ...]) -> Steps:
    """All are told, also if the caller leaves meanwhile. One that fails is reported."""
    left: Left | None = None
    for one in implementations:
        try:
            answer = one.ask(*given)
            if answer is not None:
                yield from _arrived(one, answer)
        except Left as leaving:
            left = leaving
        except Exception as error:  # noqa: BLE001 - accounting is isolated, whatever it raises
            flight.report(one.plugin, one.hook, error)
    if left is not None:
        raise left


_answers: dict[str, tuple[type, ...]] = {name: rule.answers for name, rule in RULES.items()}
