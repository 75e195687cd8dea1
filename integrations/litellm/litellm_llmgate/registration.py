"""Puts a gateway inside a `litellm.Router`, and takes it out again."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Collection, Mapping
from contextvars import copy_context
from pathlib import Path
from typing import Any

from litellm.litellm_core_utils.asyncify import run_async_function

from litellm_llmgate import _compat
from litellm_llmgate.asking import operation_of
from litellm_llmgate.carrying import Carrier
from litellm_llmgate.configured import set_up
from litellm_llmgate.deployments import DeploymentBook
from litellm_llmgate.router_transport import RouterTransport
from litellm_llmgate.selection import OwnSelection, PinnedStrategy
from litellm_llmgate.ungated import WAYS_PAST, Ungated, name_of
from litellm_llmgate.uploads import kept
from litellm_llmgate.wraps import noting_stream, without_keys
from llmgate_plugins import Gateway
from llmgate_plugins.errors import ConfigurationError, Problem
from llmgate_plugins.redaction import redact_error, redact_logs
from llmgate_plugins.types import Deployment

__all__ = ["MARK", "Registration", "attach", "register"]

log = logging.getLogger("llmgate.litellm")

MARK = "_llmgate_registration"
"""The attribute of a router that has a gateway."""


def register(
    router: Any,
    gateway_or_config: Gateway | str | Path | Mapping[str, Any],
    *,
    ungated: str | Collection[str] | None = None,
) -> Registration:
    """Let a gateway carry out the router's calls, sync and async, whole and streamed.

    The router keeps its list, its health and its strategy, which decides wherever no
    plugin has an opinion, and its fallbacks between groups. The gateway takes over what
    happens inside a group: policy, failover and retries, accounting. LiteLLM's own
    retries (`num_retries`, `retry_policy`) are off for these calls.

    Args:
        router: A `litellm.Router`.
        gateway_or_config: A gateway, a configuration file, or a mapping of the same shape. It need
            not name deployments; LiteLLM's strategy, aliases and fallbacks stay LiteLLM's.
        ungated: What becomes of calls that do not go through the gateway (files, batches, sessions):
            "pass", "refuse", or the names of those that pass while all others are refused. Default: what
            the configuration says, else "pass".

    Raises:
        ConfigurationError: The router has a gateway already, or this is no router; or the
            configuration is wrong.
    """
    _check(router)
    gateway, configured = set_up(gateway_or_config, _compat.entries(router))
    return Registration(router, gateway, configured if ungated is None else Ungated(ungated))


def attach(router: Any, gateway: Gateway, ungated: Ungated) -> Registration:
    """The same for what has been set up.

    Raises:
        ConfigurationError: The router has a gateway already, or this is no router.
    """
    _check(router)
    return Registration(router, gateway, ungated)


class Registration:
    """A gateway at work inside a router.

    Attributes:
        router: The router.
        gateway: The gateway.
    """

    def __init__(self, router: Any, gateway: Gateway, ungated: Ungated) -> None:
        self.router = router
        self.gateway = gateway
        self._ungated = ungated
        self._replaced: dict[str, tuple[bool, Any]] = {}
        self._own = OwnSelection(router)
        self._book = DeploymentBook(gateway.catalog, gateway.deployments)
        transport = RouterTransport(
            router,
            self._own,
            self._book,
            gateway.services.clock,
            plugins_rank=bool(gateway.registry.hooks.rank_deployments),
        )
        self._carrier = Carrier(gateway, transport)
        self._install_strategy: Callable[[Any], None] = getattr(router, _compat.install_name(router))
        self._install(router)
        redact_logs()
        setattr(router, MARK, self)
        log.info(
            "llmgate is at work here: %d deployments; unless a plugin ranks, %s decides; plugins: %s",
            len(_compat.entries(router)),
            _compat.strategy_name(router),
            ", ".join(name for name, _ in gateway.plugins),
        )
        for entry in _compat.entries(router):
            if entry["litellm_params"].get("max_retries"):
                log.warning(
                    "deployment %s sets max_retries: its client retries inside an attempt, unseen by the "
                    "gateway; set it to 0",
                    entry["model_info"]["id"],
                )

    @property
    def active(self) -> bool:
        """Whether calls of the router go through the gateway."""
        return getattr(self.router, MARK, None) is self

    def deployment(self, id: str) -> Deployment | None:
        """What plugins see of the router's deployment with this id; None if it has none."""
        entries = _compat.entries(self.router)
        return next((self._book.of(one) for one in entries if one["model_info"]["id"] == id), None)

    def unregister(self) -> None:
        """Leave the router as it was. Calls on their way end as they began. Idempotent."""
        if not self.active:
            return
        delattr(self.router, MARK)
        for name, (had, value) in reversed(self._replaced.items()):
            if had:
                setattr(self.router, name, value)
            else:
                delattr(self.router, name)
        self._replaced.clear()
        log.info("llmgate has left this router")

    # ------------------------------------------------------------ what is put in place

    def _install(self, router: Any) -> None:
        pick = _compat.pick_name(router)
        for name in (pick, _compat.PICK_NOW):
            self._replaced[name] = (name in _compat.own_attributes(router), getattr(router, name))
        self._reinstall()
        self._replace(router, _compat.healthy_name(router), lambda _: self._own.healthy)
        self._replace(router, _compat.install_name(router), lambda _: self._own.follow)
        self._replace(router, "_reset_custom_routing_strategy", self._after_reset)
        self._replace(router, "make_call", self._gated_call)
        self._replace(router, "async_function_with_retries", self._without_retries)
        self._replace(router, "async_function_with_fallbacks", self._with_whole_files)
        self._replace(router, "function_with_fallbacks", self._with_context)
        self._replace(router, "_pass_through_moderation_endpoint_factory", self._gated_moderation)
        self._replace(router, "_generic_api_call_with_fallbacks", self._gated_now)
        for name in WAYS_PAST if self._ungated.refuses else ():
            self._replace(router, name, self._ungated.checked)
        for name in ("_acompletion_streaming_iterator", "_completion_streaming_iterator"):
            self._replace(router, name, noting_stream)

    def _reinstall(self) -> None:
        self._install_strategy(PinnedStrategy(self.router, self._own))
        self._installed = _compat.own_attributes(self.router)[_compat.PICK_NOW]

    def _check_strategy(self) -> None:
        """A strategy that was put in ours' place in some other way decides; ours goes back in."""
        if _compat.own_attributes(self.router).get(_compat.PICK_NOW) is not self._installed:
            log.warning("another routing strategy has replaced llmgate's; it decides unless a plugin ranks")
            self._own.follow_router()
            self._reinstall()

    def _replace(self, router: Any, name: str, wrap: Callable[[Any], Any]) -> None:
        original = getattr(router, name)
        self._replaced[name] = (name in _compat.own_attributes(router), original)
        setattr(router, name, wrap(original))

    def _after_reset(self, reset: Callable[[], None]) -> Callable[[], None]:
        """`update_settings(routing_strategy=...)` takes any strategy out: LiteLLM's new one decides then."""

        @functools.wraps(reset)
        def reset_and_return() -> None:
            reset()
            self._own.follow_router()
            self._reinstall()
            log.info("the router's strategy has changed; it decides from now on where no plugin ranks")

        return reset_and_return

    def _gated_call(self, make_call: Any) -> Any:
        """One attempt of LiteLLM's becomes one call of the gateway."""

        @functools.wraps(make_call)
        async def gated_call(original_function: Any, *args: Any, **kwargs: Any) -> Any:
            operation = operation_of(original_function, kwargs)
            if operation is None:
                self._ungated.check(name_of(original_function, kwargs))
                return await make_call(original_function, *args, **kwargs)
            self._check_strategy()
            return await make_call(
                self._carrier.through_gateway(original_function, operation), *args, **kwargs
            )

        return gated_call

    def _without_retries(self, with_retries: Any) -> Any:
        """The gateway retries; LiteLLM must not repeat what the gateway has given up."""

        @functools.wraps(with_retries)
        async def once(*args: Any, **kwargs: Any) -> Any:
            if operation_of(kwargs.get("original_function"), kwargs) is not None:
                kwargs["num_retries"] = 0
            return await with_retries(*args, **kwargs)

        return once

    def _gated_moderation(self, moderate: Any) -> Any:
        """LiteLLM has one attempt for moderation, past all of the above."""

        @functools.wraps(moderate)
        async def gated(original_function: Any, *args: Any, **kwargs: Any) -> Any:
            model = kwargs.get("model")
            if not model or not _compat.knows(self.router, model):
                self._ungated.check(name_of(moderate, {"original_function": original_function}))
                return await moderate(original_function, *args, **kwargs)
            self._check_strategy()
            attempt = self._carrier.through_gateway(moderate, "moderation")
            return await without_keys(attempt)(original_function, *args, **kwargs)

        return gated

    def _gated_now(self, call_now: Any) -> Any:
        """In a thread LiteLLM has one attempt for endpoints of other shapes than chat's."""

        @functools.wraps(call_now)
        def gated(*args: Any, **kwargs: Any) -> Any:
            operation = operation_of(call_now, kwargs)
            if operation is None or "model" not in kwargs:
                self._ungated.check(name_of(call_now, kwargs))
                return call_now(*args, **kwargs)
            self._check_strategy()
            kept(operation, kwargs)
            try:
                return self._carrier.through_gateway(call_now, operation)(*args, **kwargs)
            except BaseException as error:
                redact_error(error)
                raise

        return gated

    def _with_whole_files(self, with_fallbacks: Any) -> Any:
        """Every group that LiteLLM falls back to is sent the same files."""
        carried_out = without_keys(with_fallbacks)

        @functools.wraps(with_fallbacks)
        async def with_whole_files(*args: Any, **kwargs: Any) -> Any:
            operation = operation_of(kwargs.get("original_function"), kwargs)
            if operation is not None:
                kept(operation, kwargs)
            return await carried_out(*args, **kwargs)

        return with_whole_files

    def _with_context(self, sync_call: Any) -> Any:
        """LiteLLM may run a sync call in a thread of its own, where context variables are not seen."""

        @functools.wraps(sync_call)
        def with_context(*args: Any, **kwargs: Any) -> Any:
            variables = copy_context()

            async def enter() -> Any:
                for variable, value in variables.items():
                    variable.set(value)
                return await self.router.async_function_with_fallbacks(*args, **kwargs)

            return run_async_function(enter)

        return with_context


def _check(router: Any) -> None:
    if not all(hasattr(router, name) for name in ("make_call", "async_function_with_retries")):
        raise _refused(f"{type(router).__name__} is no litellm.Router", "pass the router itself")
    if getattr(router, MARK, None) is not None:
        raise _refused("this router has a gateway already", "call registration.unregister() first")


def _refused(message: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(problems=[Problem(message=message, remedy=remedy)])
