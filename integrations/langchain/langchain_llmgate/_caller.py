"""Who is calling, as far as LangChain carries it: a trusted context, and untrusted labels.

A context counts only as an instance of `Context`, which no text from outside can be. Names that begin
with `llmgate` are llmgate's own: one that it does not know is refused, since going on without a misspelt
context could serve a call where it must not be served.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from langchain_core.runnables.config import CONFIG_KEYS, RunnableConfig, var_child_runnable_config

from llmgate_plugins.context import Context, refuse_context
from llmgate_plugins.types import EMPTY

__all__ = [
    "CALL_ID_KEY",
    "CONTEXT_KEY",
    "OURS",
    "SESSION_KEY",
    "ambient",
    "call_id_in",
    "configured",
    "context_in",
    "labels",
    "reserved",
    "session_in",
    "words_in",
]

CONTEXT_KEY: Final = "llmgate_context"
CALL_ID_KEY: Final = "llmgate_call_id"
SESSION_KEY: Final = "llmgate_session"
OURS: Final = "llmgate"
"""What the names that are llmgate's own begin with."""
CONFIGURED: Final = (CONTEXT_KEY, CALL_ID_KEY)
_CONFIG_KEYS: Final = frozenset(CONFIG_KEYS)
MOST_LABELS: Final = 32
LONGEST_LABEL: Final = 256
NOT_LABELS: Final = ("lc_", "ls_", "__", "langgraph_checkpoint", "langgraph_path", "langgraph_triggers")
SECRET_WORDS: Final = ("api_key", "apikey", "secret", "password", "token", "authorization")


def configured(config: RunnableConfig | None) -> Mapping[str, Any]:
    """What the application configured for this run alone: `config["configurable"]`.

    What stands in the configuration beside the core's own keys belongs to it, as in the core.

    Raises:
        TypeError: A name of llmgate's own is misspelt.
    """
    if not config:
        return EMPTY
    found: Mapping[str, Any] = config.get("configurable") or EMPTY
    if not config.keys() <= _CONFIG_KEYS:
        found = {**found, **{key: value for key, value in config.items() if key not in _CONFIG_KEYS}}
    if found:
        reserved(found, CONFIGURED, 'config["configurable"]')
    return found


def context_in(configurable: Mapping[str, Any]) -> Context | None:
    """The context that the application put there as "llmgate_context".

    Raises:
        TypeError: Something else stands in its place.
    """
    found = configurable.get(CONTEXT_KEY)
    if found is None or isinstance(found, Context):
        return found
    raise refuse_context(found, f'config["configurable"]["{CONTEXT_KEY}"]')


def reserved(given: Iterable[Any], known: Sequence[str], where: str) -> None:
    """Check that no name is llmgate's but those that it knows here.

    Args:
        given: The names that were given.
        known: Those of llmgate's that may be among them.
        where: Where they stand, for the error.

    Raises:
        TypeError: There is another.
    """
    for name in given:
        if isinstance(name, str) and name not in known and name[: len(OURS)].lower() == OURS:
            near = difflib.get_close_matches(name.lower(), CONFIGURED, n=1, cutoff=0)[0]
            remedy = f"did you mean {near}?" if near in known else f'{near} goes into config["configurable"]'
            raise TypeError(f"{where} has {name}, which llmgate does not know there; {remedy}")


def call_id_in(configurable: Mapping[str, Any]) -> str | None:
    """The id that the application put there as "llmgate_call_id".

    Never from the configuration of the chain or graph around it: one id is for one call.

    Raises:
        TypeError: It is not a text.
    """
    found = configurable.get(CALL_ID_KEY)
    if found is None or (isinstance(found, str) and found):
        return found
    raise TypeError(f'config["configurable"]["{CALL_ID_KEY}"] must be a text, not {found!r}')


def session_in(configurable: Mapping[str, Any]) -> str | None:
    """The conversation that a run belongs to: `session_id` or `thread_id` of its configuration.

    Whoever calls a graph chooses it, so it is no identity: it keeps calls together, and nothing more.
    """
    found = configurable.get("session_id") or configurable.get("thread_id")
    return None if found is None else str(found)[:LONGEST_LABEL]


def ambient() -> Mapping[str, Any]:
    """What is configured for the chain or graph that this code runs in."""
    return configured(var_child_runnable_config.get())


def labels(tags: Sequence[str] | None, *metadata: Mapping[str, Any] | None) -> Mapping[str, str]:
    """Tags and metadata of a run as labels: short plain values only, nothing internal, nothing secret.

    Raises:
        TypeError: There is a context in the metadata, where it could have come from outside.
    """
    found: dict[str, str] = {"tags": ",".join(tags)[:LONGEST_LABEL]} if tags else {}
    for given in metadata:
        if not given:
            continue
        reserved(given, (CALL_ID_KEY,), 'config["metadata"]')
        for key, value in given.items():
            if len(found) >= MOST_LABELS:
                return found
            if isinstance(value, str | int | float) and _is_label(key):
                found[key] = str(value)[:LONGEST_LABEL]
    return found or EMPTY


def _is_label(key: str) -> bool:
    lower = key.lower()
    return not lower.startswith(NOT_LABELS) and not any(word in lower for word in SECRET_WORDS)


def words_in(configurable: Mapping[str, Any], names: Sequence[str], prefix: str) -> dict[str, Any]:
    """Call arguments that the application lets the run's configuration choose.

    Args:
        names: Which ones.
        prefix: Stands before each name there.
    """
    return {name: configurable[prefix + name] for name in names if prefix + name in configurable}
