"""Deployments from chat models that the application made itself."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from langchain_core.language_models import BaseChatModel

from langchain_llmgate._providers import litellm_without_retries
from langchain_llmgate._vocabulary import family_of
from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.types import Deployment
from llmgate_plugins.usage import LENGTHS, PRICED

if TYPE_CHECKING:
    from llmgate_plugins.catalog import Catalog

__all__ = ["ModelLike", "deployments_of"]

ModelLike = BaseChatModel | Callable[[], BaseChatModel] | str

PINNABLE: Final = frozenset({"openai", "anthropic", "litellm"})
"""Families whose copies really stop retrying when `max_retries` is 0."""


def deployments_of(
    models: Mapping[str, ModelLike | Sequence[ModelLike]], catalog: Catalog, *, ready: Callable[..., Any]
) -> tuple[list[Deployment], dict[str, BaseChatModel]]:
    """The deployments of these models, and the models by deployment id.

    Args:
        models: Alias -> chat models in the order of preference, functions that make one,
            or "provider/model" for one that is built when first used.
        ready: Makes an inner model fit to be one (a nested gate must not report for itself).

    Raises:
        ConfigurationError: No models, or something that is not one.
    """
    deployments: list[Deployment] = []
    given: dict[str, BaseChatModel] = {}
    if not models:
        raise ConfigurationError("no models were given: {'alias': [ChatOpenAI(...), ...]}")
    for alias, members in models.items():
        several = members if isinstance(members, Sequence) and not isinstance(members, str) else [members]
        if not several:
            raise ConfigurationError(f"alias {alias!r} has no models")
        for one in several:
            made = _made(one, alias)
            provider, name = _named(made)
            identity = _unused(f"{alias}/{provider}-{name.replace('/', '-')}", deployments)
            deployments.append(_deployment(identity, alias, provider, name, made, catalog))
            if isinstance(made, BaseChatModel):
                given[identity] = ready(_pinned(made, identity))
    return deployments, given


def _made(one: Any, alias: str) -> BaseChatModel | str:
    made = one() if callable(one) and not isinstance(one, BaseChatModel) else one
    if not isinstance(made, BaseChatModel | str):
        raise ConfigurationError(
            f"alias {alias!r}: {type(made).__name__} is not a chat model; give a BaseChatModel "
            'instance, a function that makes one, or "provider/model"'
        )
    return made


def _named(model: BaseChatModel | str) -> tuple[str, str]:
    """Provider and model, by LiteLLM's names where LangChain's differ from them."""
    if isinstance(model, str):
        provider, _, name = model.replace(":", "/", 1).partition("/")
        if not name:
            raise ConfigurationError(f'{model!r} names no provider; write "provider/model"')
        return provider, name
    told = model._get_ls_params()
    provider = str(told.get("ls_provider") or "unknown")
    name = str(told.get("ls_model_name") or model._llm_type)
    head, slash, rest = name.partition("/")
    if provider == "litellm" and slash and rest:
        return head, rest
    return provider, name


def _unused(name: str, deployments: Sequence[Deployment]) -> str:
    taken = {deployment.id for deployment in deployments}
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    return found


def _deployment(
    identity: str, alias: str, provider: str, name: str, model: BaseChatModel | str, catalog: Catalog
) -> Deployment:
    card = catalog.lookup(provider, name)
    profile = (model.profile if isinstance(model, BaseChatModel) else None) or {}
    most = profile.get("max_output_tokens") or (card.max_output if card else None)
    return Deployment(
        id=identity,
        alias=alias,
        provider=provider,
        model=name,
        price=card.price if card is not None else None,
        context_window=profile.get("max_input_tokens") or (card.context_window if card else None),
        max_output=most,
        capabilities=card.capabilities if card is not None else frozenset(),
        params=_own_words(model, most) if isinstance(model, BaseChatModel) else {},
    )


def _own_words(model: BaseChatModel, most: int | None) -> dict[str, Any]:
    """What the model was made with that decides what a call costs; it sends that by itself.

    A length that is all it can write bounds nothing: `ChatAnthropic` names that where nobody
    chose one, and what is usual is far from it.
    """
    further = getattr(model, "model_kwargs", None)
    said = dict(further) if isinstance(further, Mapping) else {}
    said |= {name: getattr(model, name, None) for name in model.model_fields_set}
    return {
        name: said[name]
        for name in PRICED
        if said.get(name) is not None and not (name in LENGTHS and said[name] == most)
    }


def _pinned(model: BaseChatModel, identity: str) -> BaseChatModel:
    """A copy that retries nothing and reports the usage of streams; the model itself if it does so."""
    _check_bypassed(model, identity)
    update: dict[str, Any] = {}
    fields = type(model).model_fields
    if "max_retries" in fields and model.max_retries != 0:  # type: ignore[attr-defined]
        update["max_retries"] = 0
    if "stream_usage" in fields and model.stream_usage is None:  # type: ignore[attr-defined]
        update["stream_usage"] = True
    if not update:
        return model
    family = family_of(model)
    if "max_retries" in update and family not in PINNABLE:
        if model.max_retries:  # type: ignore[attr-defined]
            warnings.warn(
                f"{identity}: {type(model).__name__} retries by itself (max_retries="
                f"{model.max_retries}), which multiplies with the gateway's retries; "  # type: ignore[attr-defined]
                "make it with max_retries=0",
                stacklevel=5,
            )
        del update["max_retries"]
    copy = model.model_copy(update=update)
    if "max_retries" in update:
        _without_retries(copy, family)
    return copy


def _without_retries(copy: BaseChatModel, family: str) -> None:
    """Clients that were made with the old setting are made, or derived, anew."""
    state = copy.__dict__
    for kind in type(copy).__mro__:
        for name, attribute in vars(kind).items():
            if isinstance(attribute, functools.cached_property):
                state.pop(name, None)
    if family == "litellm":
        provider, _ = _named(copy)
        state["model_kwargs"] = {**state["model_kwargs"], **litellm_without_retries(provider)}
    for root, client in (("root_client", "client"), ("root_async_client", "async_client")):
        made = state.get(root)
        if made is not None:
            state[root] = made.with_options(max_retries=0)
            state[client] = state[root].chat.completions


def _check_bypassed(model: BaseChatModel, identity: str) -> None:
    """An inner model is asked flat: what LangChain does around a call happens on the gate alone."""
    settings = ("cache", "callbacks")
    bypassed = [name for name in settings if getattr(model, name, None) not in (None, False)]
    if bypassed:
        warnings.warn(
            f"{identity}: {' and '.join(bypassed)} of the inner {type(model).__name__} have no effect; "
            "set them on ChatLLMGate",
            stacklevel=6,
        )
