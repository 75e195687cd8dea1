"""Whatever is given, nothing but a `ConfigurationError` comes out, and quickly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from llmgate_plugins.config import GatewayConfig, build_deployments, check_config, load_config, parse_config
from llmgate_plugins.errors import ConfigurationError


def keys_of(model: Any, seen: set[Any]) -> set[str]:
    found = set(model.model_fields)
    for field in model.model_fields.values():
        for part in parts(field.annotation):
            if part not in seen:
                seen.add(part)
                found |= keys_of(part, seen)
    return found


def parts(annotation: Any) -> list[Any]:
    if hasattr(annotation, "model_fields"):
        return [annotation]
    return [part for argument in getattr(annotation, "__args__", ()) for part in parts(argument)]


KNOWN = sorted(keys_of(GatewayConfig, set()) | {"default", "fast", "general_settings", "include", "<<", "*"})
WORDS = [
    "openai/x",
    "fast",
    "30s",
    "50 USD/day",
    "cheapest",
    "env:X",
    "os.environ/X",
    "file:x",
    "openai/*",
    "memory",
]

keys = st.sampled_from(KNOWN) | st.text(max_size=8)
leaves = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text(max_size=12)
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=25,
)
entries = st.fixed_dictionaries(
    {"model_name": st.sampled_from(["fast", "strong", "openai/*", "*"])},
    optional={
        "litellm_params": st.fixed_dictionaries({"model": st.sampled_from(WORDS)}) | values,
        "model_info": st.dictionaries(keys, values, max_size=3),
    },
)
files = st.fixed_dictionaries(
    {"model_list": st.lists(entries | values, max_size=4)},
    optional={name: values for name in KNOWN if name in GatewayConfig.model_fields and name != "model_list"},
)


def outcome(read: Any, source: Any) -> None:
    """Read it, and look at all that was read; or see that the refusal says something."""
    refusal: ConfigurationError | None = None
    try:
        config = read(source)
        config.fallback_map()
        config.alias_map()
        repr(config)
        config.model_dump_json()
        build_deployments(config, NoCards(), secrets=False, names=["openai/gpt-4o"])
    except ConfigurationError as error:
        refusal = error
    problems = refusal.problems if refusal else ()
    assert (refusal is None) == (problems == ())
    assert all(problem.message and problem.severity == "error" for problem in problems)


class NoCards:
    def lookup(self, provider: str | None, model: str, *, region: str | None = None) -> None:
        return None


def read_text(text: str) -> None:
    outcome(parse_config, text)


def read_mapping(document: dict[str, Any]) -> None:
    outcome(load_config, document)


def read_yaml(document: dict[str, Any]) -> None:
    outcome(parse_config, yaml.safe_dump(document, allow_unicode=True))


def check_mapping(document: dict[str, Any]) -> None:
    report = check_config(document)
    assert report.ok == (report.config is not None)


SEARCHES: dict[str, tuple[Callable[[Any], None], st.SearchStrategy[Any], int]] = {
    "text": (read_text, st.text(max_size=200) | st.text("{}[]&*!-:?|>#\"'%@<, \n\tab01", max_size=60), 150),
    "a mapping": (read_mapping, files | st.dictionaries(keys, values, max_size=6), 100),
    "a mapping as YAML": (read_yaml, files, 50),
    "a mapping to check": (check_mapping, files, 60),
}
"""What is done with which inputs, and how many of them in every run."""


@pytest.mark.parametrize("name", SEARCHES)
def test_any_input_is_read_or_refused(name: str) -> None:
    check, inputs, examples = SEARCHES[name]
    settings(max_examples=examples)(given(inputs)(check))()


@pytest.mark.campaign
@pytest.mark.parametrize("name", SEARCHES)
def test_a_hundred_times_as_many_inputs_are_read_or_refused(name: str) -> None:
    check, inputs, examples = SEARCHES[name]
    settings(max_examples=100 * examples)(given(inputs)(check))()


@given(leaves | st.lists(leaves))
def test_anything_that_is_no_source_is_refused(source: Any) -> None:
    outcome(load_config, source)
