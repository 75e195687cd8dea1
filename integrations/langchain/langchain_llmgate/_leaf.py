"""One deployment's inner chat model, and the words in which it wants to be asked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableBinding, RunnableSequence
from pydantic import SecretStr

from langchain_llmgate._history import History
from langchain_llmgate._litellm_streams import watched
from langchain_llmgate._patience import Patience
from langchain_llmgate._tools import BoundTools, Structure, structure_of
from langchain_llmgate._vocabulary import (
    ALWAYS_SAY_WHY,
    STRUCTURE_DEFAULTS,
    clean_tool,
    family_of,
    fitted,
    for_client,
    takes_markers,
)
from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.foreign import profile_of
from llmgate_plugins.secrets import conceal
from llmgate_plugins.types import EMPTY, Deployment
from llmgate_plugins.usage import merged_params

__all__ = ["Leaf"]

KEPT_TRANSLATIONS: Final = 256


class Leaf:
    """An inner chat model with everything about it that is the same for every call.

    Args:
        says_itself: Whether the deployment's parameters are what the model was made with, and so
            sends without being told.

    Attributes:
        family: Which client it calls ("openai", "anthropic", "litellm"), or "".
        streams, astreams: Whether it streams, at all and in an event loop.
        always_ends: Its streams always say why they ended.
        provider: LangChain's name of the provider ("openai", "google_genai", ...).
        patience: How long its client is told to wait.
    """

    def __init__(self, deployment: Deployment, model: BaseChatModel, *, says_itself: bool = False) -> None:
        kind = type(model)
        _conceal_keys(model)
        self.deployment = deployment
        self._fixed: Mapping[str, Any] = EMPTY if says_itself else deployment.params
        self.family = family_of(model)
        self._own_length = self.family == "litellm" and getattr(model, "max_tokens", None) is not None
        self.model = watched(model) if self.family == "litellm" else model
        self.streams = kind._stream is not BaseChatModel._stream
        self.astreams = self.streams or kind._astream is not BaseChatModel._astream
        self.always_ends = self.family in ALWAYS_SAY_WHY
        self.provider = str(model._get_ls_params().get("ls_provider") or deployment.provider)
        self.takes_manager = {
            name: _takes(getattr(kind, name), "run_manager")
            for name in ("_generate", "_agenerate", "_stream", "_astream")
        }
        self._keeps_markers = takes_markers(model, self.family)
        self._history = History(
            "" if self.family == "litellm" else profile_of(deployment).family or self.family,
            deployment.provider,
            keeps_markers=self._keeps_markers,
        )
        self._bind_words = frozenset(inspect.signature(kind.bind_tools).parameters)
        self._memo: dict[Any, tuple[Any, Any]] = {}
        self.patience = Patience(model, self.family)

    def prompt(self, messages: Sequence[BaseMessage], changes: list[str] | None = None) -> list[BaseMessage]:
        """The messages as this model takes them; what that changed is added to `changes` (once)."""
        return self._history.fitted(messages, [] if changes is None else changes)

    def words(self, asked: Mapping[str, Any], changes: list[str] | None = None) -> dict[str, Any]:
        """The call's words as this model takes them: translated, and without what it refuses.

        Args:
            asked: In the OpenAI vocabulary.
            changes: One short sentence is added for each change that it does not tell yet.
        """
        fixed, found = self._fixed, list[str]()
        taken = fitted(asked, self.deployment, self.family, found)
        words = merged_params(fixed, taken) if fixed else dict(taken)
        if "max_completion_tokens" in words and self._own_length:
            words["max_tokens"] = words.pop("max_completion_tokens")  # else both of them are sent
        if "tools" in words or "response_format" in words:
            words = self._translated(words)
        words = for_client(words, self.model, self.deployment, self.family, found)
        if asked.get("extra_headers"):
            _check_headers(asked["extra_headers"])
        if found and changes is not None:
            changes.extend(change for change in found if change not in changes)
        return words

    def own_name(self, served: str | None) -> str | None:
        """The deployment's name of the model, where the inner one says the same in other words."""
        model = self.deployment.model
        if served == f"{self.deployment.provider}/{model}":
            return model
        return served

    def parser(self, structure: Structure) -> Runnable[Any, Any]:
        """What turns this model's answer into the structure."""
        return self._structured(structure)[1]

    def _translated(self, words: dict[str, Any]) -> dict[str, Any]:
        structure = structure_of(words)
        tools, shape = words.pop("tools", None), words.pop("response_format", None)
        if structure is not None:
            words.pop("tool_choice", None)
            return {**words, **self._structured(structure)[0]}
        if not tools:
            words.pop("tool_choice", None)
            words.pop("parallel_tool_calls", None)
            return words if shape is None else {**words, "response_format": shape}
        choice, parallel = words.pop("tool_choice", None), words.pop("parallel_tool_calls", None)
        bound = tools if isinstance(tools, BoundTools) else BoundTools(tools)
        key = (bound.key, repr(choice), parallel, repr(shape))
        return {**words, **self._remembered(key, bound, lambda: self._tools(bound, choice, parallel, shape))}

    def _tools(self, tools: BoundTools, choice: Any, parallel: bool | None, shape: Any) -> dict[str, Any]:
        """The inner model's own words for tools, from its own `bind_tools`."""
        told: dict[str, Any] = {}
        raw: Sequence[Any] = tools.raw
        if tools.strict is not None:
            if "strict" in self._bind_words:
                told["strict"] = tools.strict
            else:
                raw = tools  # made strict when they were bound
        if not self._keeps_markers:
            raw = [clean_tool(tool) for tool in raw]
        if choice is not None:
            told["tool_choice"] = _choice(choice, self.family)
        if parallel is not None:
            told["parallel_tool_calls"] = parallel
        by_binding = shape is not None and "response_format" in self._bind_words and not _is_json_mode(shape)
        if by_binding:
            told["response_format"] = shape
        words = _bound_words(self.model.bind_tools(list(raw), **told))
        if shape is not None and not by_binding:
            words["response_format"] = shape
        return words

    def _structured(self, structure: Structure) -> tuple[dict[str, Any], Runnable[Any, Any]]:
        made: tuple[dict[str, Any], Runnable[Any, Any]] = self._remembered(
            structure, structure, lambda: self._structure(structure)
        )
        return made

    def _structure(self, structure: Structure) -> tuple[dict[str, Any], Runnable[Any, Any]]:
        """The inner model's own words and its own parser, from its own `with_structured_output`.

        A method that it does not know is replaced by a forced tool call, which all know.
        """
        options = {**STRUCTURE_DEFAULTS.get(self.family, {}), **structure.options}
        if structure.method is not None:
            options["method"] = structure.method
        try:
            return _taken_apart(self.model.with_structured_output(structure.schema, **options))
        except (TypeError, ValueError, NotImplementedError):
            return _taken_apart(BaseChatModel.with_structured_output(self.model, structure.schema))

    def _remembered(self, key: Any, owner: Any, make: Callable[[], Any]) -> Any:
        """Made once per key. `owner` is kept alive as long, since the key may hold ids of its parts."""
        found = self._memo.get(key)
        if found is None:
            if len(self._memo) >= KEPT_TRANSLATIONS:
                self._memo.clear()
            found = self._memo[key] = (make(), owner)
        return found[0]


