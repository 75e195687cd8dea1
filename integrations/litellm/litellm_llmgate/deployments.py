"""The router's `model_list` entries as deployments, each built once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import litellm

from llmgate_plugins.catalog import Catalog, price_from_config
from llmgate_plugins.secrets import Secret, conceal
from llmgate_plugins.types import EMPTY, Deployment, Endpoint
from llmgate_plugins.usage import PRICED

__all__ = ["DeploymentBook"]

Entry = Mapping[str, Any]

MOST_KEPT: Final = 10_000
"""Wildcard entries make a deployment per model name that callers send; the oldest are dropped."""

_REGIONS: Final = ("region", "region_name", "aws_region_name", "vertex_location")
_CAPABILITY: Final = {
    "supports_function_calling": "tools",
    "supports_vision": "vision",
    "supports_response_schema": "json_schema",
    "supports_reasoning": "reasoning",
    "supports_assistant_prefill": "assistant_prefill",
}
_PRICED: Final = (*PRICED, "pages", "quality", "seconds", "size")
_SECRET: Final = re.compile(r"key|token|secret|passw|auth|credential|cookie", re.IGNORECASE)
_LIMITS: Final = ("rpm", "tpm", "input_tpm", "output_tpm", "max_parallel_requests")
_NOT_SHOWN: Final = frozenset({"db_model", "created_by", "updated_by"})


class DeploymentBook:
    """Finds the deployment for an entry of the router's list; notices when the entry changed.

    Args:
        catalog: For prices and capabilities that the entry does not name.
        known: Deployments that the gateway was built with. What they say of an entry with the
            same id and model counts where the entry says nothing.
    """

    def __init__(self, catalog: Catalog, known: Mapping[str, Deployment] = EMPTY) -> None:
        self._catalog = catalog
        self._known = known
        self._built: dict[tuple[str, str], tuple[Callable[[], Entry], Deployment]] = {}  # shows no key

    def of(self, entry: Entry) -> Deployment:
        """The deployment that this entry describes: the same object as long as it says the same."""
        params = entry["litellm_params"]
        key = (entry["model_info"]["id"], params["model"])
        found = self._built.get(key)
        if found is not None and ((said := found[0]()) is params or said == params):
            return found[1]
        deployment = self._build(entry)
        known = self._known.get(deployment.id)
        if known is not None and (known.provider, known.model) == (deployment.provider, deployment.model):
            deployment = _joined(known, deployment)
        while len(self._built) >= MOST_KEPT:
            self._built.pop(next(iter(self._built)), None)
        self._built[key] = (lambda: params), deployment
        return deployment

    def _build(self, entry: Entry) -> Deployment:
        params, info = entry["litellm_params"], entry["model_info"]
        provider, model = _provider_and_model(params)
        base = info.get("base_model")
        region = next(
            (str(value) for name in _REGIONS if (value := info.get(name) or params.get(name))), None
        )
        card = self._catalog.lookup(provider, base or model, region=params.get("aws_region_name"))
        price = price_from_config({**info, **_prices(params)}, base=card.price if card else None)
        return Deployment(
            id=str(info["id"]),
            alias=entry["model_name"],
            provider=provider,
            model=model,
            region=region,
            data_classes=_words(info.get("data_classes")),
            terms=_words(info.get("terms")) or frozenset(),
            price=price or (card.price if card else None),
            context_window=info.get("max_input_tokens") or (card.context_window if card else None),
            max_output=info.get("max_output_tokens") or (card.max_output if card else None),
            capabilities=_capabilities(info, card.capabilities if card else frozenset()),
            weight=float(params.get("weight") or 1.0),
            params={name: params[name] for name in _PRICED if params.get(name) is not None},
            endpoint=_endpoint(params),
            info={
                **{name: params[name] for name in _LIMITS if params.get(name) is not None},
                **_prices(params),
                **{n: value for n, value in info.items() if n not in _NOT_SHOWN and value is not None},
            },
        )


def _words(written: Any) -> frozenset[str] | None:
    """What is declared as one word or a list of them; None if nothing is."""
    if written is None:
        return None
    return frozenset([written] if isinstance(written, str) else map(str, written))


def _joined(known: Deployment, entry: Deployment) -> Deployment:
    """The entry's word first; then what the gateway's own configuration knows of it."""
    return replace(
        entry,
        region=entry.region or known.region,
        data_classes=known.data_classes if entry.data_classes is None else entry.data_classes,
        terms=entry.terms | known.terms,
        price=known.price if known.price and known.price.source == "config" else entry.price,
        capabilities=entry.capabilities | known.capabilities,
        info={**known.info, **entry.info},
    )


def _provider_and_model(params: Entry) -> tuple[str, str]:
    try:
        model, provider, _, _ = litellm.get_llm_provider(
            model=params["model"],
            custom_llm_provider=params.get("custom_llm_provider"),
            api_base=params.get("api_base"),
        )
    except litellm.BadRequestError:  # LiteLLM does not know it either until it is called
        provider, _, model = str(params["model"]).rpartition("/")
    return provider or "unknown", model


def _prices(params: Entry) -> dict[str, Any]:
    return {name: value for name, value in params.items() if "_cost" in name and value is not None}


def _capabilities(info: Entry, catalogued: frozenset[str]) -> frozenset[str]:
    stated = info.get("capabilities")
    if stated is not None:
        return frozenset(str(one) for one in stated)
    said = {name: info[flag] for flag, name in _CAPABILITY.items() if isinstance(info.get(flag), bool)}
    return (catalogued | {name for name, has in said.items() if has}) - {
        n for n, has in said.items() if not has
    }


def _endpoint(params: Entry) -> Endpoint:
    """Address and key. LiteLLM sends them by itself, so whatever is secret is made known here for masking."""
    headers = params.get("extra_headers") or EMPTY
    for name, value in (*params.items(), *headers.items()):
        if isinstance(value, str) and _SECRET.search(name):
            conceal(value)
    key = params.get("api_key")
    return Endpoint(
        base_url=params.get("api_base"), api_key=Secret(key) if isinstance(key, str) and key else None
    )
