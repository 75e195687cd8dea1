"""Which deployments an alias has, and which aliases come after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from llmgate_plugins.errors import ConfigurationError, Problem, UnknownModel
from llmgate_plugins.types import Deployment

__all__ = ["AliasTable"]


class AliasTable:
    """Aliases, their deployments and their fallbacks. Frozen once built.

    Args:
        deployments: In configured order.
        aliases: Another name -> an alias (or another such name).
        fallbacks: Alias -> aliases to fall back to, in order. Nested: a fallback's own
            fallbacks follow it, and none is tried twice.

    Raises:
        ConfigurationError: Duplicate deployment id, alias loop, name that leads nowhere.
    """

    __slots__ = ("_by_alias", "_by_id", "_chains", "_names")

    def __init__(
        self,
        deployments: Iterable[Deployment],
        *,
        aliases: Mapping[str, str] | None = None,
        fallbacks: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        problems: list[Problem] = []
        by_alias: dict[str, list[Deployment]] = {}
        self._by_id: dict[str, Deployment] = {}
        for deployment in deployments:
            if deployment.id in self._by_id:
                problems.append(
                    Problem(
                        message=f"deployment id {deployment.id!r} is used twice",
                        remedy="give each its own id",
                    )
                )
            self._by_id[deployment.id] = deployment
            by_alias.setdefault(deployment.alias, []).append(deployment)
        self._by_alias = {alias: tuple(found) for alias, found in by_alias.items()}
        self._names = {name: self._resolve(name, dict(aliases or {}), problems) for name in aliases or {}}
        direct = {
            self._names.get(alias, alias): tuple(self._known(alias, name, problems) for name in names)
            for alias, names in (fallbacks or {}).items()
        }
        self._chains = {alias: _chain(alias, direct) for alias in {*self._by_alias, *direct}}
        if problems:
            raise ConfigurationError(problems=problems)

    @property
    def by_id(self) -> Mapping[str, Deployment]:
        """Every deployment by its id, in configured order."""
        return self._by_id

    @property
    def aliases(self) -> tuple[str, ...]:
        """Every name an application may ask for, in configured order."""
        return (*self._by_alias, *self._names)

    def deployments(self, alias: str) -> tuple[Deployment, ...]:
        """The deployments of this alias, or the one with this id.

        Raises:
            UnknownModel: Nothing has that name.
        """
        found = self._by_alias.get(alias)
        if found is not None:
            return found
        if alias in self._names:
            return self._by_alias[self._names[alias]]
        one = self._by_id.get(alias)
        if one is None:
            raise UnknownModel(alias, self.aliases)
        return (one,)

    def chain(self, alias: str, fallbacks: Sequence[str] | None = None) -> tuple[str, ...]:
        """This alias and then its fallbacks, nested ones included, each once.

        Args:
            fallbacks: Instead of the configured ones.
        """
        alias = self._names.get(alias, alias)
        if fallbacks is None:
            return self._chains.get(alias) or (alias,)
        names = dict.fromkeys((alias, *(self._names.get(name, name) for name in fallbacks)))
        return tuple(names)

    def _resolve(self, name: str, aliases: Mapping[str, str], problems: list[Problem]) -> str:
        seen = [name]
        target = aliases[name]
        while target in aliases and target not in self._by_alias:
            if target in seen:
                problems.append(
                    Problem(message=f"alias loop: {' -> '.join([*seen, target])}", remedy="break it")
                )
                return name
            seen.append(target)
            target = aliases[target]
        if target not in self._by_alias:
            problems.append(Problem(message=f"alias {name!r} leads to {target!r}, which has no deployment"))
        return target

    def _known(self, alias: str, fallback: str, problems: list[Problem]) -> str:
        target = self._names.get(fallback, fallback)
        if target not in self._by_alias and target not in self._by_id:
            problems.append(Problem(message=f"{alias!r} falls back to {fallback!r}, which has no deployment"))
        return target


def _chain(alias: str, direct: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Depth first, each alias once: a circle of fallbacks ends where it began."""
    order: dict[str, None] = {}

    def visit(name: str) -> None:
        if name not in order:
            order[name] = None
            for following in direct.get(name, ()):
                visit(following)

    visit(alias)
    return tuple(order)
