"""`ChatLLMGate`: many chat models behind one, with policy, failover and books."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, ClassVar, Final, Self, cast

from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.messages import BaseMessage
from langchain_core.messages.utils import count_tokens_approximately
from pydantic import ConfigDict, Field, model_validator

from langchain_llmgate._admitting import PRIVATE
from langchain_llmgate._binding import GateBinding
from langchain_llmgate._fingerprint import fingerprint
from langchain_llmgate._fleet import Fleet, fleet_of
from langchain_llmgate._models import ModelLike, deployments_of
from langchain_llmgate._profile import profile_of
from langchain_llmgate._providers import provider_name
from langchain_llmgate._tools import structure_of
from langchain_llmgate._transport import ChatTransport
from llmgate_plugins.context import Context
from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.gateway import Gateway
from llmgate_plugins.policies import asked_by
from llmgate_plugins.services import SystemClock
from llmgate_plugins.types import EMPTY

__all__ = ["ChatLLMGate"]

SERVICES: Final = frozenset(
    {"deadline", "defaults", "catalog", "clock", "random", "sleeper", "state", "ledger"}
)
BELONGS_TO_DEPLOYMENTS: Final = frozenset(
    {"api_key", "max_retries", "base_url", "model_provider", "stream_usage", "n", "top_p"}
)
"""Arguments that other chat models take. A gate takes them too, and leaves them to its deployments."""
_OTHER_NAMES: Final = {
    "model_name": "model",
    "request_timeout": "timeout",
    "max_completion_tokens": "max_tokens",
}
"""What `ChatOpenAI` takes under either name: whoever swaps it changes the class alone."""


class ChatLLMGate(GateBinding):
    """A chat model that sends each call to one of many: chosen, guarded, failed over and booked by a gateway.

    Give it a configuration, a gateway, or (by `from_models`) the chat models themselves:

        ChatLLMGate(model="fast", config="llmgate.yaml")
        ChatLLMGate(model="fast", gateway=gateway)
        ChatLLMGate.from_models({"fast": [ChatOpenAI(...), ChatAnthropic(...)]})

    Use it as any other chat model. `response_metadata["llmgate"]` of an answer says which
    deployment served, after which attempts, and at what cost.

    Attributes:
        model: The alias to ask for, or a deployment's id. `model=` of a call wins.
        temperature, max_tokens, stop: As of any chat model; those of a call win.
        timeout: Seconds that a call may take with all its attempts; it can only
            shorten the gateway's deadline.
        on_break: What happens when a stream breaks after its first content: "raise" ends it with
            `StreamInterrupted`; "resume" goes on with it elsewhere as one whole answer;
            "restart" says so in a chunk and begins anew; "hold" gives nothing out before
            the answer is whole. None: as the gateway does, "raise" unless told otherwise.
        streaming: Read answers as streams in `invoke`, too.
        context: Who is calling, for all calls of this model. A context of the run wins:
            `config={"configurable": {"llmgate_context": Context(...)}}`. Without either,
            that of `use_context` counts.
        annotate: Whether answers carry `response_metadata["llmgate"]`.
        configurable: Names among "model", "temperature", "max_tokens", "timeout", "stop" and
            "on_break" that `config["configurable"]` may set, each with `config_prefix` before it.
        config: `llmgate.yaml`, a LiteLLM `config.yaml`, or a mapping of that shape.
        plugins: Run before those that the configuration names. Only with `config`.
        gateway: A gateway to share; several models over one share its health, budgets and clients.

    Raises:
        RequestDenied: A policy said no; nothing was sent.
        AllDeploymentsUnavailable: Nothing could be tried.
        StreamInterrupted: A stream broke after its first content.
        Exception: The first attempt's own error, with a note per attempt.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, populate_by_name=True)

    config: Any = Field(default=None, exclude=True, repr=False)
    plugins: Any = Field(default=(), exclude=True, repr=False)

    CONFIGURABLE: ClassVar[frozenset[str]] = frozenset(
        {"model", "temperature", "max_tokens", "timeout", "stop", "on_break"}
    )

    # ------------------------------------------------------------ making one

    @classmethod
    def from_models(
        cls,
        models: Mapping[str, ModelLike | Sequence[ModelLike]],
        model: str | None = None,
        *,
        plugins: Sequence[object] = (),
        fallbacks: Mapping[str, Sequence[str]] = EMPTY,
        aliases: Mapping[str, str] = EMPTY,
        **settings: Any,
    ) -> Self:
        """A gate over chat models that the application made.

        Args:
            models: Alias -> chat models in the order of preference. Also understood:
                functions that make one, and "provider/model", built when first used.
            model: The alias to ask for; default: the first.
            plugins: Run in this order, before the built-in ones.
            fallbacks: Alias -> aliases to fall back to, in order.
            aliases: Another name -> an alias.
            settings: Further arguments of `Gateway` (`deadline`, `state`, `ledger`, ...)
                and of this class.

        Raises:
            ConfigurationError: Names that lead nowhere, no models, not a chat model.
            PluginRefused: A plugin does not fit the contract.
        """
        services = {name: settings.pop(name) for name in SERVICES & settings.keys()}
        services.setdefault("catalog", _catalog())
        deployments, given = deployments_of(models, services["catalog"], ready=_nested)
        fleet = Fleet(given)
        gateway = Gateway(
            deployments,
            plugins=plugins,
            fallbacks=fallbacks,
            aliases=aliases,
            transport=ChatTransport(fleet, services.get("clock") or SystemClock()),
            **services,
        )
        fleet_of(gateway, fleet)
        return cls(model=model or next(iter(models)), gateway=gateway, **settings)

    @model_validator(mode="before")
    @classmethod
    def _open_llmgate_gateway(cls, values: Any) -> Any:
        values = dict(values)
        for theirs, ours in _OTHER_NAMES.items():
            if theirs in values and values.get(ours) is None:
                values[ours] = values.pop(theirs)
        fields = cls.model_fields
        known = fields.keys() | {field.alias for field in fields.values()} | BELONGS_TO_DEPLOYMENTS
        unknown = sorted(values.keys() - known)
        if unknown:
            warnings.warn(f"ChatLLMGate does not know {', '.join(unknown)}; ignored", stacklevel=4)
        if values.get("gateway") is None:
            if values.get("config") is None:
                raise ConfigurationError(
                    "ChatLLMGate needs config=, gateway=, or ChatLLMGate.from_models({...})"
                )
            if isinstance(values["config"], Mapping):
                from llmgate_plugins.config import load_config  # only where one is in use

                values["config"] = load_config(values["config"])  # kept for pickling, and shows no key
            values["gateway"] = Gateway.from_config(values["config"], plugins=values.get("plugins") or ())
        elif not isinstance(values["gateway"], Gateway):
            raise ConfigurationError(
                f"gateway= takes a Gateway, not {type(values['gateway']).__name__}; "
                "a file or a mapping goes to config="
            )
        values["fleet"] = fleet_of(values["gateway"])
        given = values.get("profile")
        if given is not None and any(given is made for made in values["fleet"].profiles.values()):
            del values["profile"]  # of the model this one is made from, which may ask for another alias
        return values

    @model_validator(mode="after")
    def _check_llmgate_settings(self) -> Self:
        members = self.gateway.deployments_of(self.model)
        self._add_version("langchain-llmgate", version("langchain-llmgate"))
        refused = set(self.configurable) - self.CONFIGURABLE
        if refused:
            raise ConfigurationError(
                f"{', '.join(sorted(refused))} cannot be configurable; "
                f"only {', '.join(sorted(self.CONFIGURABLE))}"
            )
        given = [self.fleet.given(one.id) for one in members]
        if all(model is not None for model in given) and not any(
            self.fleet.leaf(one).astreams for one in members
        ):
            self.disable_streaming = True
        return self

    # ------------------------------------------------------------ what LangChain asks of a chat model

    @property
    def _llm_type(self) -> str:
        return "llmgate"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        own = {"model": self.model, "temperature": self.temperature, "max_tokens": self.max_tokens}
        return {**own, "stop": self.stop, "gateway": self._fingerprint()}

    def _fingerprint(self) -> str:
        made: str | None = self.fleet.fingerprint
        if made is None:
            made = self.fleet.fingerprint = fingerprint(self.gateway, self.fleet)
        return made

    def _resolve_model_profile(self) -> ModelProfile | None:
        profiles = self.fleet.profiles
        if self.model not in profiles:
            profiles[self.model] = profile_of(self.gateway, self.fleet, self.model)
        return cast("ModelProfile | None", profiles[self.model])

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        """As the core makes them, without its detour over a deprecated method: a tenth of a call."""
        params = {**self._identifying_params, "_type": self._llm_type, "stop": stop, **kwargs}
        for name in PRIVATE:
            params.pop(name, None)
        return params

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        model = kwargs.get("model")
        params = LangSmithParams(
            ls_provider=self._provider(),
            ls_model_name=model if isinstance(model, str) else self.model,
            ls_model_type="chat",
        )
        temperature = kwargs.get("temperature", self.temperature)
        if isinstance(temperature, int | float):
            params["ls_temperature"] = temperature
        most = kwargs.get("max_tokens", self.max_tokens)
        if isinstance(most, int):
            params["ls_max_tokens"] = most
        if stop or self.stop:
            params["ls_stop"] = stop or self.stop or []
        return params

    def _provider(self) -> str:
        """What the deployments have in common, for those who compare it with an answer's `model_provider`."""
        providers = self.fleet.providers
        if self.model not in providers:
            members = self.gateway.deployments_of(self.model)
            names = {provider_name(one, self.fleet.given(one.id)) for one in members}
            providers[self.model] = names.pop() if len(names) == 1 else self._llm_type
        return str(providers[self.model])

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        """The cache key: answers are shared only between calls of equal context, which the same deployments
        may serve, under policies that ask for the same: a kept answer goes nowhere where it could not have
        been made."""
        admission = kwargs.pop(PRIVATE[0], None)
        text = super()._get_llm_string(stop=stop, **kwargs)
        structure = structure_of(kwargs)
        context = admission.call.context if admission is not None else None
        told: dict[str, Any] = {} if context is None else {n: v for n in _FACTS if (v := getattr(context, n))}
        if admission is not None and (asked := asked_by(admission.call.policies)):
            told["policies"] = asked
        if admission is not None and admission.ruled_out:
            told["ruled_out"] = sorted(admission.ruled_out)
        return f"{text}---{structure.key if structure is not None else ''}---{sorted(told.items())}"

    def get_num_tokens(self, text: str) -> int:
        """An estimate that asks nobody."""
        return count_tokens_approximately([text])

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """An estimate. A provider's own counter would be sent the messages past the policy."""
        return count_tokens_approximately(messages, tools=list(tools) if tools else None)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """A copy over the same gateway: its health, budgets and clients are there once."""
        twin = self.model_copy()
        for name in ("stop", "tags", "metadata", "profile"):
            twin.__dict__[name] = copy.deepcopy(self.__dict__[name], memo)
        return twin

    def __reduce__(self) -> Any:
        """Pickled as its configuration; what was made of objects in this process cannot be."""
        if self.config is None:
            raise TypeError(
                "a ChatLLMGate over a gateway or models of this process cannot be pickled; "
                "make it from config="
            )
        left_out = {"gateway", "fleet", "profile", "metadata"}
        fields = {name: self.__dict__[name] for name in self.model_fields_set - left_out}
        return (_remade, (type(self), fields))


_FACTS: Final = tuple(name for name in Context.__dataclass_fields__ if name not in ("priority", "feature"))
"""Facts of a context that set callers apart."""


def _remade(kind: type[ChatLLMGate], fields: dict[str, Any]) -> ChatLLMGate:
    return kind(**fields)


def _catalog() -> Any:
    from llmgate_plugins.catalog import Catalog  # reads tables on demand

    return Catalog()


def _nested(model: Any) -> Any:
    """A gate inside a gate reports to the outer one, which reports to the reader, and begins anew."""
    if not isinstance(model, ChatLLMGate):
        return model
    goes_on = model.on_break if model.on_break in ("resume", "hold") else "raise"
    return model.model_copy(update={"annotate": False, "on_break": goes_on})