def _taken_apart(chain: Any) -> tuple[dict[str, Any], Runnable[Any, Any]]:
    """`model.bind(...) | parser` as its words and its parser."""
    if not isinstance(chain, RunnableSequence):
        raise TypeError(f"with_structured_output gave a {type(chain).__name__}, not a sequence")
    words = _bound_words(chain.first)
    rest = [*chain.middle, chain.last]
    return words, rest[0] if len(rest) == 1 else RunnableSequence(*rest)


def _bound_words(binding: Any) -> dict[str, Any]:
    if not isinstance(binding, RunnableBinding):
        raise TypeError(f"the inner model's binding is a {type(binding).__name__}, not a RunnableBinding")
    words = {key: value for key, value in binding.kwargs.items() if key not in TRACED_ONLY}
    if not words.get("tools"):
        words.pop("tools", None)
    if words.get("tool_choice", True) is None:
        del words["tool_choice"]
    return words


TRACED_ONLY: Final = frozenset({"ls_structured_output_format", "structured_output_format"})


def _choice(choice: Any, family: str) -> Any:
    """A tool choice in any provider's shape -> "auto", "any", "none" or a tool's name."""
    if isinstance(choice, dict):
        function = choice.get("function") or choice
        kind = choice.get("type")
        choice = function.get("name", kind)
    if choice is True or choice == "required":
        return "any"
    if choice == "none" and family == "anthropic":
        return {"type": "none"}
    return choice


def _is_json_mode(shape: Any) -> bool:
    return isinstance(shape, Mapping) and shape.get("type") == "json_object"


def _takes(function: Any, name: str) -> bool:
    return name in inspect.signature(function).parameters


CREDENTIALS: Final = frozenset(
    {"authorization", "proxy-authorization", "api-key", "x-api-key", "x-goog-api-key", "cookie", "host"}
)


def _check_headers(headers: Mapping[str, Any]) -> None:
    bound = sorted(name for name in headers if name.lower() in CREDENTIALS)
    if bound:
        raise ConfigurationError(
            f"{', '.join(bound)} cannot be given with a call: credentials belong to the deployment"
        )


def _conceal_keys(model: BaseChatModel) -> None:
    """Make the keys of a given model known for masking: no `Secret` was revealed for them."""
    for name in type(model).model_fields:
        value = getattr(model, name, None)
        if isinstance(value, SecretStr):
            conceal(value.get_secret_value())
        elif isinstance(value, str) and name.endswith(("api_key", "_token", "_secret")):
            conceal(value)
