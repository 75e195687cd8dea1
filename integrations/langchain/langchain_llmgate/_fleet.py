"""The inner chat models of one gateway: given, or built from configuration when first used."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from langchain_core.language_models import BaseChatModel

from langchain_llmgate._leaf import Leaf
from langchain_llmgate._providers import build_model
from llmgate_plugins.redaction import redact_logs
from llmgate_plugins.types import EMPTY, Deployment

if TYPE_CHECKING:
    from llmgate_plugins.gateway import Gateway

__all__ = ["Fleet", "fleet_of"]


class Fleet:
    """Leaves by deployment id. Thread-safe.

    Args:
        models: Inner models that are there already, by deployment id.

    Attributes:
        profiles: Alias -> the profile made for it.
        providers: Alias -> the provider its deployments have in common, or the gate's own name.
        fingerprint: Once made.
    """

    def __init__(self, models: Mapping[str, BaseChatModel] = EMPTY) -> None:
        redact_logs()
        self._models = dict(models)
        self._leaves: dict[str, Leaf] = {}
        self._lock = threading.RLock()
        self.profiles: dict[str, Mapping[str, object] | None] = {}
        self.providers: dict[str, str] = {}
        self.fingerprint: str | None = None

    def leaf(self, deployment: Deployment) -> Leaf:
        """The deployment's inner model. Built now if it is asked for the first time.

        Raises:
            ConfigurationError: No installed package speaks to this provider.
        """
        leaf = self._leaves.get(deployment.id)
        if leaf is None:
            with self._lock:
                leaf = self._leaves.get(deployment.id)
                if leaf is None:
                    given = self._models.get(deployment.id)
                    model = given or build_model(deployment)
                    leaf = Leaf(deployment, model, says_itself=given is not None)
                    self._leaves[deployment.id] = leaf
        return leaf

    def given(self, deployment_id: str) -> BaseChatModel | None:
        """The inner model, if it was given and need not be built."""
        return self._models.get(deployment_id)


_fleets: WeakKeyDictionary[Gateway, Fleet] = WeakKeyDictionary()
_lock = threading.Lock()


def fleet_of(gateway: Gateway, fleet: Fleet | None = None) -> Fleet:
    """The fleet of a gateway: one for all chat models over it, so that they share clients.

    Args:
        fleet: Make this one the gateway's.
    """
    with _lock:
        if fleet is not None:
            _fleets[gateway] = fleet
        found = _fleets.get(gateway)
        if found is None:
            found = _fleets[gateway] = Fleet()
        return found
