"""How far canaries have come, beside what the books say of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from llmgate_plugins.experiments.canary import as_facts
from llmgate_plugins.insight.experiments import ExperimentResult
from llmgate_plugins.plugins import Experiments

__all__ = ["controls_of", "with_canaries"]


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
