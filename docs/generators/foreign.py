"""`explanation/foreign-arguments.md`: what is changed in a request for the next provider, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from generators.markdown import NOTICE, table
from llmgate_plugins.foreign import tables

__all__ = ["page"]

HEAD = f"""{NOTICE}

# Foreign arguments

A call that fails over from one provider to another carries words that only the first one takes: `seed`
from OpenAI to Anthropic, `thinking` the other way, cache markers, thoughts with a signature, ids of tool
calls in another form. The other provider would refuse the whole request for one of them. So before each
attempt, the first one included, the request is fitted to the deployment it goes to:

- what the provider has under another name, or in another form, is **translated**;
- what it is known to refuse is **left out**;
- what is its own, and what nobody here knows, goes **as it is**.

Each change is one sentence in `attempt.adapted` and in the decision record (`adapted`). None of it is a
failure, and none of it counts against the health of a deployment.

```text
thinking became reasoning_effort=medium for openai
left out seed: anthropic does not take it
left out thinking in messages: openai does not take it
```

Only what is surely refused is touched. Providers that are not in these tables, OpenAI-compatible servers
of your own among them, get everything; so does a provider named `openai` behind another address with a
model that is not OpenAI's. A word that you know to be taken is sent if the deployment's parameters name
it in `allowed_openai_params`. Parameters that configuration fixes for a deployment are sent as they stand
there.

In LiteLLM two more rules hold: what LiteLLM itself would refuse to send (`UnsupportedParamsError`) is
left out by its own tables, and its `drop_params` and `allowed_openai_params` mean what they always meant.
In LangChain the same tables are asked, then the words are put as the client at hand takes them: `user` as
`metadata.user_id` and `reasoning_effort` as `thinking` for Anthropic, and what an OpenAI-compatible
server takes and the OpenAI client does not know in `extra_body`.
"""

THINKING = """A temperature of 1 is always taken. A model that does not think, as far as the catalogue or its
name tells, gets neither `thinking` nor `reasoning_effort`."""

LEFT = """An assistant's message of which nothing is left is left out. Ids of tool calls change in pairs: the
same id always becomes the same one."""


def page() -> str:
    """The page."""
    families = sorted(tables.STRICT)
    parts = [
        HEAD,
        "## Words",
        "",
        "Taken by (x); left out for the others. Words that are not here are left out by the model alone.",
        "",
        table(
            ("word", *families), (_row(word, takers, families) for word, takers in tables.TAKEN_BY.items())
        ),
        "",
        "## Words that some models refuse",
        "",
        table(
            ("family", "models", "words"),
            ((name, f"`{models.pattern}`", _code(words.split())) for name, models, words in tables.BY_MODEL),
        ),
        "",
        THINKING,
        "",
        "## Words that do not go together",
        "",
        table(("family", "asked for", "left out"), _clashes()),
        "",
        "## Translations",
        "",
        table(("for", "word", "becomes"), _translations()),
        "",
        "## Messages",
        "",
        LEFT,
        "",
        table(
            ("family", "parts left out", "fields left out", "`cache_control`", "ids of tool calls"),
            _messages(),
        ),
        "",
        "Anthropic gets thoughts that are signed, and Mistral its own, which are lists.",
        "",
        "## Families",
        "",
        table(("family", "providers"), _providers()),
        "",
        "Claude on Vertex AI counts as Anthropic.",
        "",
    ]
    return "\n".join(parts)


def _row(word: str, takers: frozenset[str], families: Iterable[str]) -> tuple[str, ...]:
    return (f"`{word}`", *("x" if family in takers else "" for family in families))


def _clashes() -> Iterable[tuple[str, str, str]]:
    for name, models, first, second in tables.CLASHES:
        yield name, f"`{first}`, models `{models.pattern}`", f"`{second}`"
    for name, words in tables.WHILE_THINKING.items():
        yield name, "thinking", _code(words.split())


def _translations() -> Iterable[tuple[str, str, str]]:
    budgets = ", ".join(f"{tokens:,} {effort}" for effort, tokens in tables.BUDGETS)
    yield (
        "who has no `thinking`",
        "`thinking`, `output_config`, `reasoning`",
        f"`reasoning_effort` (up to {budgets})",
    )
    yield "openrouter", "`thinking`", "`reasoning.max_tokens`"
    for family, words in tables.RENAMED.items():
        for word, own in words.items():
            yield family, f"`{word}`", f"`{own}`"
    yield "anthropic", "`service_tier: default`", "`service_tier: standard_only`"
    yield "anthropic", "`metadata`", "its `user_id` alone"


def _messages() -> Iterable[tuple[str, ...]]:
    for family in sorted({*tables.PARTS, *tables.MESSAGE_FIELDS, *tables.MARKED_FAMILIES, *tables.IDS}):
        ids = tables.IDS.get(family)
        yield (
            family,
            _code(sorted(tables.PARTS.get(family, ()))),
            _code(sorted(tables.MESSAGE_FIELDS.get(family, ()))),
            "left out" if family in tables.MARKED_FAMILIES else "stays",
            f"`{ids[0].pattern}`" if ids else "any",
        )


def _providers() -> Iterable[tuple[str, str]]:
    grouped: dict[str, list[str]] = {}
    for provider, family in tables.FAMILIES.items():
        grouped.setdefault(family, []).append(provider)
    return ((family, _code(providers)) for family, providers in sorted(grouped.items()))


def _code(words: Iterable[str] | Mapping[str, object]) -> str:
    return " ".join(f"`{word}`" for word in words)
