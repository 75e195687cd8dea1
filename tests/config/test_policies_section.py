"""Policies and rules in the file: what they come to, and every mistake in them with its line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from llmgate_plugins import AllDeploymentsUnavailable, Context, Gateway, RequestDenied
from llmgate_plugins.assembly import assemble
from llmgate_plugins.cli.config import config
from llmgate_plugins.config import check_config, config_schema, parse_config
from llmgate_plugins.config.policy_config import Stable
from llmgate_plugins.plugins import Policies
from llmgate_plugins.policies import Policy, Target
from llmgate_plugins.policies.facts import DECLARED
from llmgate_plugins.testing import ScriptedProvider

MODELS = """\
model_list:
  - model_name: fast
    litellm_params: {model: openai/gpt-4o-mini, api_key: none}
    model_info: {id: us-mini, region: us, data_classes: [public]}
  - model_name: fast
    litellm_params: {model: anthropic/claude-haiku-4-5, api_key: none}
    model_info: {id: eu-haiku, region: eu, terms: no_retention}
  - model_name: strong
    litellm_params: {model: openai/gpt-4o, api_key: none}
    model_info: {id: us-4o, region: us}
aliases: {quick: fast}
"""
"""Eleven lines."""

WHOLE = (
    MODELS
    + """\
policies:
  default: {prefer: ordered}
  eu-support:
    require:
      region: eu
      terms: no_retention
      max_price: {input: 3, output: 15, call: 0.2}
      context_fit: true
      own: {max_gco2: 2}
    prefer: fastest
    slo: {p95: 2s}
    version: "3"
  cleared: {require: {cleared: true, data_class: [pii, public]}}
  split:
    by: user
    targets: [{policy: eu-support, weight: 90%}, {only: us-mini, weight: 0.1}]
rules:
  - {name: support, when: {team: [support, "help-*"], environment: {not: test}}, use: eu-support}
  - {when: {alias: fast, priority: 3}, use: split}
  - {when: "context.team == 'ml' && request.input_tokens > 8000", use: cleared}
"""
)


def policies_of(text: str) -> Policies:
    made = assemble(parse_config(text), check_secrets=False)
    return next(one for one in made["plugins"] if isinstance(one, Policies))


def test_what_is_written_is_what_the_plugin_gets() -> None:
    policies = policies_of(WHOLE).policies
    support = policies["eu-support"]
    assert support == Policy(
        name="eu-support",
        region=["eu"],
        terms=["no_retention"],
        max_price={"input": 3.0, "output": 15.0, "call": 0.2},
        context_fit=True,
        own={"max_gco2": 2},
        prefer="fastest",
        p95=2.0,
        version="3",
    )
    assert (policies["cleared"].cleared, policies["cleared"].data_class) == (True, ("pii", "public"))
    assert policies["split"].by == "user"
    assert policies["split"].targets == (
        Target(policy="eu-support", weight=0.9),
        Target(only=["us-mini"], weight=0.1),
    )


def test_weights_are_written_as_numbers_or_as_percentages() -> None:
    text = MODELS + "policies: {default: {prefer: {cheapest: 0.5, fastest: 50%}}}\n"
    assert parse_config(text).named_policies()["default"].prefer == {"cheapest": 0.5, "fastest": 0.5}


def test_what_deployments_declare_reaches_them() -> None:
    deployments = {one.id: one for one in assemble(parse_config(MODELS), check_secrets=False)["deployments"]}
    assert deployments["us-mini"].data_classes == {"public"}
    assert deployments["us-mini"].terms == frozenset()
    assert (deployments["eu-haiku"].data_classes, deployments["eu-haiku"].terms) == (None, {"no_retention"})
    assert "terms" not in deployments["eu-haiku"].info


def served(text: str, context: Context, model: str = "fast", **options: Any) -> tuple[str | None, str | None]:
    provider = ScriptedProvider({name: ["hello"] for name in ("us-mini", "eu-haiku", "us-4o")})
    gateway = Gateway(**assemble(parse_config(text), services={"transport": provider}, check_secrets=False))
    gateway.complete(model, "hi", context=context, **options)
    record = gateway.decisions[-1]
    return record.served_by, record.rule


def test_rules_lead_calls_to_their_policies() -> None:
    assert served(WHOLE, Context(team="help-desk", environment="prod")) == ("eu-haiku", "support")
    assert served(WHOLE, Context(team="help-desk", environment="test")) == ("us-mini", None)
    assert served(WHOLE, Context(team="support", data_class="pii")) == ("eu-haiku", "support")
    assert served(WHOLE, Context(priority=3, user="u1"), "quick")[1] == "rule 2"
    text = MODELS + "policies: {eu: {require: {region: eu}}}\nrules: [{when: {alias: fast}, use: eu}]\n"
    with pytest.raises(AllDeploymentsUnavailable):
        served(text, Context(), "us-mini")  # by its id: a deployment of fast all the same
    with pytest.raises(RequestDenied):
        served(WHOLE.replace("8000", "0"), Context(team="ml"))  # of no declared class


def test_a_policy_chosen_by_a_rule_brings_its_own_fallbacks() -> None:
    text = f"""{MODELS}
