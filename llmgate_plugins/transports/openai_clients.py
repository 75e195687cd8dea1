"""Clients of the `openai` package: one per deployment, the async ones per event loop as well."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from llmgate_plugins.errors import ConfigurationError, Problem, SecretNotFound
from llmgate_plugins.secrets import Secret
from llmgate_plugins.transports.http_hooks import async_hooks, hooks
from llmgate_plugins.transports.openai_providers import AZURE, PROVIDERS, address_of
from llmgate_plugins.types import Deployment

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

__all__ = ["Clients", "is_keyless", "openai_package"]

_AZURE_VERSION: Final = "2024-10-21"
"""The newest version of Azure's API that is declared stable; `api_version` says otherwise."""
_NO_KEY: Final = "none"
"""The client wants a key even where none is sent."""


def openai_package() -> ModuleType:
    """The package, imported when it is first needed.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        import openai
    except ModuleNotFoundError as missing:
        raise ConfigurationError(
            problems=[
                Problem(
                    message="plain calls to OpenAI-compatible providers need the package openai",
                    remedy="pip install 'llmgate-plugins[openai]'",
                )
            ]
        ) from missing
    return openai


@dataclass(eq=False, slots=True)
class _World:
    """Clients that share a pool of connections: those of all threads, or those of one event loop."""

    kind: str
    pool: Any
    clients: dict[Deployment, Any] = field(default_factory=dict)

    def client(self, deployment: Deployment) -> Any:
        found = self.clients.get(deployment)
        if found is None:
            found = self.clients.setdefault(deployment, _client(self.kind, deployment, self.pool))
        return found


class Clients:
    """Makes clients when they are first asked for, and keeps them. Thread-safe.

    An event loop has connections of its own, since they belong to the loop that opened
    them; they are closed when that loop ends. Nothing is retried, no redirect is
    followed and no cookie is kept: a key goes to the one address it was configured for.
    A forked process makes its own clients.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._threads: _World | None = None
        self._loops: dict[asyncio.AbstractEventLoop, tuple[_World, AsyncGenerator[None]]] = {}

    def client(self, deployment: Deployment) -> OpenAI:
        """The client of this deployment."""
        self._forget_other_process()
        world = self._threads
        if world is None:
            with self._lock:
                world = self._threads = self._threads or self._world()
        client: OpenAI = world.client(deployment)
        return client

    async def aclient(self, deployment: Deployment) -> AsyncOpenAI:
        """The client of this deployment for the running event loop."""
        self._forget_other_process()
        loop = asyncio.get_running_loop()
        known = self._loops.get(loop)
        if known is None:
            world = _World("AsyncOpenAI", _pool("DefaultAsyncHttpxClient"))
            guard = self._until_the_end_of(loop, world)
            known = self._loops[loop] = world, guard
            for one in list(self._loops):
                if one.is_closed():  # it did not end by `asyncio.run`
                    self._loops.pop(one, None)
            await anext(guard)
        client: AsyncOpenAI = known[0].client(deployment)
        return client

    def close(self) -> None:
        """Close the connections of synchronous calls; those of a loop are closed with it."""
        with self._lock:
            world, self._threads = self._threads, None
        if world is not None:
            world.pool.close()

    def _forget_other_process(self) -> None:
        if self._process != os.getpid():
            self._process, self._threads, self._loops = os.getpid(), None, {}

    def _world(self) -> _World:
        pool = _pool("DefaultHttpxClient")
        weakref.finalize(self, pool.close)  # for those who never close
        return _World("OpenAI", pool)

    async def _until_the_end_of(self, loop: asyncio.AbstractEventLoop, world: _World) -> AsyncGenerator[None]:
        """A loop that ends (`asyncio.run`) closes its asynchronous generators, and so the connections."""
        try:
            yield
        finally:
            self._loops.pop(loop, None)
            await world.pool.aclose()


def is_keyless(deployment: Deployment) -> bool:
    """Whether calls to it carry no credential at all."""
    endpoint = deployment.endpoint
    return (
        endpoint.api_key is None
        and deployment.provider != AZURE
        and not any(name.lower() == "authorization" for name in endpoint.headers)
    )


def _pool(kind: str) -> Any:
    asynchronous = kind == "DefaultAsyncHttpxClient"
    pool = getattr(openai_package(), kind)(
        follow_redirects=False, event_hooks=async_hooks() if asynchronous else hooks()
    )
    pool.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return pool


def _client(kind: str, deployment: Deployment, pool: Any) -> Any:
    openai = openai_package()
    endpoint = deployment.endpoint
    key = _key(deployment)
    headers: dict[str, Any] = dict.fromkeys(_names_in_environment(), openai.Omit())
    headers["accept-encoding"] = "gzip"  # what is unpacked within bounds
    headers |= {name: value.reveal() for name, value in endpoint.headers.items()}
    common = {"max_retries": 0, "default_headers": headers, "http_client": pool}
    if deployment.provider == AZURE:
        made = getattr(openai, kind.replace("Open", "AzureOpen"))(**common, **_azure(deployment, key))
    else:
        made = getattr(openai, kind)(**common, api_key=key or _NO_KEY, base_url=address_of(deployment))
    # The package takes these too from the environment, for whatever address it is given.
    made.organization = endpoint.options.get("organization")
    made.project = None
    return made


def _names_in_environment() -> list[str]:
    """Headers that the package would add from the environment, whatever address it is given."""
    lines = os.environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines()
    return [name.strip() for line in lines if (name := line.partition(":")[0]).strip()]


def _azure(deployment: Deployment, key: str | None) -> dict[str, Any]:
    options = deployment.endpoint.options
    address = address_of(deployment)
    token = options.get("azure_ad_token")
    return {
        "api_version": options.get("api_version") or _AZURE_VERSION,
        "base_url" if "/openai" in address else "azure_endpoint": address,
        **(
            {"api_key": key}
            if key is not None
            else {"azure_ad_token": token.reveal() if isinstance(token, Secret) else token}
        ),
    }


def _key(deployment: Deployment) -> str | None:
    key = deployment.endpoint.api_key
    if key is not None:
        return key.reveal()
    sent_otherwise = deployment.endpoint.headers or "azure_ad_token" in deployment.endpoint.options
    if PROVIDERS[deployment.provider].needs_key and not sent_otherwise:
        raise SecretNotFound(
            f"deployment {deployment.id!r} has no API key, and {deployment.provider} wants one",
            reference="",
            remedy="set api_key (Endpoint.api_key)",
        )
    return None
