"""Mistakes in shadows that only show beside other sections."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from llmgate_plugins.config.gateway_config import GatewayConfig
from llmgate_plugins.config.problems import Path, closest
from llmgate_plugins.config.shadow_config import ShadowConfig, ShadowPolicyConfig
from llmgate_plugins.errors import Problem
from llmgate_plugins.policies import Rule, Rules

__all__ = ["check_shadows"]


def check_shadows(config: GatewayConfig, serves: Callable[[str], bool]) -> Iterator[Problem]:
    """Every such mistake.

    Args:
        serves: Whether a call may ask for this name.
    """
    at = config.locator.problem
    seen: set[str] = set()
    for index, one in enumerate(config.shadow):
        path: Path = ("shadow", index)
        if one.title in seen:
            yield at(path, f"another shadow is called {one.title!r}", "give it a name: of its own")
        seen.add(one.title)
        if one.to is not None and not serves(one.to):
            remedy = closest(one.to, config.model_names) or "name a model_name of model_list"
            yield at((*path, "to"), f"leads to nothing: no {one.to!r}", remedy)
    sections: list[tuple[Path, ShadowConfig | ShadowPolicyConfig]] = [
        *((("shadow", index), section) for index, section in enumerate(config.shadow)),
        *((("shadow_policy", index), section) for index, section in enumerate(config.shadow_policy)),
    ]
    for path, section in sections:
        if section.policy is not None and section.policy not in config.policies:
            remedy = closest(section.policy, config.policies) or "add it to policies"
            yield at((*path, "policy"), f"no policy {section.policy!r}", remedy)
        if section.when is not None:
            try:
                Rules([Rule(use="it", when=section.when, name="when")])
            except (ValueError, ImportError) as error:
                yield at((*path, "when"), str(error).removeprefix("when: "), "write it as in rules")