policies: {{us: {{require: {{region: us}}, fallback_to: strong}}}}
rules: [{{when: {{team: x}}, use: us}}]
"""
    provider = ScriptedProvider(
        {"us-mini": [RuntimeError("down")] * 9, "us-4o": ["strong"], "eu-haiku": ["no"]}
    )
    gateway = Gateway(**assemble(parse_config(text), services={"transport": provider}, check_secrets=False))
    assert gateway.complete("fast", "hi", context=Context(team="x")).text == "strong"


def test_the_words_of_by_are_the_facts_of_the_context() -> None:
    assert get_args(Stable) == DECLARED


def test_a_version_that_is_not_written_changes_with_the_targets() -> None:
    before = policies_of(WHOLE).policies
    after = policies_of(WHOLE.replace('version: "3"', 'version: "4"')).policies
    assert before["split"].version != after["split"].version
    assert before["default"].version == after["default"].version


# ---------------------------------------------------------------- mistakes


def found(text: str, folder: Path) -> list[str]:
    path = folder / "llmgate.yaml"
    path.write_text(text)
    report = check_config(path, secrets=False)
    return [
        f"{one.severity[0]} {one.line}: {one.message} ({one.remedy})"
        for one in (*report.errors, *report.warnings)
    ]


P = "policies:\n  default: {}\n"
MISTAKES = [
    (
        "weights",
        "policies:\n  default:\n    prefer: {cheapest: 0.5, fastest: 0.3}\n",
        "e 14: weights must sum to 1, not to 0.8",
    ),
    (
        "no scores",
        "policies:\n  default: {prefer: {ordered: 0.5, fastest: 0.5}}\n",
        "e 13: ordered has no scores",
    ),
    ("a typo of a preference", "policies:\n  default: {prefer: cheepest}\n", "(did you mean cheapest?)"),
    ("a strange preference", "policies:\n  default: {prefer: 'The Greenest!'}\n", "or what a plugin scores"),
    (
        "a preference of nobody",
        "policies:\n  default: {prefer: greenest}\n",
        "w 13: there is no such preference unless",
    ),
    (
        "weights of targets",
        P + "  a: {targets: [{policy: default, weight: 0.5}]}\n",
        "e 14: weights must sum to 1",
    ),
    (
        "half the weights",
        P + "  a: {targets: [{only: openai, weight: 1}, {only: anthropic}]}\n",
        "some have no weight",
    ),
    ("a target without", P + "  a:\n    targets:\n      - {weight: 1}\n", "e 16: names either a policy or"),
    (
        "unknown target",
        P + "  a:\n    targets:\n      - {policy: defualt}\n",
        "e 16: no policy 'defualt' (did you mean default?)",
    ),
    (
        "unknown part",
        P + "  a: {targets: [{only: us-mni}]}\n",
        "e 14: no deployment matches 'us-mni' (did you mean us-mini?)",
    ),
    (
        "a circle",
        "policies:\n  a: {targets: [{policy: b}]}\n  b: {targets: [{policy: a}]}\n",
        "e 13: policies run in a circle: a -> b -> a",
    ),
    ("by what", P + "  a: {by: shoe_size, targets: [{policy: default}]}\n", "e 14: must be one of tenant"),
    (
        "a term",
        P + "  a: {require: {terms: no_retenton}}\n",
        "e 14: no deployment declares term 'no_retenton' (did you mean no_retention?)",
    ),
    ("a region", P + "  a: {require: {region: erp}}\n", "e 14: no deployment declares region 'erp'"),
    (
        "ignores nobody",
        P + "  a: {require: {ignore: mistal}}\n",
        "w 14: ignores nothing: no deployment matches 'mistal'",
    ),
    ("a price below nothing", P + "  a: {require: {max_price: {call: 0}}}\n", "e 14: must be more than 0"),
    (
        "a price alone",
        P + "  a: {require: {max_price: 3}}\n",
        "e 14: is no mapping of prices (write {input: 3, output: 15}, in US dollars per million tokens",
    ),
    (
        "a price with its currency",
        P + "  a: {require: {max_price: {input: 3 USD}}}\n",
        "e 14: must be a number, not text (write the number alone",
    ),
    (
        "a price in the wrong place",
        P + "  a: {max_price: {input: 3}}\n",
        "e 14: unknown key 'max_price' (it belongs under require)",
    ),
    (
        "a bucket",
        P + "  a: {require: {max_price: {outputs: 3}}}\n",
        "unknown key 'outputs' (did you mean output?)",
    ),
    (
        "an unknown policy",
        P + "rules:\n  - {when: {team: a}, use: defalt}\n",
        "e 15: no policy 'defalt' (did you mean default?)",
    ),
    (
        "an unknown alias",
        P + "rules:\n  - {when: {alias: fsat}, use: default}\n",
        "e 15: matches no call: no 'fsat' (did you mean fast?)",
    ),
    (
        "another name",
        P + "rules:\n  - {when: {alias: quick}, use: default}\n",
        "e 15: matches no call: 'quick' leads to 'fast'",
    ),
    ("an unknown fact", P + "rules:\n  - use: default\n    when:\n      taem: a\n", "e 17: no such fact"),
    (
        "an unknown region",
        P + "rules:\n  - {when: {region: erp}, use: default}\n",
        "e 15: no deployment declares region 'erp'",
    ),
    (
        "no condition",
        P + "rules:\n  - {when: {team: {or: a}}, use: default}\n",
        "e 15: must be a value, a list of values",
    ),
    (
        "an expression",
        P + "rules:\n  - use: default\n    when: context.team ==\n",
        "e 16: column 16: Syntax error",
    ),
    (
        "an unknown name in one",
        P + "rules:\n  - {use: default, when: context.taem == 'a'}\n",
        "e 15: context has no taem",
    ),
    ("never true", P + "rules:\n  - {use: default, when: 1 > 2}\n", "e 15: is never true"),
    (
        "a rule that is never reached",
        P
        + "rules:\n  - {when: {team: [a, b]}, use: default}\n  - {when: {team: a, user: x}, use: default}\n",
        "e 16: is never reached: the rule on line 15 matches all that it matches",
    ),
    (
        "one behind a pattern",
        P + "rules:\n  - {when: {team: 'a*'}, use: default}\n  - {when: {team: [ab, 'ac*']}, use: default}\n",
        "e 16: is never reached: the rule on line 15",
    ),
    (
        "an expression behind one for all",
        P + "rules:\n  - {use: default}\n  - {when: context.team == 'a', use: default}\n",
        "e 16: is never reached: the rule on line 15",
    ),
    (
        "goals of nobody",
        "policies:\n  default: {prefer: ordered, slo: {p95: 2s}}\n",
        "w 13: is watched for alerts only: what this policy prefers does not look at it",
    ),
    (
        "a policy that nothing leads to",
        P + "  a: {prefer: ordered}\nrules:\n  - {when: {team: a}, use: default}\n",
        "w 14: nothing here leads to it",
    ),
    (
        "a default for calls that no rule matches, where one matches all",
        P + "  a: {prefer: ordered}\nrules:\n  - {when: {}, use: a}\n",
        "w 13: nothing here leads to it",
    ),
    (
        "nobody is eligible",
        P + "  a: {require: {max_price: {input: 0.001}}}\n",
        "e 14: no deployment is eligible under it: 3 are left out for price (raise max_price",
    ),
    (
        "nobody for what the rule says itself",
        P + "  eu: {require: {region: eu}}\nrules:\n  - {when: {alias: strong}, use: eu}\n",
        "e 16: calls of strong find no deployment under 'eu': 1 is left out for region",
    ),
    (
        "nobody for the class that the rule names",
        P + "  us: {require: {only: us-mini}}\nrules:\n  - {when: {data_class: pii, alias: fast}, use: us}\n",
        "e 16: calls of fast with data of class pii find no deployment under 'us'",
    ),
    (
        "nobody for some",
        "policies:\n  default: {require: {region: eu}}\n",
        "w 13: calls of strong find no deployment under 'default': 1 is left out for region",
    ),
    (
        "a price that nobody knows",
        "policies:\n  default: {prefer: cheapest}\n",
        "w 13: nobody knows the price of openai/my-own: it comes last under this policy (write it",
    ),
    (
        "a price that must be known",
        "policies:\n  default: {require: {max_price: {input: 9}}}\n",
        "w 13: nobody knows the price of openai/my-own: it is not eligible under this policy",
    ),
    (
        "data that may go to who does not say",
        P + "  eu: {require: {region: eu}}\nrules:\n  - {when: {data_class: pii}, use: eu}\n",
        "w 16: data of class pii may go to eu-haiku",
    ),
]


@pytest.mark.parametrize(
    ("text", "said"), [(text, said) for _, text, said in MISTAKES], ids=[name for name, *_ in MISTAKES]
)
def test_a_mistake_is_found_with_its_line_and_what_to_do(text: str, said: str, tmp_path: Path) -> None:
    models = MODELS.replace("openai/gpt-4o,", "openai/my-own,") if "my-own" in said else MODELS
    lines = found(models + text, tmp_path)
    assert any(said in line for line in lines), lines
    assert not [line for line in lines if said in line and line.endswith("()")] or "must be one of" in said


def test_a_file_without_mistakes_has_none(tmp_path: Path) -> None:
    sound = WHOLE.replace("default: {prefer: ordered}", "default: {prefer: cheapest}")
    assert [line for line in found(sound, tmp_path) if line.startswith("e")] == []


def test_the_schema_knows_all_of_it() -> None:
    schema = Draft202012Validator(config_schema())
    assert [error.message for error in schema.iter_errors(yaml.safe_load(WHOLE))] == []
    wrong = yaml.safe_load(WHOLE)
    wrong["rules"][0]["when"]["team"] = {"or": "a"}
    assert not schema.is_valid(wrong)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "cel", None)
    (line,) = [one for one in found(WHOLE, tmp_path) if one.startswith("e")]
    assert line == "e 31: a CEL expression needs the extra cel (pip install 'llmgate-plugins[cel]')"


def test_a_tag_stands_in_nobodys_way(tmp_path: Path) -> None:
    rules = "rules:\n  - {when: {tag:job: '*'}, use: us}\n  - {when: {team: a}, use: us}\n"
    text = f"{P}  us: {{require: {{region: us}}}}\n{rules}"
    assert not [line for line in found(MODELS + text, tmp_path) if "never reached" in line]


def test_the_command_says_it_too(tmp_path: Path) -> None:
    path = tmp_path / "llmgate.yaml"
    path.write_text(MODELS + P + "  a: {require: {max_price: {input: 0.001}}}\n")
    shown = CliRunner().invoke(config, ["check", str(path), "--no-secrets"])
    assert shown.exit_code == 2
    assert ":14: policies.a: no deployment is eligible under it: 3 are left out for price" in " ".join(
        shown.output.split()
    )
    as_json = CliRunner().invoke(config, ["check", str(path), "--no-secrets", "--json"]).output
    assert [one["line"] for one in json.loads(as_json)["errors"]] == [14]
