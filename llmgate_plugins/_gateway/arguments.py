"""What a program gives a gateway by mistake, told as what it is before anything is built or sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, get_args

from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.types import Deployment, OnBreak

__all__ = [
    "check_deadline",
    "check_fallbacks",
    "check_on_break",
    "given_deployments",
    "refuse_urls",
    "told_wrong",
]

OF_REQUESTS: Final = frozenset(("on_break", "fallbacks", "session"))
"""Fields of a `Request` that no provider knows: not parameters of a model."""


def given_deployments(given: object) -> Iterable[Deployment]:
    """The deployments.

    Raises:
        ConfigurationError: Something else stands in their place.
    """
    if isinstance(given, str | Path | Mapping):
        raise ConfigurationError(
            "a gateway takes deployments; a file, or a mapping of that shape, is read by "
            "Gateway.from_config(...)"
        )
    if not isinstance(given, Iterable):
        raise ConfigurationError(f"deployments are a list: Gateway([...]), not a {type(given).__name__}")
    found = list(given)
    for one in found:
        if not isinstance(one, Deployment):
            raise ConfigurationError(
                f"a {type(one).__name__} is no Deployment; entries of a model_list are read by "
                "Gateway.from_config({'model_list': [...]})"
            )
    return found


def refuse_urls(**services: object) -> None:
    """With an address in the place of what it leads to, calls would go on, and nothing would be booked."""
    for name, given in services.items():
        if isinstance(given, str):
            raise ConfigurationError(
                f"{name}= is given an address; open it: llmgate_plugins.{name}.open_{name}(...)"
            )


def check_fallbacks(fallbacks: Mapping[str, Sequence[str]]) -> None:
    """A text would be read letter by letter."""
    for alias, targets in fallbacks.items():
        if isinstance(targets, str):
            raise ConfigurationError(f"fallbacks of {alias!r} are a list: [{targets!r}]")


def check_deadline(deadline: object) -> None:
    """A text would fail in the first call."""
    if wrong := _wrong_deadline(deadline):
        raise ConfigurationError(wrong)


def check_on_break(on_break: OnBreak) -> OnBreak:
    """The same, if there is such a way."""
    if on_break not in get_args(OnBreak):
        raise ConfigurationError(f"on_break must be one of {', '.join(get_args(OnBreak))}, not {on_break!r}")
    return on_break


def told_wrong(tags: object, params: Mapping[str, Any], deadline: object) -> TypeError | None:
    """Why a call cannot be made with these; None if it can."""
    if tags and type(tags) is not dict and not isinstance(tags, Mapping):
        return TypeError(f"tags are a mapping, {{name: value}}, not a {type(tags).__name__}")
    if wrong := _wrong_deadline(deadline):
        return TypeError(wrong)
    if OF_REQUESTS.isdisjoint(params):
        return None
    own = min(OF_REQUESTS.intersection(params))
    return TypeError(
        f"{own} is no parameter of a model; ask with a request: Request(model=..., messages=..., {own}=...)"
    )


def _wrong_deadline(deadline: object) -> str:
    """Why it is none; empty if it is one, or not given."""
    if deadline is None or isinstance(deadline, int | float):
        return ""
    return f"a deadline is a number of seconds, not {deadline!r}"
