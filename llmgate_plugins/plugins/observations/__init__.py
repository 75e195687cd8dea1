"""What is known of deployments by having used them: one store per gateway, read by whoever chooses."""

from llmgate_plugins.plugins.observations.experience import SPEED, Experience
from llmgate_plugins.plugins.observations.lengths import USUAL_OUTPUT, Lengths
from llmgate_plugins.plugins.observations.observed import Observed
from llmgate_plugins.plugins.observations.plugin import Observations, observations_of

__all__ = [
    "SPEED",
    "USUAL_OUTPUT",
    "Experience",
    "Lengths",
    "Observations",
    "Observed",
    "observations_of",
]
