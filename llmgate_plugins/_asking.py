"""All implementations of a hook, asked by one function that is written for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias, overload

__all__ = ["Hook", "Implementation", "Said", "passing"]

Said: TypeAlias = tuple[int, Any, Exception | None]
"""Whose place it is that says something, and what; or what it raised."""
Asking: TypeAlias = Callable[..., Said | None]


@dataclass(frozen=True, slots=True)
class Implementation:
    """One plugin's implementation of one hook.

    Attributes:
        function: Takes those of the hook's parameters that it names.
        wanted: Which these are, in its order.
        ask: Takes all parameters the hook offers, in spec order, and hands the
            implementation those it names.
    """

    plugin: str
    hook: str
    function: Callable[..., Any]
    wanted: tuple[str, ...]
    ask: Callable[..., Any]


class Hook(Sequence[Implementation]):
    """A hook's implementations, in run order.

    Most of them have nothing to say most of the time. So `ask_all` asks one after another, each
    with what it names, until one says something: None where nobody does, else that one's place
    and answer, or what it raised. `ask_from` goes on after it.

    Args:
        implementations: In run order.
        offered: The hook's parameters, in spec order.
    """

    __slots__ = ("_all", "_offered", "_parts", "_rests", "ask_all")

    def __init__(self, implementations: Iterable[Implementation] = (), offered: tuple[str, ...] = ()) -> None:
        self._all = tuple(implementations)
        self._offered = offered
        self._parts: dict[frozenset[str], Hook] = {}
        self._rests: dict[int, Asking] = {}
        self.ask_all: Asking = self._asking(0) if self._all else _nobody

    def __len__(self) -> int:
        return len(self._all)

    @overload
    def __getitem__(self, place: int) -> Implementation: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Implementation]: ...
    def __getitem__(self, place: int | slice) -> Implementation | Sequence[Implementation]:
        return self._all[place]

    def ask_from(self, place: int, given: tuple[Any, ...]) -> Said | None:
        """As `ask_all`, from this place on."""
        if place >= len(self._all):
            return None
        rest = self._rests.get(place)
        if rest is None:
            rest = self._rests[place] = self._asking(place)
        return rest(*given)

    def of(self, plugins: frozenset[str]) -> Hook:
        """Those of these plugins, by name."""
        part = self._parts.get(plugins)
        if part is None:
            part = Hook([one for one in self._all if one.plugin in plugins], self._offered)
            self._parts[plugins] = part
        return part

    def _asking(self, begin: int) -> Asking:
        asked = self._all[begin:]
        written = _written(self._offered, begin, tuple([one.wanted for one in asked]))
        return written(*[one.function for one in asked])


def _nobody(*_given: Any) -> None:
    return None


@lru_cache(maxsize=512)
def _written(
    offered: tuple[str, ...], begin: int, wanted: tuple[tuple[str, ...], ...]
) -> Callable[..., Asking]:
    # Written out, as `namedtuple` does it: a call asks plugins some forty times, and a loop that
    # hands everything on to a function that picks would cost as much as what most plugins do.
    # The names come from the specs, never from a plugin's values.
    functions = [f"f{place}" for place in range(len(wanted))]
    lines = [f"def write({', '.join(functions)}):", f" def asking({', '.join(offered)}):", "  try:"]
    first = len(lines) + 1
    for function, names in zip(functions, wanted, strict=True):
        lines.append(f"   answer = {function}({', '.join(names)})")
        lines.append(f"   if answer is not None: return {begin + (len(lines) - first) // 2}, answer, None")
    lines.append("  except Exception as error:")
    # Whose place it was, the line says: to note it before each would be a fifth of all the work.
    lines.append(f"   return {begin} + (error.__traceback__.tb_lineno - {first}) // 2, None, error")
    lines.append(" return asking")
    made: dict[str, Any] = {}
    exec("\n".join(lines), made)  # noqa: S102 - see above
    write: Callable[..., Asking] = made["write"]
    return write


@lru_cache(maxsize=256)
def passing(offered: tuple[str, ...], wanted: tuple[str, ...]) -> Callable[..., Callable[..., Any]]:
    """Makes of a function that takes what it wants one that takes all that is offered; for one alone."""
    source = f"lambda function: lambda {', '.join(offered)}: function({', '.join(wanted)})"
    passing: Callable[..., Callable[..., Any]] = eval(source)  # noqa: S307 - as above
    return passing
