"""Sends to a router's deployments what is no call of the router's: calls that nobody waits for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from litellm_llmgate import _compat
from litellm_llmgate.deployments import DeploymentBook
from litellm_llmgate.transport import LiteLLMTransport
from llmgate_plugins.context import Call
from llmgate_plugins.errors import UnknownModel
from llmgate_plugins.types import Deployment, Request

__all__ = ["ApartTransport", "entries_of"]

_ROUTERS_OWN: Final = frozenset(
    {"model", "weight", "order", "rpm", "tpm", "input_tpm", "output_tpm", "max_parallel_requests", "tags"}
)
"""What an entry says to the router, and not to the provider."""


def entries_of(router: Any, name: str) -> list[Mapping[str, Any]]:
    """A router's entries for this group, or the one with this id, whether they are well or not.

    Raises:
        UnknownModel: There is none.
    """
    named = _compat.aliases(router).get(name, name)
    name = named if isinstance(named, str) else named.get("model", name)
    entries = _compat.entries(router)
    found = [one for one in entries if name in (one["model_name"], one["model_info"]["id"])]
    if not found:
        raise UnknownModel(name, sorted({one["model_name"] for one in entries}))
    return found


class ApartTransport(LiteLLMTransport):
    """One call past the router: none of its callbacks, none of its spend, no session of its caller.

    Where no plugin ranks, the deployment is drawn by lot: the router's strategy counts the
    calls that it picks for.

    Args:
        router: LiteLLM's.
        book: Its entries as deployments.
    """

    def __init__(self, router: Any, book: DeploymentBook) -> None:
        super().__init__()
        self._router = router
        self._book = book
        self._entries: dict[str, Mapping[str, Any]] = {}

    def candidates(self, alias: str, request: Request, call: Call) -> Sequence[Deployment]:  # noqa: ARG002
        """The entries of this group, or the one with this id.

        Raises:
            UnknownModel: There is none.
        """
        return self.declared(alias)

    def declared(self, name: str) -> Sequence[Deployment]:
        """The same, whoever asks."""
        found = []
        for entry in entries_of(self._router, name):
            deployment = self._book.of(entry)
            self._entries[deployment.id] = entry
            found.append(deployment)
        return tuple(found)

    async def acandidates(self, alias: str, request: Request, call: Call) -> Sequence[Deployment]:
        """The same for an event loop."""
        return self.candidates(alias, request, call)

    def pick(self, deployments: Sequence[Deployment], request: Request, call: Call) -> Deployment:  # noqa: ARG002
        """One of these by lot."""
        return deployments[int(call.draw("litellm: apart") * len(deployments))]

    async def apick(self, deployments: Sequence[Deployment], request: Request, call: Call) -> Deployment:
        """The same for an event loop."""
        return self.pick(deployments, request, call)

    def _reached(self, deployment: Deployment) -> dict[str, Any]:
        params = self._entries[deployment.id]["litellm_params"]
        return {
            name: value for name, value in params.items() if name not in _ROUTERS_OWN and value is not None
        }
