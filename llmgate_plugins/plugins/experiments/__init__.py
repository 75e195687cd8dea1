"""The plugin that carries experiments out: weighted arms, sticky by unit, and canaries."""

from __future__ import annotations

from llmgate_plugins.plugins.experiments.plugin import Experiments

__all__ = ["Experiments"]
