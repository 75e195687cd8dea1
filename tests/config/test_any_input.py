"""Whatever is given, nothing but a `ConfigurationError` comes out, and quickly."""

from __future__ import annotations

from typing import Any

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


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200) | st.text(alphabet="{}[]&*!-:?|>#\"'%@<, \n\tab01", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    outcome(parse_config, text)


@settings(max_examples=400, deadline=None)
@given(files | st.dictionaries(keys, values, max_size=6))
def test_any_mapping_is_read_or_refused(document: dict[str, Any]) -> None:
    outcome(load_config, document)


@settings(max_examples=150, deadline=None)
@given(files)
def test_any_document_gives_the_same_from_yaml_text_and_from_objects(document: dict[str, Any]) -> None:
    text = yaml.safe_dump(document, allow_unicode=True)
    outcome(parse_config, text)


@settings(max_examples=200, deadline=None)
@given(files)
def test_checking_never_raises(document: dict[str, Any]) -> None:
    report = check_config(document)
    assert report.ok == (report.config is not None)


@given(leaves | st.lists(leaves))
def test_anything_that_is_no_source_is_refused(source: Any) -> None:
    outcome(load_config, source)
