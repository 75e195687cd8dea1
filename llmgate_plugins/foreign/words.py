"""Call arguments as the next provider takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from llmgate_plugins.foreign import tables
from llmgate_plugins.foreign.profile import NO_WORDS, THOUGHT, Profile, profile_of, thinks
from llmgate_plugins.types import Deployment

__all__ = ["budget_of", "effort_of", "fit_words", "without_marks"]

MARK: Final = "cache_control"
LEAST_BUDGET: Final = 1_024
"""Tokens; Anthropic takes no smaller thinking budget."""


def fit_words(
    words: Mapping[str, Any], deployment: Deployment, changes: list[str], keep: frozenset[str] = NO_WORDS
) -> Mapping[str, Any]:
    """The words as this deployment takes them; the same object where nothing is to be changed.

    Args:
        words: Call arguments in the OpenAI vocabulary.
        deployment: Who gets them.
        changes: One short sentence is added for each change.
        keep: Words that the client in between knows what to do with.
    """
    profile = profile_of(deployment)
    if profile.watched.isdisjoint(words):
        return words
    fitted = _Words(dict(words), deployment, profile, keep | _allowed(words, deployment), changes)
    fitted.think()
    fitted.rename()
    fitted.refuse()
    fitted.settle()
    fitted.unmark()
    return fitted.words if fitted.changed else words


def effort_of(thinking: Any) -> str | None:
    """Anthropic's `thinking` or OpenRouter's `reasoning` as a reasoning effort; None if it says none."""
    if not isinstance(thinking, Mapping) or thinking.get("type") == "disabled":
        return None
    effort, budget = thinking.get("effort"), _budget(thinking)
    if isinstance(effort, str):
        return "high" if effort == "max" else effort
    if budget is None:
        return None
    return next((name for name, tokens in tables.BUDGETS if budget <= tokens), "high")


def budget_of(effort: Any, most: Any = None) -> int | None:
    """A reasoning effort as a thinking budget in tokens; None if it asks for none, or for more than fits.

    Args:
        effort: "low", "medium", "high"; what lies below or above counts as the nearest of them.
        most: The longest answer asked for, in tokens: thinking is part of it.
    """
    if effort in (None, "none"):
        return None
    nearest = {"minimal": "low", "xhigh": "high", "max": "high"}.get(effort, effort)
    budget = dict(tables.BUDGETS).get(nearest)
    if budget is not None and isinstance(most, int):
        budget = min(budget, most - 1)
    return budget if budget is not None and budget >= LEAST_BUDGET else None


def without_marks(tools: Sequence[Any]) -> Sequence[Any]:
    """Tools without `cache_control`; the same object where none has any."""
    if not any(_is_marked(tool) for tool in tools):
        return tools
    return [_unmarked(tool) if _is_marked(tool) else tool for tool in tools]


class _Words:
    """Words while they are being fitted."""

    def __init__(
        self,
        words: dict[str, Any],
        deployment: Deployment,
        profile: Profile,
        keep: frozenset[str],
        changes: list[str],
    ) -> None:
        self.words = words
        self.provider = deployment.provider
        self.model = deployment.model
        self.deployment = deployment
        self.profile = profile
        self.keep = keep
        self.changes = changes
        self.changed = False

    def think(self) -> None:
        """How much to think, in the words of whoever is asked; nothing where it cannot."""
        asked = (THOUGHT & self.words.keys()) - self.keep
        if not asked:
            return
        able = thinks(self.deployment, self.profile)
        if able is False:
            for word in sorted(asked):
                self._leave_out(word, f"{self.model} does not think")
        elif self.profile.family == "openrouter":
            budget = _budget(self.words.get("thinking"))
            if budget is not None and "reasoning" not in self.words:
                self._replace("thinking", "reasoning", {"max_tokens": budget})
        elif able:
            for word in sorted(asked & self.profile.refused, reverse=True):
                effort = effort_of(self.words[word])
                if effort is not None and "reasoning_effort" not in self.words:
                    self._replace(word, "reasoning_effort", effort)

    def rename(self) -> None:
        """Words that the provider has under another name."""
        for word, own in tables.RENAMED.get(self.profile.family, {}).items():
            if word in self.words and word not in self.keep:
                self._replace(word, own, self.words[word], say_value=False)

    def refuse(self) -> None:
        """What the provider, or the model, does not take."""
        profile, words = self.profile, self.words
        for word in [word for word in words if word in profile.refused and word not in self.keep]:
            self._leave_out(word, f"{self.provider} does not take it")
        for word in [word for word in words if word in profile.by_model and word not in self.keep]:
            if not _is_usual(word, words[word]):
                self._leave_out(word, f"{self.model} does not take it")

    def settle(self) -> None:
        """What does not go together, and values that mean another thing here."""
        words, family = self.words, self.profile.family
        for name, models, first, second in tables.CLASHES:
            if name == family and first in words and second in words and models.match(self.model):
                self._leave_out(second, f"{self.model} does not take it beside {first}")
        if family in tables.WHILE_THINKING and _asks_to_think(words):
            for word in tables.WHILE_THINKING[family].split():
                if word in words and not _is_usual(word, words[word]):
                    self._leave_out(word, f"{self.provider} does not take it beside thinking")
        if family == "anthropic":
            self._as_anthropic_means_it()

    def unmark(self) -> None:
        """Tools without another provider's cache markers."""
        tools = None if self.profile.marked or "tools" in self.keep else self.words.get("tools")
        if isinstance(tools, Sequence) and (plain := without_marks(tools)) is not tools:
            self.words["tools"] = plain
            self._say(f"left out {MARK} in tools: {self.provider} does not take it")

    def _as_anthropic_means_it(self) -> None:
        """`metadata` holds a user's id and nothing else; there are two tiers of service."""
        metadata, tier = self.words.get("metadata"), self.words.get("service_tier")
        if isinstance(metadata, Mapping) and not metadata.keys() <= {"user_id"}:
            if "user_id" in metadata:
                self.words["metadata"] = {"user_id": metadata["user_id"]}
                self._say(f"left out all of metadata but user_id: {self.provider} does not take it")
            else:
                self._leave_out("metadata", f"{self.provider} takes only a user_id")
        if tier == "default":
            self._replace("service_tier", "service_tier", "standard_only")
        elif tier not in (None, "auto", "standard_only"):
            self._leave_out("service_tier", f"{self.provider} has no tier {tier!r}")

    def _leave_out(self, word: str, why: str) -> None:
        del self.words[word]
        self._say(f"left out {word}: {why}")

    def _replace(self, word: str, own: str, value: Any, *, say_value: bool = True) -> None:
        del self.words[word]
        self.words[own] = value
        told = f"{own}={value}" if say_value else own
        self._say(f"{word} became {told} for {self.provider}")

    def _say(self, sentence: str) -> None:
        self.changed = True
        self.changes.append(sentence)


