"""The LiteLLM proxy's hooks. In its config.yaml: `callbacks: ["litellm_llmgate.proxy.gateway"]`."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from fastapi import HTTPException
from litellm.integrations.custom_logger import CustomLogger

from litellm_llmgate.carrying import proxy_context, proxy_told
from litellm_llmgate.configured import set_up
from litellm_llmgate.errors import CallDenied
from litellm_llmgate.headers import headers_of
from litellm_llmgate.per_call import proxy_key
from litellm_llmgate.registration import MARK, Registration, attach
from litellm_llmgate.ungated import PASSES, Ungated
from llmgate_plugins import Gateway
from llmgate_plugins.context import Context
from llmgate_plugins.errors import ConfigurationError, Problem

__all__ = ["ProxyGateway", "gateway"]

log = logging.getLogger("llmgate.litellm")

VARIABLE: Final = "LLMGATE_CONFIG"
FILE: Final = "llmgate.yaml"
HOOKS: Final = ("async_pre_call_hook", "async_post_call_response_headers_hook")
_FACTS: Final = frozenset(Context.__dataclass_fields__) - {"extra", "priority"}

gateway: ProxyGateway
"""The one instance of this process, made when the proxy first asks for it."""


class ProxyGateway(CustomLogger):  # type: ignore[misc]
    """Puts the gateway into the proxy's router, and tells it who is calling.

    LiteLLM runs hooks only where the instance's own class defines them: do not subclass.

    Args:
        gateway: The gateway.
        source: The configuration file, for messages.
        ungated: What becomes of requests that do not go through the gateway.
    """

    def __init__(self, gateway: Gateway, source: str, ungated: Ungated | None = None) -> None:
        super().__init__()
        self.gateway = gateway
        self.source = source
        self.ungated = Ungated(PASSES) if ungated is None else ungated
        self.registration: Registration | None = None
        self.self_check()

    def self_check(self) -> None:
        """Say in the log that LiteLLM will run the hooks.

        Raises:
            ConfigurationError: It will not.
        """
        missing = [name for name in HOOKS if name not in type(self).__dict__]
        if missing:
            raise ConfigurationError(
                f"{type(self).__name__} does not define {', '.join(missing)} itself, so LiteLLM would never "
                "run it and every request would pass unseen; use litellm_llmgate.proxy.gateway as it is"
            )
        names = ", ".join(name for name, _ in self.gateway.plugins)
        log.warning("llmgate is ready: %s; plugins: %s", self.source, names)

    def attach(self) -> Registration | None:
        """Register the gateway on the proxy's router: the first time, and when the router is a new one."""
        from litellm.proxy import proxy_server

        router = proxy_server.llm_router
        if router is None:
            return None
        if self.registration is None or self.registration.router is not router:
            existing: Registration | None = getattr(router, MARK, None)
            self.registration = existing or attach(router, self.gateway, self.ungated)
            log.warning("llmgate is at work in the proxy's router")
        return self.registration

    async def async_pre_call_hook(
        self,
        user_api_key_dict: Any,
        cache: Any,  # noqa: ARG002 - LiteLLM passes them by name
        data: Any,
        call_type: str,
    ) -> None:
        """Before each request is routed.

        Raises:
            HTTPException: It would pass by the gateway, and may not. Not all of the proxy's endpoints
                know another error.
        """
        self.attach()
        try:
            self.ungated.check_request(call_type, data)
        except CallDenied as error:
            raise HTTPException(error.status_code, error.reason) from error
        proxy_context.set(context_of(user_api_key_dict))
        proxy_key.set(owner_of(user_api_key_dict))
        proxy_told.set([])

    async def async_post_call_response_headers_hook(
        self,
        data: Any,  # noqa: ARG002
        user_api_key_dict: Any,  # noqa: ARG002
        response: Any,
        request_headers: Any = None,  # noqa: ARG002
        litellm_call_info: Any = None,  # noqa: ARG002
    ) -> dict[str, str] | None:
        """Name the call in the response's headers; without one, or one that holds nothing, the last."""
        if response is None or isinstance(response, dict):
            kept = proxy_told.get()
            told = kept[-1] if kept else None
        else:
            hidden = getattr(response, "_hidden_params", None)
            told = hidden.get("llmgate") if isinstance(hidden, dict) else None
        if not isinstance(told, Mapping):
            return None
        return headers_of(told)


def context_of(key: Any) -> Context:
    """Who is calling, by what the proxy's authentication knows of the key.

    A team's metadata may hold further facts under `llmgate` (`region`, `data_class`,
    `policy`, ...): whoever manages teams sets them. What the request itself says, its
    `user` included, is not believed.
    """
    facts: dict[str, Any] = {}
    stated = (getattr(key, "team_metadata", None) or {}).get("llmgate")
    if isinstance(stated, Mapping):
        facts = {name: str(value) for name, value in stated.items() if name in _FACTS and value is not None}
        priority = stated.get("priority")
        if isinstance(priority, int) and not isinstance(priority, bool):
            facts["priority"] = priority
    for name, attribute in (
        ("tenant", "org_id"),
        ("team", "team_id"),
        ("project", "project_id"),
        ("user", "user_id"),
    ):
        value = getattr(key, attribute, None)
        if value is not None:
            facts[name] = str(value)
    alias = getattr(key, "key_alias", None)
    return Context(**facts, extra={"key_alias": str(alias)} if alias else {})


def owner_of(key: Any) -> str:
    """Who the ids of a key's calls belong to: the key itself, by its hash; else its user and team."""
    token = getattr(key, "token", None) or getattr(key, "api_key", None)
    if token:
        return f"key {token}"
    return repr([getattr(key, name, None) for name in ("org_id", "team_id", "user_id", "end_user_id")])


def __getattr__(name: str) -> Any:
    if name != "gateway":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    source = _configuration()
    try:
        gateway, ungated = set_up(source, _own_entries())
        made = ProxyGateway(gateway, source, ungated)
    except ConfigurationError as error:
        log.error("llmgate cannot start: %s", error)  # noqa: TRY400 - the traceback says nothing more
        raise
    globals()["gateway"] = made
    return made


def _own_entries() -> list[Mapping[str, Any]]:
    """The `model_list` of the proxy's own file: names that policies may refer to."""
    import yaml
    from litellm.proxy import proxy_server

    own = proxy_server.user_config_file_path
    if not own or not Path(own).is_file():
        return []
    content = yaml.safe_load(Path(own).read_text(encoding="utf-8"))
    entries = content.get("model_list") if isinstance(content, Mapping) else None
    return [one for one in entries or () if isinstance(one, Mapping) and "litellm_params" in one]


def _configuration() -> str:
    """The gateway's file: what the variable names, else beside the proxy's own.

    Raises:
        ConfigurationError: There is none.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return named
    from litellm.proxy import proxy_server

    own = proxy_server.user_config_file_path
    beside = Path(own).parent / FILE if own else Path(FILE)
    if beside.is_file():
        return str(beside)
    raise ConfigurationError(
        problems=[
            Problem(
                message=f"there is no {beside}",
                remedy=f"write it beside the proxy's config.yaml, or name the file in {VARIABLE}",
            )
        ]
    )
