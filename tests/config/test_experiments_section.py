"""The section `experiments`: what it means, and what is wrong with it, by line."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from llmgate_plugins import Context, Gateway, Message, Request
from llmgate_plugins.config import check_config
from llmgate_plugins.config.experiment_config import Param
from llmgate_plugins.config.reading import document_of
from llmgate_plugins.plugins import Experiments

MODELS = """\
model_list:
  - {model_name: fast, litellm_params: {model: openai/gpt-4o-mini, api_key: k-fast}}
  - {model_name: strong, litellm_params: {model: openai/gpt-4o, api_key: k-strong}}
policies:
  default: {prefer: cheapest}
  cheap: {prefer: cheapest}
"""


def problems(written: str, tmp_path: Any) -> list[str]:
    file = tmp_path / "llmgate.yaml"
    file.write_text(MODELS + written)
    report = check_config(file, secrets=False)
    return [
        f"{problem.line}: {problem.message}; {problem.remedy}"
        for problem in (*report.errors, *report.warnings)
        if "secret is written" not in problem.message
    ]


GOOD = """\
experiments:
  cheaper-support:
    when: {feature: support, alias: fast}
    by: user
    arms:
      - {name: control, weight: 90%}
      - {name: candidate, weight: 0.1, policy: cheap, params: {temperature: 0}}
  words:
    when: {feature: support}
    by: session
    arms:
      - {name: control, weight: 0.5}
      - {name: brief, weight: 0.5, prompt: Be brief.}
state: redis://127.0.0.1:1/0
"""


def test_a_good_section_is_silent(tmp_path: Any) -> None:
    assert problems(GOOD, tmp_path) == []


def test_a_section_becomes_the_plugin() -> None:
    document = document_of(MODELS + GOOD.replace("state: redis://127.0.0.1:1/0\n", ""), file="x").value
    gateway = Gateway.from_config(document)
    (plugin,) = (one for _, one in gateway.plugins if isinstance(one, Experiments))
    support, words = plugin.experiments
    assert [arm.weight for arm in support.arms] == [0.9, 0.1]
    assert support.touches == {"policy", "params.temperature"}
    assert words.touches == {"system"}
    asked = Request(model="fast", messages=(Message(role="user", content="hi"),))
    call = gateway.admit(asked, context=Context(user="ada", session="s", feature="support"))
    assert set(call.record.experiments) == {"cheaper-support", "words"}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            ["{name: control, weight: 0.5}", "{name: b, weight: 0.4, policy: cheap}"],
            ["8: the weights of its arms sum to 0.9, not to 1; write weights that do"],
        ),
        (
            ["{name: control, weight: 0.5}", "{name: b, weight: 0.5, policy: chaep}"],
            ["12: no policy 'chaep'; did you mean cheap?"],
        ),
        (
            ["{name: control, weight: 0.5}", "{name: b, weight: 0.5, model: stronk}"],
            ["12: leads to nothing: no 'stronk'; did you mean strong?"],
        ),
        (
            ["{name: a, weight: 0.5, policy: default}", "{name: b, weight: 0.5, policy: cheap}"],
            ['8: no arm is control; name one "control", or say control: NAME'],
        ),
        (
            ["{name: control, weight: 0.5}", "{name: b, weight: 0.5}"],
            ["8: no arm changes anything; give one a model, policy, prompt or params"],
        ),
        (
            ["{name: control, weight: 0.5}", "{name: b, weight: 0.5, prompt: {template: hello}}"],
            ["12: must say {prompt} once; that is where the user's words stand"],
        ),
        (
            ["{name: control, weight: 0.5}", "{name: b, weight: 0.5, params: {api_base: x}}"],
            [
                f"12: must be one of {', '.join(get_args(Param))}; ",
            ],
        ),
        (["{name: control, weight: 1}"], ["8: compares nothing; write two arms or more"]),
    ],
)
def test_a_mistake_is_told_with_its_line_and_a_remedy(
    lines: list[str], said: list[str], tmp_path: Any
) -> None:
    written = "experiments:\n  e:\n    when: {alias: fast}\n    arms:\n" + "".join(
        f"      - {line}\n" for line in lines
    )
    assert problems(written, tmp_path) == said


def canary(stages: str, more: str = "") -> str:
    arms = "[{name: control}, {name: new, model: strong}]"
    return (
        f"experiments:\n  e:\n    when: {{alias: fast}}\n    arms: {arms}\n    stages: {stages}\n{more}"
        "state: redis://127.0.0.1:1/0\n"
    )


def test_a_canary_is_read_as_it_is_written(tmp_path: Any) -> None:
    written = canary(
        "[{share: 1%, for: 1h}, {share: 10%, for: 6h, calls: 500}]", "    rollback: {p95: 150%}\n"
    )
    assert problems(written, tmp_path) == []


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (canary("[{share: 10%, for: 1h}, {share: 1%, for: 6h}]"), "the shares of its stages must rise"),
        (canary("[{share: 100%, for: 1h}]"), "must be less than 1"),
        (
            canary("[{share: 1%, for: 1h}]").replace("name: control", "name: control, weight: 0.5"),
            "its stages say what each arm gets",
        ),
        (
            canary("[{share: 1%, for: 1h}]").replace("state: redis://127.0.0.1:1/0\n", ""),
            "it begins anew with each start",
        ),
    ],
)
def test_a_canary_that_makes_no_sense_is_told(written: str, said: str, tmp_path: Any) -> None:
    (found,) = problems(written, tmp_path)
    assert said in found


def test_experiments_that_overlap_are_told(tmp_path: Any) -> None:
    arms = "arms: [{name: control, weight: 0.5}, {name: b, weight: 0.5, policy: cheap}]"
    one = f"  one: {{when: {{team: ads}}, {arms}}}\n"
    both = f"experiments:\n{one}  two: {{when: {{team: [ads, search]}}, {arms}}}\n"
    (found,) = problems(both, tmp_path)
    assert found == (
        "9: may change policy of the same calls as experiment 'one'; tell them apart by when, or make "
        "them arms of one experiment"
    )
    assert problems(both.replace("[ads, search]", "[search]"), tmp_path) == []


def test_a_model_that_takes_all_calls_is_warned_of(tmp_path: Any) -> None:
    arms = "[{name: control, weight: 0.5}, {name: b, weight: 0.5, model: strong}]"
    written = f"experiments:\n  e:\n    arms: {arms}\n"
    (found,) = problems(written, tmp_path)
    assert "whatever a call has asked for" in found