def _allowed(words: Mapping[str, Any], deployment: Deployment) -> frozenset[str]:
    """What configuration or the call says the provider does take (LiteLLM's `allowed_openai_params`)."""
    for where in (words, deployment.params, deployment.endpoint.options):
        if where and (allowed := where.get("allowed_openai_params")):
            return frozenset(allowed)
    return NO_WORDS


def _asks_to_think(words: Mapping[str, Any]) -> bool:
    thinking = words.get("thinking")
    if isinstance(thinking, Mapping):
        return thinking.get("type") in ("enabled", "adaptive")
    return words.get("reasoning_effort") not in (None, "none")


def _budget(thinking: Any) -> int | None:
    """Tokens for thinking, as Anthropic or OpenRouter names them."""
    if not isinstance(thinking, Mapping):
        return None
    budget = thinking.get("budget_tokens") or thinking.get("max_tokens")
    return budget if isinstance(budget, int) and budget > 0 else None


def _is_usual(word: str, value: Any) -> bool:
    return word == "temperature" and value == 1


def _is_marked(tool: Any) -> bool:
    return isinstance(tool, Mapping) and (
        MARK in tool or (isinstance(function := tool.get("function"), Mapping) and MARK in function)
    )


def _unmarked(tool: Mapping[str, Any]) -> dict[str, Any]:
    plain = {name: value for name, value in tool.items() if name != MARK}
    if isinstance(function := plain.get("function"), Mapping):
        plain["function"] = {name: value for name, value in function.items() if name != MARK}
    return plain
