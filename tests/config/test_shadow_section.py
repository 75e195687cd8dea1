"""Mistakes in the sections for shadows are told with their line."""

from __future__ import annotations

import pytest

from llmgate_plugins.config import parse_config
from llmgate_plugins.errors import ConfigurationError

BASE = """\
model_list:
  - model_name: fast
    litellm_params: {model: openai/gpt-4o-mini, api_key: sk-test}
policies:
  default: {}
"""


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ("shadow: {to: fats}", "leads to nothing"),
        ("shadow: {sample: 5%}", "goes nowhere"),
        ("shadow: {policy: nwe}", "no policy 'nwe'"),
        ("shadow_policy: {policy: nwe, sample: 10%}", "no policy 'nwe'"),
        ("shadow: [{to: fast}, {to: fast}]", "another shadow is called 'fast'"),
        ("shadow: {to: fast, when: {temaa: x}}", "temaa"),
        ("shadow: {to: fast, sample: 200%}", "shadow"),
    ],
)
def test_a_mistake_is_told_with_its_line(section: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_config(BASE + section + "\n")
    assert any(told in str(problem) for problem in raised.value.problems), raised.value
    assert any(problem.line == 6 for problem in raised.value.problems)


def test_one_section_stands_without_a_list_around_it() -> None:
    config = parse_config(BASE + "shadow: {to: fast, sample: 5%}\nshadow_policy: {policy: default}\n")
    assert [(one.title, one.sample) for one in config.shadow] == [("fast", 0.05)]
    assert [one.policy for one in config.shadow_policy] == ["default"]
