"""`init_llmgate`, in the manner of LangChain's `init_chat_model`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from langchain_llmgate._models import ModelLike
from langchain_llmgate.chat_model import ChatLLMGate
from llmgate_plugins.errors import ConfigurationError

__all__ = ["CONFIG_VARIABLE", "init_llmgate"]

CONFIG_VARIABLE: Final = "LLMGATE_CONFIG"
"""Names the configuration file where none is given."""


def init_llmgate(
    model: str | None = None,
    *,
    config: Any = None,
    gateway: Any = None,
    models: Mapping[str, ModelLike | Sequence[ModelLike]] | None = None,
    configurable_fields: Literal["any"] | Sequence[str] | None = None,
    config_prefix: str | None = None,
    **kwargs: Any,
) -> ChatLLMGate:
    """A `ChatLLMGate`, from whatever there is to make it of.

    Args:
        model: The alias to ask for; default: the first there is.
        config: A configuration file or mapping. With neither this nor `gateway` nor
            `models`: the file that the environment variable `LLMGATE_CONFIG` names.
        gateway: A gateway to share.
        models: As of `ChatLLMGate.from_models`.
        configurable_fields: What `config["configurable"]` of a run may set: names among
            "model", "temperature", "max_tokens", "timeout", "stop" and "on_break"; "any" for
            all of them. Whoever can set a run's configuration can then choose any alias.
        config_prefix: Stands before each name in there: "chat" makes "chat_model".
        kwargs: Further arguments of `ChatLLMGate`, or of `from_models`.

    Raises:
        ConfigurationError: Nothing to make it of, or more than one thing.
    """
    given = [name for name, one in (("config", config), ("gateway", gateway), ("models", models)) if one]
    if len(given) > 1:
        raise ConfigurationError(f"give one of {', '.join(given)}, not several")
    settings: dict[str, Any] = {
        **kwargs,
        "configurable": _names(configurable_fields),
        "config_prefix": f"{config_prefix.removesuffix('_')}_" if config_prefix else "",
    }
    if models is not None:
        return ChatLLMGate.from_models(models, model, **settings)
    if gateway is None and config is None:
        config = os.environ.get(CONFIG_VARIABLE)
        if not config:
            raise ConfigurationError(f"give config=, gateway= or models=, or set {CONFIG_VARIABLE}")
    if model is None:
        from llmgate_plugins.gateway import Gateway

        gateway = gateway or Gateway.from_config(config, plugins=settings.pop("plugins", ()))
        model = next(iter(gateway.routes.aliases))
    return ChatLLMGate(model=model, config=config, gateway=gateway, **settings)


def _names(fields: Literal["any"] | Sequence[str] | None) -> tuple[str, ...]:
    if fields is None:
        return ()
    if isinstance(fields, str):
        return tuple(sorted(ChatLLMGate.CONFIGURABLE)) if fields == "any" else (fields,)
    return tuple(fields)
