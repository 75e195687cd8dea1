"""Who is calling, as far as LangChain carries it: a trusted context, and untrusted labels.

A context counts only as an instance of `Context`, which no text from outside can be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain_core.runnables.config import RunnableConfig, var_child_runnable_config

from llmgate_plugins.context import Context
from llmgate_plugins.types import EMPTY

__all__ = [
    "CALL_ID_KEY",
    "CONTEXT_KEY",
    "SESSION_KEY",
    "ambient_context",
    "ambient_session",
    "configured_call_id",
    "configured_context",
    "configured_session",
    "configured_words",
    "labels",
]

CONTEXT_KEY: Final = "llmgate_context"
CALL_ID_KEY: Final = "llmgate_call_id"
SESSION_KEY: Final = "llmgate_session"
MOST_LABELS: Final = 32
LONGEST_LABEL: Final = 256
NOT_LABELS: Final = ("lc_", "ls_", "__", "langgraph_checkpoint", "langgraph_path", "langgraph_triggers")
SECRET_WORDS: Final = ("api_key", "apikey", "secret", "password", "token", "authorization")


def configured_context(config: RunnableConfig | None) -> Context | None:
    """The context that the application put into `config["configurable"]["llmgate_context"]`.

    Raises:
        TypeError: Something else stands there. Going on without the context could serve
            a call where it must not be served.
    """
    if config is None:
        return None
    configurable = config.get("configurable")
    found = configurable.get(CONTEXT_KEY) if configurable else None
    if found is None or isinstance(found, Context):
        return found
    raise TypeError(
        f'config["configurable"]["{CONTEXT_KEY}"] must be an llmgate_plugins.Context, which only the '
        f"application can make; it is a {type(found).__name__}"
    )


def configured_call_id(config: RunnableConfig | None) -> str | None:
    """The id that the application put into `config["configurable"]["llmgate_call_id"]`.

    Never from the configuration of the chain or graph around it: one id is for one call.

    Raises:
        TypeError: It is not a text.
    """
    configurable = config.get("configurable") if config else None
    found = configurable.get(CALL_ID_KEY) if configurable else None
    if found is None or (isinstance(found, str) and found):
        return found
    raise TypeError(f'config["configurable"]["{CALL_ID_KEY}"] must be a text, not {found!r}')


def configured_session(config: RunnableConfig | None) -> str | None:
    """The conversation that a run belongs to: `session_id` or `thread_id` of its configuration.

    Whoever calls a graph chooses it, so it is no identity: it keeps calls together, and nothing more.
    """
    configurable = config.get("configurable") if config else None
    if not configurable:
        return None
    found = configurable.get("session_id") or configurable.get("thread_id")
    return None if found is None else str(found)[:LONGEST_LABEL]


def ambient_session() -> str | None:
    """The same, from the configuration of the chain or graph that this code runs in."""
    return configured_session(var_child_runnable_config.get())


def ambient_context() -> Context | None:
    """The same, from the configuration of the chain or graph that this code runs in."""
    return configured_context(var_child_runnable_config.get())


def labels(tags: Sequence[str] | None, *metadata: Mapping[str, Any] | None) -> Mapping[str, str]:
    """Tags and metadata of a run as labels: short plain values only, nothing internal, nothing secret."""
    found: dict[str, str] = {"tags": ",".join(tags)[:LONGEST_LABEL]} if tags else {}
    for given in metadata:
        for key, value in given.items() if given else ():
            if len(found) >= MOST_LABELS:
                return found
            if isinstance(value, str | int | float) and _is_label(key):
                found[key] = str(value)[:LONGEST_LABEL]
    return found or EMPTY


def _is_label(key: str) -> bool:
    lower = key.lower()
    return not lower.startswith(NOT_LABELS) and not any(word in lower for word in SECRET_WORDS)


def configured_words(config: RunnableConfig | None, names: Sequence[str], prefix: str) -> dict[str, Any]:
    """Call arguments that the application lets the run's configuration choose.

    Args:
        names: Which ones.
        prefix: Stands before each name in `config["configurable"]`.
    """
    found: dict[str, Any] = {}
    for given in (var_child_runnable_config.get(), config):
        configurable = given.get("configurable") if given else None
        for name in names if configurable else ():
            if prefix + name in configurable:  # type: ignore[operator]
                found[name] = configurable[prefix + name]  # type: ignore[index]
    return found
