"""Prefers deployments that emit little, and leaves out those that emit more than a policy allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmgate_plugins import Call, Deployment, Drop, Scores, hookimpl
from llmgate_plugins.plugins.per_group import PerGroup


class Greenest:
    """The preference `greenest`, and the constraint `own: {max_gco2: 1.5}` (reason code "gco2").

    Both go by what `model_info` says under `gco2_per_1k`: grams of CO2 per thousand tokens. A
    deployment that declares nothing is preferred last, and serves no call that is bound.

    Args:
        regions: Region -> grams per thousand tokens, for deployments that say nothing themselves.
    """

    def __init__(self, regions: Mapping[str, float] | None = None) -> None:
        self.regions = dict(regions or {})
        self._above = PerGroup(self._drop)  # thousands are gone through once, not for each call

    @hookimpl
    def score_deployments(self, preference: str, deployments: Sequence[Deployment]) -> Scores | None:
        if preference != "greenest":
            return None
        known = {one.id: grams for one in deployments if (grams := self.grams(one)) is not None}
        return Scores(known, unit="gCO2")

    @hookimpl
    def narrow_deployments(self, deployments: Sequence[Deployment], call: Call) -> Drop | None:
        bounds = [policy.own["max_gco2"] for policy in call.policies if "max_gco2" in policy.own]
        if not bounds:
            return None
        return self._above.of(deployments, min(bounds))  # all of them hold

    def _drop(self, deployments: Sequence[Deployment], most: float) -> Drop | None:
        above = {}
        for one in deployments:
            grams = self.grams(one)
            if grams is None or grams > most:
                above[one.id] = "gco2"
        return Drop(above) if above else None

    def grams(self, deployment: Deployment) -> float | None:
        """Grams of CO2 per thousand tokens; None if nobody knows."""
        declared = deployment.info.get("gco2_per_1k")
        if isinstance(declared, int | float):
            return float(declared)
        return self.regions.get(deployment.region or "")
