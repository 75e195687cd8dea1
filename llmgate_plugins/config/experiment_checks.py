"""Mistakes in experiments that only show beside other sections, or beside other experiments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations

from llmgate_plugins.config.experiment_config import ArmConfig, ExperimentConfig
from llmgate_plugins.config.gateway_config import GatewayConfig
from llmgate_plugins.config.problems import Path, closest
from llmgate_plugins.errors import Problem
from llmgate_plugins.experiments import Arm, Experiment, Prompt, Rollback, Stage
from llmgate_plugins.experiments.conditions import may_both_match

__all__ = ["check_experiments", "experiment_of"]


def experiment_of(name: str, config: ExperimentConfig) -> Experiment:
    """The experiment that a section stands for.

    Raises:
        ValueError: It makes no sense.
    """
    return Experiment(
        name=name,
        arms=[_arm(arm) for arm in config.arms],
        when=config.when,
        by=config.by,
        control=config.control,
        stages=[Stage(share=one.share, seconds=one.seconds, calls=one.calls) for one in config.stages],
        rollback=Rollback(**dict(config.rollback)),
        then=config.then,
    )


def _arm(arm: ArmConfig) -> Arm:
    return Arm(
        name=arm.name,
        weight=arm.weight or 0.0,
        model=arm.model,
        policy=arm.policy,
        prompt=None if arm.prompt is None else Prompt(**dict(arm.prompt)),
        params={str(name): value for name, value in arm.params.items()},
    )


def check_experiments(config: GatewayConfig, serves: Callable[[str], bool]) -> Iterator[Problem]:
    """Every such mistake.

    Args:
        serves: Whether a call may ask for this name.
    """
    made: dict[str, Experiment] = {}
    for name, section in config.experiments.items():
        path: Path = ("experiments", name)
        try:
            made[name] = experiment_of(name, section)
            made[name].condition()
        except (ValueError, ImportError) as error:
            message, _, remedy = str(error).partition(": ")
            yield config.locator.problem(path, message, remedy)
            made.pop(name, None)
        yield from _names(config, path, section, serves)
    yield from _overlaps(config, made)
    yield from _forgetting(config)


def _names(
    config: GatewayConfig, path: Path, section: ExperimentConfig, serves: Callable[[str], bool]
) -> Iterator[Problem]:
    at = config.locator.problem
    for index, arm in enumerate(section.arms):
        here: Path = (*path, "arms", index)
        if arm.model is not None and not serves(arm.model):
            remedy = closest(arm.model, config.model_names) or "name a model_name of model_list"
            yield at((*here, "model"), f"leads to nothing: no {arm.model!r}", remedy)
        if arm.policy is not None and arm.policy not in config.policies:
            remedy = closest(arm.policy, config.policies) or "add it to policies"
            yield at((*here, "policy"), f"no policy {arm.policy!r}", remedy)
    asks = any(arm.model is not None for arm in section.arms)
    if asks and not section.when and len(config.model_names) > 1:
        yield at(
            path,
            "its arms ask another model, whatever a call has asked for",
            "say for which: when: {alias: ...}",
            severity="warning",
        )


def _overlaps(config: GatewayConfig, made: dict[str, Experiment]) -> Iterator[Problem]:
    for one, other in combinations(made.values(), 2):
        both = one.touches & other.touches
        if both and may_both_match(one.when, other.when):
            yield config.locator.problem(
                ("experiments", other.name),
                f"may change {min(both)} of the same calls as experiment {one.name!r}",
                "tell them apart by when, or make them arms of one experiment",
            )


def _forgetting(config: GatewayConfig) -> Iterator[Problem]:
    if config.state is not None:
        return
    for name, section in config.experiments.items():
        if section.stages:
            yield config.locator.problem(
                ("experiments", name, "stages"),
                "how far a canary has come is kept in this process: it begins anew with each start",
                "write state: redis://... to keep it, and to share it among processes",
                severity="warning",
            )
