"""Experiments as data: arms, who is assigned, what an arm does to a request, and when a canary goes back."""

from __future__ import annotations

from llmgate_plugins.experiments.canary import Counts, Course
from llmgate_plugins.experiments.experiment import Arm, Experiment, Rollback, Stage
from llmgate_plugins.experiments.prompts import Prompt

__all__ = ["Arm", "Counts", "Course", "Experiment", "Prompt", "Rollback", "Stage"]
