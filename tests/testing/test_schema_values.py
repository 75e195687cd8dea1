"""Values made from JSON schemas conform to them."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgate_plugins.testing.simulator.schema import value_for

TREE = {
    "$defs": {
        "Node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "left": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
                "rest": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
            },
            "required": ["name", "left", "rest"],
        }
    },
    "$ref": "#/$defs/Node",
}


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "integer"}, "add 17 and 4", 17),
        ({"type": "integer", "maximum": 10}, "add 17 and 4", 10),
        ({"type": "integer", "exclusiveMinimum": -1000}, "none", 1),
        ({"type": "number"}, "it costs 2.5", 2.5),
        ({"type": "string", "enum": ["red", "blue"]}, "make it Blue", "blue"),
        ({"type": "string", "enum": ["red", "blue"]}, "whatever", "red"),
        ({"const": 7}, "", 7),
        ({"type": ["null", "boolean"]}, "", True),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, "4", 4),
        (
            {"type": "object", "properties": {"city": {"type": "string"}, "note": {"type": "string"}}},
            "The weather in New York, 'please'",
            {"city": "New York", "note": "please"},
        ),
        (
            {"type": "object", "properties": {"name": {"type": "string"}}},
            "named '你好啊集团' (Hello Group)",
            {"name": "你好啊集团"},
        ),
        ({"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}}]}, "3", {"a": 3}),
    ],
)
def test_values_are_taken_from_the_text(schema: Any, text: str, value: Any) -> None:
    assert value_for(schema, text) == value
    jsonschema.validate(value, schema)


def test_a_schema_that_refers_to_itself_comes_to_an_end() -> None:
    value = value_for(TREE, "a tree")
    jsonschema.validate(value, TREE)


def _schemas() -> st.SearchStrategy[dict[str, Any]]:
    words = st.text("abc", min_size=1, max_size=3)
    leaves = st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("string")},
            optional={"minLength": st.integers(0, 9), "maxLength": st.integers(9, 80)},
        ),
        st.fixed_dictionaries(
            {"type": st.sampled_from(["integer", "number"])},
            optional={"minimum": st.integers(-9, 0), "maximum": st.integers(1, 9)},
        ),
        st.fixed_dictionaries({"enum": st.lists(words, min_size=1)}),
        st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": ["string", "null"]}]),
    )

    def inner(parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        return st.one_of(
            st.builds(
                lambda part, least: {"type": "array", "items": part, "minItems": least},
                parts,
                st.integers(0, 3),
            ),
            st.builds(lambda some: {"anyOf": some}, st.lists(parts, min_size=1, max_size=3)),
            st.builds(
                lambda fields: {"type": "object", "properties": fields, "required": list(fields)},
                st.dictionaries(words, parts, max_size=3),
            ),
        )

    return st.recursive(leaves, inner, max_leaves=8)


@given(_schemas(), st.text(max_size=40))
def test_any_value_conforms_and_is_always_the_same(schema: dict[str, Any], text: str) -> None:
    value = value_for(schema, text)
    jsonschema.validate(value, schema)
    assert value == value_for(schema, text)
