"""A gate's settings, and how a call asks to be let in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, get_args

from langchain_core.caches import BaseCache
from langchain_core.globals import get_llm_cache
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from pydantic import Field, InstanceOf, field_validator

from langchain_llmgate._admission import ADMISSION, Admission, ask
from langchain_llmgate._caller import (
    CALL_ID_KEY,
    CONTEXT_KEY,
    OURS,
    SESSION_KEY,
    ambient,
    call_id_in,
    configured,
    context_in,
    labels,
    reserved,
    session_in,
    words_in,
)
from llmgate_plugins.context import Context, refuse_context
from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.types import OnBreak, Request

__all__ = ["PRIVATE", "GateSettings"]

PRIVATE: Final = (ADMISSION, CONTEXT_KEY, CALL_ID_KEY, SESSION_KEY)
"""Call arguments of our own, which no trace, cache key or inner model sees."""

ON_BREAK: Final = get_args(OnBreak)


class GateSettings(BaseChatModel):
    """What a gate is told once, described in `ChatLLMGate`, and what it makes of each call."""

    model: str
    temperature: float | None = None
    max_tokens: int | None = None
    stop: list[str] | None = Field(default=None, alias="stop_sequences")
    timeout: float | None = None
    on_break: OnBreak | None = None
    streaming: bool = False
    context: InstanceOf[Context] | None = Field(default=None, exclude=True, repr=False)
    annotate: bool = True
    configurable: tuple[str, ...] = ()
    config_prefix: str = ""
    gateway: Any = Field(default=None, exclude=True, repr=False)
    fleet: Any = Field(default=None, exclude=True, repr=False)

    @field_validator("context", mode="before")
    @classmethod
    def _made_by_the_application(cls, context: object) -> object:
        if context is not None and not isinstance(context, Context):
            raise ValueError(str(refuse_context(context)))  # as which pydantic tells it
        return context

    @field_validator("config_prefix")
    @classmethod
    def _not_llmgates_own(cls, prefix: str) -> str:
        if prefix.lower().startswith(OURS):
            raise ConfigurationError(
                f"config_prefix {prefix!r}: names that begin with {OURS} are its own; take another"
            )
        return prefix

    def _heard(self, config: RunnableConfig | None, words: dict[str, Any]) -> dict[str, Any]:
        """The call's words, with what the run's configuration says of who is calling."""
        own = configured(config)
        context = context_in(own)
        if context is not None:
            words = {CONTEXT_KEY: context, **words}
        call_id = call_id_in(own)
        if call_id is not None:
            words = {CALL_ID_KEY: call_id, **words}
        session = session_in(own)
        if session is not None:
            words = {SESSION_KEY: session, **words}
        if self.configurable:
            chosen = {**ambient(), **own}
            words = {**words_in(chosen, self.configurable, self.config_prefix), **words}
        return words

    def _asked(
        self,
        messages: Sequence[BaseMessage],
        stop: list[str] | None,
        words: Mapping[str, Any],
        tags: Mapping[str, str],
        *,
        stream: bool,
    ) -> tuple[Request, dict[str, Any]]:
        """The neutral request, and who is calling, under which id, as `Gateway.admit` takes it.

        The run's configuration wins over the gate's own.

        Raises:
            ConfigurationError: There is no such `on_break`.
            TypeError: A word of llmgate's own is misspelt.
        """
        reserved(words, PRIVATE, "the call")
        params = dict(words)
        around = ambient()
        if self.temperature is not None:
            params.setdefault("temperature", self.temperature)
        if self.max_tokens is not None:
            params.setdefault("max_tokens", self.max_tokens)
        stop = stop or self.stop
        if stop:
            params["stop"] = stop
        told = {
            "context": params.pop(CONTEXT_KEY, None) or context_in(around) or self.context,
            "call_id": params.pop(CALL_ID_KEY, None),
        }
        session = params.pop(SESSION_KEY, None) or session_in(around)
        on_break = params.pop("on_break", None) or self.on_break
        if on_break is not None and on_break not in ON_BREAK:
            raise ConfigurationError(f"on_break must be one of {', '.join(ON_BREAK)}, not {on_break!r}")
        asked = ask(
            params.pop("model", None) or self.model,
            messages,
            params,
            tags=tags,
            stream=stream,
            session=session,
            timeout=params.pop("timeout", self.timeout),
            on_break=on_break,
        )
        return asked, told

    def _admitted(
        self, input: Any, config: RunnableConfig, stop: Any, words: dict[str, Any], *, async_api: bool
    ) -> Any:
        """The admitted call and the request it was admitted for."""
        asked, told = self._asked_to_stream(input, config, stop, words, async_api=async_api)
        return self.gateway.admit(asked, **told), asked

    async def _aadmitted(
        self, input: Any, config: RunnableConfig, stop: Any, words: dict[str, Any]
    ) -> Admission:
        asked, told = self._asked_to_stream(input, config, stop, words, async_api=True)
        return Admission(self.gateway, await self.gateway.aadmit(asked, **told), asked)

    def _asked_to_stream(
        self, input: Any, config: RunnableConfig, stop: Any, words: dict[str, Any], *, async_api: bool
    ) -> tuple[Request, dict[str, Any]]:
        return self._asked(
            self._convert_input(input).to_messages(),
            stop,
            words,
            labels(config.get("tags"), config.get("metadata")),
            stream=self._should_stream(async_api=async_api, **{**words, "stream": True}),
        )

    @property
    def _asks_cache(self) -> bool:
        """Whether the core asks a cache first."""
        return isinstance(self.cache, BaseCache) or (self.cache is not False and get_llm_cache() is not None)

    def _on(self, admission: Admission) -> dict[str, Any]:
        """What the core hands on to `_generate` and its like; traces and caches see another model's name."""
        given = admission.handed_on
        if admission.call.request.model != self.model:
            given["model"] = admission.call.request.model
        return given
