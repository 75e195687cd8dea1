"""Mistakes in limits that only show when they are read together: duplicates, dead ends, unreachable ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from llmgate_plugins.config.amounts import SpendingLimit
from llmgate_plugins.config.gateway_config import GatewayConfig
from llmgate_plugins.config.limit_config import Degrade, LimitConfig, Limiting, UnderAlias, UnderPolicy
from llmgate_plugins.config.problems import Path, closest
from llmgate_plugins.errors import Problem
from llmgate_plugins.scopes import Scope, scopes_of
from llmgate_plugins.windows import Calendar, Window

__all__ = ["Written", "check_limits", "written_limits"]

_NESTED: Final = {
    "hour": ("day", "week", "month", "year"),
    "day": ("week", "month", "year"),
    "week": (),
    "month": ("year",),
    "year": (),
}
"""A window of the calendar -> those of which one always holds it whole."""
_KINDS: Final = {"limit": "budget", "money": "budget"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One amount of one entry, as it stands in the file.

    Attributes:
        kind: "budget", "requests", "tokens" or "concurrency".
        most: Nano-dollars, requests, tokens, calls.
    """

    path: Path
    entry: Limiting
    kind: str
    most: int
    window: Window | None

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """For whom."""
        return scopes_of(self.entry.scope)

    @property
    def mode(self) -> str:
        """ "shadow", "hard" or "soft"."""
        return "shadow" if self.entry.shadow else "hard" if self.entry.hard else "soft"

    @property
    def place(self) -> str:
        """Where it stands: "budgets[0]"."""
        return f"{self.path[0]}[{self.path[1]}]"


def written_limits(config: GatewayConfig) -> Iterator[Written]:
    """Every amount under `budgets` and `limits`, in the order of the file."""
    for section in ("budgets", "limits"):
        for index, entry in enumerate(getattr(config, section)):
            path = (section, index)
            for name, amount in entry.amounts():
                most = amount.nano_usd if isinstance(amount, SpendingLimit) else amount.number
                kind = _KINDS.get(name, name)
                yield Written(path=path, entry=entry, kind=kind, most=most, window=entry.window(amount))
            if isinstance(entry, LimitConfig) and entry.concurrency is not None:
                yield Written(path=path, entry=entry, kind="concurrency", most=entry.concurrency, window=None)


def check_limits(config: GatewayConfig, serves: Callable[[str], bool]) -> Iterator[Problem]:
    """Every such mistake, errors and warnings.

    Args:
        serves: Whether a call may ask for a name.
    """
    written = list(written_limits(config))
    yield from _exhausted(config, serves)
    yield from _duplicates(config, written)
    yield from _names(config, serves)
    for one in written:
        lower = next((other for other in written if _stops_before(other, one)), None)
        if lower is not None:
            yield config.locator.problem(
                one.path,
                f"its limit of {_noun(one)} can never be reached: {lower.place} stops before it",
                "lower it, or drop it",
                severity="warning",
            )
        if one.mode == "hard" and _is_evadable(one, written):
            yield config.locator.problem(
                one.path,
                "tags come from the caller, who may choose another",
                "limit a scope of the context as well",
                severity="warning",
            )


def _entries(config: GatewayConfig) -> Iterator[tuple[Path, Limiting]]:
    for section in ("budgets", "limits"):
        for index, entry in enumerate(getattr(config, section)):
            yield (section, index), entry


def _exhausted(config: GatewayConfig, serves: Callable[[str], bool]) -> Iterator[Problem]:
    for path, entry in _entries(config):
        here = (*path, "on_exhausted")
        match entry.on_exhausted:
            case UnderPolicy(policy=name) if name not in config.policies:
                yield config.locator.problem(
                    here, f"no policy {name!r}", closest(name, config.policies) or "add it to policies"
                )
            case UnderAlias(alias=name) if not serves(name):
                remedy = closest(name, config.model_names) or "name a model_name of model_list"
                yield config.locator.problem(here, f"leads to nothing: no {name!r}", remedy)
            case Degrade() if any(scope.of_attempt for scope in scopes_of(entry.scope)):
                yield config.locator.problem(
                    here,
                    "{prefer: cheapest} is for limits of who calls, not of what is sent",
                    "leave it out: what no longer fits is left for another anyway",
                )


def _duplicates(config: GatewayConfig, written: list[Written]) -> Iterator[Problem]:
    seen: dict[object, Written] = {}
    for one in written:
        first = seen.setdefault((one.kind, one.scopes, one.window, one.mode), one)
        if first is not one:
            mode = "" if one.mode == "hard" else f"{one.mode} "
            message = f"there is another {mode}{_noun(one)} for {_whom(one)}: {first.place}"
            yield config.locator.problem(one.path, message, "keep one of them")


def _names(config: GatewayConfig, serves: Callable[[str], bool]) -> Iterator[Problem]:
    for path, entry in _entries(config):
        for scope in scopes_of(entry.scope):
            if scope.name == "alias" and scope.only is not None and not serves(scope.only):
                yield config.locator.problem(
                    (*path, "scope"),
                    f"limits nothing: no {scope.only!r}",
                    closest(scope.only, config.model_names) or "name a model_name of model_list",
                    severity="warning",
                )


def _stops_before(lower: Written, one: Written) -> bool:
    """Whether every call that `one` counts is counted by `lower` as well, which is used up first."""
    if lower is one or lower.mode != "hard" or lower.kind != one.kind or lower.most > one.most:
        return False
    if lower.entry is one.entry or not set(lower.scopes) < set(one.scopes):
        return False
    return lower.window == one.window or (
        isinstance(lower.window, Calendar)
        and isinstance(one.window, Calendar)
        and lower.window.zone == one.window.zone
        and lower.window.unit in _NESTED[one.window.unit]
    )


def _is_evadable(one: Written, written: list[Written]) -> bool:
    if not any(scope.untrusted for scope in one.scopes):
        return False
    return not any(
        other.mode == "hard" and other.kind == one.kind and not any(scope.untrusted for scope in other.scopes)
        for other in written
    )


def _noun(one: Written) -> str:
    return "budget" if one.kind == "budget" else {"concurrency": "calls at once"}.get(one.kind, one.kind)


def _whom(one: Written) -> str:
    each = [f"{s.name} {s.only!r}" if s.only is not None else f"each {s.name}" for s in one.scopes]
    return " and ".join(each) or "all calls"
