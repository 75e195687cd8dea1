"""Each attempt by the transport that speaks its provider's language."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, Final, cast

from llmgate_plugins._discovery import Allowed, installed
from llmgate_plugins._loading import load_allowed
from llmgate_plugins.errors import ConfigurationError, Problem
from llmgate_plugins.services import Clock
from llmgate_plugins.transport import Meter, Transport
from llmgate_plugins.transports.openai import OpenAITransport
from llmgate_plugins.transports.openai_providers import PROVIDERS
from llmgate_plugins.types import Attempt, Deployment, Request, Response

__all__ = ["GROUP", "ByProvider", "default_transport", "litellm_transport"]

GROUP: Final = "llmgate.transports"
"""The entry-point group of transports. Only the one of `_LITELLM` is ever loaded from it."""

_LITELLM: Final = Allowed(name="litellm", dist="litellm-llmgate")


class ByProvider:
    """A transport made of transports.

    Args:
        transports: Provider -> its transport, or a function that makes it when the
            first call to that provider is sent.
        otherwise: For every provider that is not named.
    """

    def __init__(
        self,
        transports: Mapping[str, Transport | Callable[[], Transport]],
        otherwise: Transport | Callable[[], Transport] | None = None,
    ) -> None:
        self._transports = dict(transports)
        self._otherwise = otherwise

    def transport_of(self, deployment: Deployment) -> Transport:
        """The transport for this deployment.

        Raises:
            ConfigurationError: There is none.
        """
        found = self._transports.get(deployment.provider, self._otherwise)
        if found is None:
            raise _no_transport(deployment.provider, "give the gateway a transport for it")
        if hasattr(found, "send"):
            return cast("Transport", found)
        made = found()
        # The same function may stand behind many providers: it is asked once.
        self._transports = {
            provider: made if one is found else one for provider, one in self._transports.items()
        }
        if self._otherwise is found:
            self._otherwise = made
        return made

    def send(self, attempt: Attempt, request: Request) -> Response:
        """Send and return the whole answer."""
        return self.transport_of(attempt.deployment).send(attempt, request)

    async def asend(self, attempt: Attempt, request: Request) -> Response:
        """The same for an event loop."""
        return await self.transport_of(attempt.deployment).asend(attempt, request)

    def open(self, attempt: Attempt, request: Request) -> Iterator[Any]:
        """Send and return the chunks."""
        return self.transport_of(attempt.deployment).open(attempt, request)

    def aopen(self, attempt: Attempt, request: Request) -> AsyncIterator[Any]:
        """The same for an event loop."""
        return self.transport_of(attempt.deployment).aopen(attempt, request)

    def meter(self, attempt: Attempt, request: Request) -> Meter:
        """A meter for one stream."""
        return self.transport_of(attempt.deployment).meter(attempt, request)

    def prepare(self, deployments: Iterable[Deployment]) -> None:
        """Let the transports of these deployments load what they need before the first call.

        What is missing is left for that call to say.
        """
        theirs: dict[int, tuple[Transport, list[Deployment]]] = {}
        for deployment in deployments:
            with suppress(ConfigurationError):
                transport = self.transport_of(deployment)
                theirs.setdefault(id(transport), (transport, []))[1].append(deployment)
        for transport, served in theirs.values():
            prepare = getattr(transport, "prepare", None)
            if prepare is not None:
                prepare(served)

    def close(self) -> None:
        """Close those that were made."""
        for one in dict.fromkeys((*self._transports.values(), self._otherwise)):
            close = getattr(one, "close", None)
            if close is not None:
                close()


def default_transport(deployments: Iterable[Deployment] = (), *, clock: Clock | None = None) -> ByProvider:
    """How a gateway without a host sends: OpenAI's wire by the SDK, every other provider by LiteLLM.

    Nothing is imported before the first call. What is missing is said then, since a
    gateway inside a host never sends by itself.

    Args:
        deployments: Only these providers are looked up; none for all that are known.
        clock: The gateway's; None counts each attempt's time from its sending.
    """
    providers = {deployment.provider for deployment in deployments} or set(PROVIDERS)
    own: Transport | Callable[[], Transport]
    own = OpenAITransport(clock=clock) if find_spec("openai") is not None else _instead_of_openai
    return ByProvider(dict.fromkeys(sorted(providers & PROVIDERS.keys()), own), otherwise=litellm_transport)


def litellm_transport() -> Transport:
    """The transport of the distribution litellm-llmgate.

    Raises:
        ConfigurationError: It is not installed, or another distribution claims its name.
    """
    if not any(one.name == _LITELLM.name for one in installed(GROUP)):
        raise _no_transport("a provider that does not speak OpenAI's wire", "pip install litellm-llmgate")
    return cast("Transport", load_allowed([_LITELLM], GROUP)[0])


def _instead_of_openai() -> Transport:
    if any(one.name == _LITELLM.name for one in installed(GROUP)):
        return litellm_transport()
    raise _no_transport(
        "OpenAI-compatible providers", "pip install 'llmgate-plugins[openai]', or litellm-llmgate"
    )


def _no_transport(what: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(
        problems=[Problem(message=f"nothing is installed that sends plain calls to {what}", remedy=remedy)]
    )
