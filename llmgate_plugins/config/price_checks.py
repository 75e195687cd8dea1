"""Mistakes in prices, each with its place in the file: what reads them later knows no lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from llmgate_plugins.catalog.configured import is_per_token
from llmgate_plugins.catalog.overrides import mistakes
from llmgate_plugins.catalog.prices import nanos
from llmgate_plugins.config.gateway_config import GatewayConfig
from llmgate_plugins.errors import Problem

__all__ = ["price_problems"]

_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")


def price_problems(config: GatewayConfig) -> Iterator[Problem]:
    """Of `prices`, and of prices per token that stand at a deployment under LiteLLM's longer names."""
    at = config.locator.problem
    for name, settings in config.price_overrides().items():
        for problem in mistakes(name, settings):
            steps = _STEP.findall(problem.path[len(f"prices.{name}") :])
            path = [int(number) if number else key for key, number in steps]
            yield at(("prices", name, *path), problem.message, problem.remedy)
    for index, deployment in enumerate(config.model_list):
        for section in ("litellm_params", "model_info"):
            for key, value in getattr(deployment, section).prices().items():
                referred = isinstance(value, str) and value.startswith("os.environ/")
                if is_per_token(key) and not referred and nanos(value) is None:
                    place = ("model_list", index, section, key)
                    yield at(place, "is not a price", "write USD per token, such as 1.5e-07")
