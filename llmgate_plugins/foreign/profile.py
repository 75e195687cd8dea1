"""What one model at one provider refuses, put together from the tables once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from llmgate_plugins.capabilities import lacks
from llmgate_plugins.foreign import tables
from llmgate_plugins.types import Deployment

__all__ = ["Profile", "profile_of", "thinks"]

THOUGHT: Final = frozenset({"thinking", "output_config", "reasoning", "reasoning_effort"})
"""Words that say how much to think. Even who takes them must be able to think."""

NO_WORDS: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Profile:
    """One model at one provider.

    Attributes:
        family: As the tables call it; "" for one that they do not know.
        refused: Words that the provider refuses, by its family or by the model.
        by_model: Those of them that only this model refuses.
        watched: Words that need a look; a request with none of them goes as it is.
        marked: Whether tools, parts and messages may carry `cache_control`.
    """

    family: str
    refused: frozenset[str]
    by_model: frozenset[str]
    watched: frozenset[str]
    marked: bool


_known: dict[int, tuple[Deployment, Profile]] = {}
MOST_KNOWN: Final = 16_384


def profile_of(deployment: Deployment) -> Profile:
    """The deployment's profile, looked up by the object itself: that is faster than by its names."""
    known = _known.get(id(deployment))
    if known is not None and known[0] is deployment:
        return known[1]
    profile = _profile(deployment.provider, deployment.model, deployment.endpoint.base_url)
    if len(_known) >= MOST_KNOWN:
        _known.clear()
    _known[id(deployment)] = (deployment, profile)
    return profile


def thinks(deployment: Deployment, profile: Profile) -> bool | None:
    """Whether the deployment's model can think; None if nobody knows."""
    if "reasoning" in deployment.capabilities:
        return True
    if lacks(deployment, "reasoning"):
        return False
    if profile.family == "openai":
        for models, able in tables.THINKERS:
            if models.match(deployment.model):
                return able
    return None


@lru_cache(maxsize=4_096)
def _profile(provider: str, model: str, base_url: str | None) -> Profile:
    family = _family(provider, model, base_url)
    refused = NO_WORDS
    if family in tables.STRICT:
        refused = frozenset(word for word, takers in tables.TAKEN_BY.items() if family not in takers)
    by_model = frozenset(
        word
        for name, models, words in tables.BY_MODEL
        if name == family and models.match(model)
        for word in words.split()
    )
    beside = {second for name, models, _, second in tables.CLASHES if name == family and models.match(model)}
    watched = refused | by_model | beside | tables.RENAMED.get(family, {}).keys()
    if family:
        watched |= THOUGHT
    if family == "anthropic":
        watched |= {"metadata", "service_tier"}
    marked = family not in tables.MARKED_FAMILIES
    if not marked:
        watched |= {"tools"}
    return Profile(
        family=family,
        refused=refused,
        by_model=by_model - refused,
        watched=watched,
        marked=marked,
    )


def _family(provider: str, model: str, base_url: str | None) -> str:
    family = tables.FAMILIES.get(provider, "")
    if family == "gemini" and "claude" in model:
        return "anthropic"
    if provider == "openai" and base_url is not None and not tables.OPENAI_MODELS.match(model):
        host = urlsplit(base_url).hostname or ""
        if not host.endswith(("openai.com", "openai.azure.com")):
            return ""
    return family
