"""Which entry a model's name means: exactly that model, or none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Generic, TypeVar

__all__ = ["NameIndex", "canonical_provider", "undated"]

Entry = TypeVar("Entry")

_PROVIDERS = {
    "amazon": "bedrock",
    "amazon-nova": "amazon_nova",
    "aws": "bedrock",
    "azure_openai": "azure",
    "azure_text": "azure",
    "bedrock_converse": "bedrock",
    "cohere_chat": "cohere",
    "fireworks": "fireworks_ai",
    "fireworks_ai-embedding-models": "fireworks_ai",
    "google": "gemini",
    "google_ai_studio": "gemini",
    "google_genai": "gemini",
    "google_vertexai": "vertex_ai",
    "mistralai": "mistral",
    "moonshotai": "moonshot",
    "text-completion-codestral": "codestral",
    "text-completion-openai": "openai",
    "together": "together_ai",
    "vertex": "vertex_ai",
    "vertexai": "vertex_ai",
    "voyageai": "voyage",
    "x-ai": "xai",
}
_GEOGRAPHY = re.compile(r"^(?:us|eu|apac|ap|jp|au|ca|global|us-gov)\.(?=[a-z0-9-]+\.)")
_ROUTE = re.compile(r"^(?:converse|converse_like|invoke)/")
_ARN = re.compile(r"^arn:aws[a-z-]*:bedrock:([a-z0-9-]*):[0-9]*:(?:foundation-model|inference-profile)/")
_COLLECTION = re.compile(r"^(?:publishers/[a-z0-9-]+/)?models/")
_SNAPSHOT = re.compile(r"[-@](\d{8}|\d{4}-\d{2}-\d{2}|latest|default)(?:-v\d+(?::\d+)?)?$")


def canonical_provider(name: str) -> str:
    """LiteLLM's name of a provider, without sub-kinds ("vertex_ai-llama_models")."""
    lower = name.strip().lower()
    return "vertex_ai" if lower.startswith("vertex_ai-") else _PROVIDERS.get(lower, lower)


def undated(model: str) -> str:
    """A name without the date of its snapshot (`-20251001`, `-2024-07-18`, `@20251001`,
    `-latest`). Other suffixes stay: they may be other models."""
    return _SNAPSHOT.sub("", model)


class NameIndex(Generic[Entry]):
    """Entries by provider and name. Names are compared without case.

    The provider "" holds what a name without a provider means.
    """

    def __init__(self) -> None:
        self._exact: dict[tuple[str, str], Entry] = {}
        self._snapshots: dict[tuple[str, str], dict[str, Entry]] = {}
        self.providers: set[str] = set()

    def add(self, provider: str, name: str, entry: Entry) -> None:
        """Add an entry. The first one of a name stays."""
        lower = name.lower()
        self.providers.add(provider)
        self._exact.setdefault((provider, lower), entry)
        if match := _SNAPSHOT.search(lower):
            snapshots = self._snapshots.setdefault((provider, lower[: match.start()]), {})
            snapshots.setdefault(match[1].replace("-", ""), entry)

    def find(self, provider: str, model: str, region: str | None = None) -> Entry | None:
        """The entry for a model: by its own name, then without its geographic prefix,
        then without its snapshot's date, then by its only snapshot.

        Args:
            provider: Canonical, or "" for none.
            model: As the provider or a configuration writes it.
            region: A cloud's region; its own entry comes first where there is one.
        """
        names = tuple(_spellings(provider, model, region))
        for name in names:
            if (entry := self._exact.get((provider, name))) is not None:
                return entry
        for name in names:
            plain = undated(name)
            if (entry := self._exact.get((provider, plain))) is not None:
                return entry
            snapshots = self._snapshots.get((provider, plain), {})
            if plain == name or name.endswith(("-latest", "@default")):
                if "latest" in snapshots:
                    return snapshots["latest"]
                if len(snapshots) == 1:
                    return next(iter(snapshots.values()))
        return None


def _spellings(provider: str, model: str, region: str | None) -> Iterator[str]:
    """The names under which a model may be listed, the most particular first."""
    name = model.strip().lower()
    head, slash, rest = name.partition("/")
    if slash and provider and canonical_provider(head) == provider:
        yield from _spellings_here(provider, rest, region)
    yield from _spellings_here(provider, name, region)


def _spellings_here(provider: str, name: str, region: str | None) -> Iterator[str]:
    if name.startswith("ft:"):
        name = ":".join(name.split(":")[:2])
    if provider in ("gemini", "vertex_ai"):
        name = _COLLECTION.sub("", name)
    if provider != "bedrock":
        yield name
        return
    name = _ROUTE.sub("", name)
    if match := _ARN.match(name):
        region, name = region or match[1], name[match.end() :]
    for spelling in (name, _GEOGRAPHY.sub("", name)):
        if region:
            yield f"{region.lower()}/{spelling}"
        yield spelling
