"""What LiteLLM says that calls cost which are not billed by the tokens of a text, before and afterwards."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import litellm

from litellm_llmgate.endpoints import MEDIA
from litellm_llmgate.endpoints.endpoint import Asked, Media
from litellm_llmgate.endpoints.sound import Speech, Transcription
from llmgate_plugins.types import NANO, Deployment, Message, Quote, Request, Usage
from llmgate_plugins.usage import sent_params

__all__ = ["Quotes", "usage_told"]

log = logging.getLogger("llmgate.litellm")

HOST: Final = "litellm"
MOST_USD: Final = 1_000_000


def usage_told(operation: str, answer: Any, deployment: Deployment) -> Usage | None:
    """What an answer used and cost, by the provider's and LiteLLM's word; None where neither knows."""
    media = MEDIA[operation]
    usage = media.usage_in(answer)
    if isinstance(media, Speech) and not media.is_told(_prices(deployment)):
        return usage
    hidden = getattr(answer, "_hidden_params", None)
    usd = hidden.get("response_cost") if isinstance(hidden, dict) else None
    if not usd and isinstance(media, Transcription) and (heard := media.heard(answer)) is not None:
        usd = _cost(media, heard, deployment, Asked((), {}, {}, deployment.model, most=False))
    return _charged(usage, usd)


class Quotes:
    """`Request.quote` of one call: what an answer would cost that is as it is to be expected.

    Args:
        operation: One of `MEDIA`.
        kwargs: What LiteLLM was called with: the files.
    """

    def __init__(self, operation: str, kwargs: Mapping[str, Any]) -> None:
        self._media: Media = MEDIA[operation]
        self._kwargs = kwargs
        self._made: dict[str, tuple[Mapping[str, Any], Sequence[Message], Quote | None]] = {}

    def __call__(self, deployment: Deployment, request: Request) -> Quote | None:
        """Nothing where LiteLLM knows no price: then the text is what there is to go by."""
        known = self._made.get(deployment.id)
        if known is None or known[0] is not request.params or known[1] is not request.messages:
            known = request.params, request.messages, self._quote(deployment, request)
            self._made[deployment.id] = known
        return known[2]

    def _quote(self, deployment: Deployment, request: Request) -> Quote | None:
        try:
            return self._reckoned(deployment, request)
        except Exception:  # what a caller asks for may be anything; the provider will say so
            log.exception("what a call of %s costs at %s cannot be told", request.operation, deployment.id)
            return None

    def _reckoned(self, deployment: Deployment, request: Request) -> Quote | None:
        texts = tuple(message.text for message in request.messages)
        params = sent_params(deployment, request)
        told = []
        for most in (False, True):
            asked = Asked(texts, params, self._kwargs, deployment.model, most)
            usage = self._priced(deployment, asked)
            if usage is None:
                return None
            told.append(usage)
        return Quote(*told)

    def _priced(self, deployment: Deployment, asked: Asked) -> Usage | None:
        for answer in self._media.expected(asked):
            usage = None if answer is None else self._media.usage_in(answer)
            usd = _cost(self._media, answer, deployment, asked)
            if usd or (usage is not None and deployment.price is not None and deployment.price.tells(usage)):
                return _charged(usage, usd)
        return None


def _charged(usage: Usage | None, usd: Any) -> Usage | None:
    """With so many dollars, rounded up; a price of nothing may as well be one that is not known."""
    if isinstance(usd, bool) or not isinstance(usd, int | float) or not 0 < usd <= MOST_USD:
        return usage
    nanos = math.ceil(round(usd * NANO, 3))
    return replace(usage or Usage(), charged=nanos, charged_by=HOST)


def _cost(media: Media, answer: Any, deployment: Deployment, asked: Asked) -> float | None:
    """US dollars by LiteLLM's own reckoning; None where it knows no price."""
    params = asked.params
    try:
        usd = litellm.completion_cost(
            completion_response=answer,
            model=deployment.model,
            custom_llm_provider=deployment.provider,
            call_type=media.call_type,
            prompt=asked.text,
            size=params.get("size"),
            quality=params.get("quality"),
            optional_params=dict(params),
            custom_pricing=bool(_own_prices(deployment)),
            router_model_id=deployment.id,
            base_model=deployment.info.get("base_model"),
        )
    except Exception:  # noqa: BLE001 - whatever its tables cannot look up has no price there
        return None
    besides = (
        media.besides(_prices(deployment), asked.text, most=asked.most) if isinstance(media, Speech) else 0.0
    )
    return float(usd) + besides


def _prices(deployment: Deployment) -> Mapping[str, Any]:
    """LiteLLM's prices of this model, and those that its entry names itself."""
    try:
        named = litellm.get_model_info(
            deployment.info.get("base_model") or deployment.model, custom_llm_provider=deployment.provider
        )
    except Exception:  # noqa: BLE001 - as above
        named = {}
    return {**named, **_own_prices(deployment)}


def _own_prices(deployment: Deployment) -> Mapping[str, Any]:
    """What a router's entry names itself. LiteLLM keeps it under the entry's id, also when it is gone."""
    return {name: value for name, value in deployment.info.items() if "_cost" in name}
