"""How far canaries have come, beside what the books say of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from llmgate_plugins.experiments.canary import as_facts
from llmgate_plugins.insight.experiments import ExperimentResult
from llmgate_plugins.plugins import Experiments
from llmgate_plugins.plugins.experiments.rollout import Rollout

__all__ = ["canary_of", "controls_of", "with_canaries"]


def controls_of(plugins: Iterable[object]) -> dict[str, str]:
    """Experiment -> its control."""
    return {
        one.name: one.control or ""
        for plugin in plugins
        if isinstance(plugin, Experiments)
        for one in plugin.experiments
    }


def with_canaries(
    results: Iterable[ExperimentResult], plugins: Iterable[object]
) -> tuple[ExperimentResult, ...]:
    """The same, with what the plugin knows of how far they have come."""
    known = {
        experiment.name: as_facts(experiment, course, counts)
        for plugin in plugins
        if isinstance(plugin, Experiments)
        for experiment, course, counts in plugin.standing()
    }
    return tuple(replace(one, canary=known.get(one.name)) for one in results)


def canary_of(plugins: Iterable[object], name: str) -> Rollout:
    """The canary of this name.

    Raises:
        ValueError: There is no experiment of this name, or it is no canary.
    """
    known = [plugin for plugin in plugins if isinstance(plugin, Experiments)]
    for plugin in known:
        for rollout in plugin.rollouts:
            if rollout.experiment.name == name:
                return rollout
    names = [one.name for plugin in known for one in plugin.experiments]
    if name in names:
        raise ValueError(f"experiment {name!r} has no stages, so nothing takes it back by itself")
    there = f"there are: {', '.join(names)}" if names else "there are none here"
    raise ValueError(f"there is no experiment {name!r}; {there}")
