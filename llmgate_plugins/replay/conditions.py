"""When a replay fails: short expressions such as 'cost > +5% or blocked > 0'."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from llmgate_plugins.types import NANO

if TYPE_CHECKING:
    from llmgate_plugins.replay.result import Replay

__all__ = ["Judgement", "judge"]

_COMPARE: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_METRICS: Final = ("cost", "p50", "p95", "success", "blocked", "moved")
_TERM: Final = re.compile(
    r"(?P<metric>[a-z0-9]+)\s*(?P<compare>>=|<=|>|<)\s*(?P<dollar>\$)?\s*(?P<sign>[+-])?"
    r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>%|ms|s|usd)?",
    re.IGNORECASE,
)
_SYNTAX: Final = "write such as: cost > +5%, p95 > 2s, success < 99%, blocked > 0, moved > 20%; with and, or"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of one expression.

    Attributes:
        holds: Whether it does; what cannot be told counts as if it did.
        told: For people: each term with its value.
    """

    expression: str
    holds: bool
    told: str


def judge(expression: str, replay: Replay) -> Judgement:
    """Whether an expression holds of a replay.

    A term is METRIC, a comparison and a value. `cost` (US dollars), `p50` and `p95` (seconds)
    with "+5%" or "-5%" are compared with the original; with a plain value as they are.
    `success`, `blocked` and `moved` with "%" are shares of the calls; with "+5%" the
    share's change in percentage points; `blocked` and `moved` with a plain number are calls.
    `and` binds closer than `or`.

    Raises:
        ValueError: It is no expression; the message says how one is written.
    """
    told: list[str] = []
    holds = False
    for part in re.split(r"\bor\b", expression):
        terms = [_term(text.strip(), replay) for text in re.split(r"\band\b", part)]
        told += [said for _, said in terms]
        holds = holds or all(held for held, _ in terms)
    return Judgement(expression, holds, "; ".join(told))


def check(expression: str) -> None:
    """Raises `ValueError` if it is no expression."""
    for part in re.split(r"\bor\b|\band\b", expression):
        _read(part.strip())


def _read(text: str) -> re.Match[str]:
    found = _TERM.fullmatch(text)
    if found is None or found["metric"].lower() not in _METRICS:
        raise ValueError(f"{text!r} is no condition; {_SYNTAX}")
    metric, unit = found["metric"].lower(), (found["unit"] or "").lower()
    dollars = bool(found["dollar"]) or unit == "usd"
    wrong = (
        (dollars and metric != "cost")
        or (unit in ("s", "ms") and metric not in ("p50", "p95"))
        or (unit == "%" and not found["sign"] and metric in ("cost", "p50", "p95"))
        or (bool(found["sign"]) and unit != "%")
        or (metric == "success" and unit != "%")
    )
    if wrong:
        raise ValueError(f"{text!r} makes no sense; {_SYNTAX}")
    return found


def _term(text: str, replay: Replay) -> tuple[bool, str]:
    found = _read(text)
    metric, unit = found["metric"].lower(), (found["unit"] or "").lower()
    value = float(found["number"]) * (-1 if found["sign"] == "-" else 1)
    then, now = _values(metric, replay, share=unit == "%")
    if found["sign"] and metric in ("cost", "p50", "p95"):
        actual = None if now is None or then is None else _change(then, now)
    elif found["sign"]:
        actual = None if now is None or then is None else 100 * (now - then)
    elif unit == "%":
        actual = None if now is None else 100 * now
    else:
        actual, value = now, value / 1000 if unit == "ms" else value
    if actual is None:
        return True, f"{text}: cannot be told"
    held = _COMPARE[found["compare"]](actual, value)
    sign = "+" if found["sign"] and actual >= 0 else ""
    shown = f"{sign}{actual:.4g}{'%' if unit == '%' else ''}"
    return held, f"{text}: {'holds' if held else 'does not hold'}, it is {shown}"


def _change(then: float, now: float) -> float:
    """In percent."""
    if then == 0:
        return 0.0 if now == 0 else float("inf")
    return 100 * (now - then) / then


def _values(metric: str, replay: Replay, *, share: bool) -> tuple[float | None, float | None]:
    """(then, now); None for what cannot be told, as all of it where there were no calls."""
    then, now = replay.original, replay.replayed
    if not now.calls:
        return None, None
    match metric:
        case "cost":
            return then.cost / NANO, now.cost / NANO
        case "p50" | "p95":
            quantile = 0.5 if metric == "p50" else 0.95
            return then.latencies.quantile(quantile), now.latencies.quantile(quantile)
        case "success":
            return then.success, now.success
    counts = (then.blocked, now.blocked) if metric == "blocked" else (0, replay.moved)
    if not share:
        return float(counts[0]), float(counts[1])
    return counts[0] / now.calls, counts[1] / now.calls
