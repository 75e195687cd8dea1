"""Where calls go on whose alias has no fallbacks of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.types import EMPTY, Request

__all__ = ["GeneralFallbacks"]


class GeneralFallbacks:
    """Where to go on for an alias that has no fallbacks of its own: `default_fallbacks`, or "*".

    They are one flat list for all aliases, unlike named fallbacks, which lead from alias
    to alias. What the application or a policy asks for wins.

    Args:
        otherwise: Aliases, in order.
        named: Aliases that have fallbacks of their own.
        aliases: Other name -> alias.
    """

    def __init__(
        self, otherwise: Sequence[str], named: Iterable[str] = (), aliases: Mapping[str, str] = EMPTY
    ) -> None:
        self._otherwise = tuple(otherwise)
        self._named = frozenset(named)
        self._aliases = dict(aliases)

    @hookimpl
    def admit_request(self, request: Request) -> Request | None:
        """Write them into a request that names none."""
        if request.fallbacks is not None or self._aliases.get(request.model, request.model) in self._named:
            return None
        return request.replace(fallbacks=self._otherwise)
