"""`llmgate.yaml`: what is right is read exactly, what is wrong is told with its line, all of it at once."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pytest
from click.testing import CliRunner

from llmgate_plugins.cli.config import config as command
from llmgate_plugins.config import Degrade, SpendingLimit, check_config, load_config, parse_config
from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.windows import Calendar

EXAMPLE = """\
model_list:
  - model_name: fast
    litellm_params: {model: openai/gpt-4o-mini, api_key: os.environ/OPENAI_API_KEY}
    model_info: {region: us, tier: 1}
  - model_name: fast
    litellm_params: {model: anthropic/claude-haiku-4-5, api_key: os.environ/ANTHROPIC_API_KEY}
    model_info: {region: eu}
policies:
  default: {prefer: cheapest, fallback_to: [strong], deadline: 30s}
  eu-support: {require: {region: eu}, prefer: fastest, slo: {p95: 2s}}
budgets:
  - {scope: team, limit: 50 USD/day, hard: true, on_exhausted: {prefer: cheapest}}
state: memory            # or redis://...
ledger: sqlite:///llmgate.db   # or postgresql+psycopg://...
"""
"""The example of the reference. It leaves out the deployments of `strong`."""

STRONG = """\
model_list:
  - model_name: strong
    litellm_params: {model: openai/gpt-4o}
"""

ONE = """\
model_list:
  - model_name: fast
    litellm_params: {model: openai/gpt-4o-mini, api_key: env:OPENAI_API_KEY}
"""


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai-0123456789")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-0123456789")


def run(tmp_path: Path, text: str, *options: str) -> tuple[int, str]:
    (tmp_path / "llmgate.yaml").write_text(text, encoding="utf-8")
    result = CliRunner().invoke(command, ["check", *options])
    return result.exit_code, result.output


def with_strong(text: str) -> str:
    return text.replace("model_list:\n", STRONG, 1)


def test_the_example_is_read_as_typed_values() -> None:
    config = parse_config(with_strong(EXAMPLE))
    assert config.model_names == ("strong", "fast")
    default, support = config.policies["default"], config.policies["eu-support"]
    assert (default.prefer, default.fallback_to, default.deadline) == ("cheapest", ("strong",), 30.0)
    assert support.require.region == ("eu",)
    assert support.slo is not None
    assert support.slo.p95 == 2.0
    (budget,) = config.budgets
    assert (budget.scope, budget.hard) == (("team",), True)
    assert budget.limit == SpendingLimit(nano_usd=50 * 10**9, per="day")
    assert budget.window(budget.limit) == Calendar("day", "UTC")
    assert budget.on_exhausted == Degrade(prefer="cheapest")
    assert config.state_url() == "memory"
    assert config.ledger_path == "llmgate.db"
    assert config.fallback_map() == {"fast": ("strong",)}
    assert config.warnings == ()


def test_the_example_on_its_own_has_one_mistake_a_fallback_that_leads_nowhere(tmp_path: Path) -> None:
    code, output = run(tmp_path, EXAMPLE)
    assert code == 2
    assert "llmgate.yaml:9: policies.default.fallback_to[0]: falls back to nothing" in output
    assert "1 mistake, 0 warnings" in output


def test_a_file_without_mistakes_is_said_to_be_ok(tmp_path: Path) -> None:
    assert run(tmp_path, with_strong(EXAMPLE).replace("hard: true", "assume_output: 64_000")) == (
        0,
        "llmgate.yaml: ok, 3 deployments of 2 models, 0 warnings\n",
    )


def test_python_objects_of_the_same_shape_give_the_same_configuration() -> None:
    import yaml

    objects = load_config(yaml.safe_load(with_strong(EXAMPLE)))
    assert objects.model_dump() == parse_config(with_strong(EXAMPLE)).model_dump()


BAD = [
    ("unknown key", ONE + "polices: {}\n", 4, "unknown key 'polices' (did you mean policies?)"),
    (
        "a plugin's name as a key",
        ONE + "plugins:\n  - quiet: {loud: 1}\n",
        5,
        "plugins[0]: has a plugin's name as a key (write {name: ..., options: {...}})",
    ),
    (
        "unknown key of an entry",
        "model_list:\n  - model_nam: a\n    model_name: a\n    litellm_params: {model: openai/x}\n",
        2,
        "model_list[0].model_nam: unknown key 'model_nam' (did you mean model_name?)",
    ),
    (
        "unknown key in a policy",
        ONE + "policies:\n  default:\n    prefer: ordered\n    fallbackto: [fast]\n",
        7,
        "policies.default.fallbackto: unknown key 'fallbackto' (did you mean fallback_to?)",
    ),
    ("unknown prefer", ONE + "policies: {default: {prefer: cheepest}}\n", 4, "(did you mean cheapest?)"),
    ("wrong type", ONE + "policies: {default: {max_attempts: many}}\n", 4, "must be a whole number"),
    ("list for a mapping", ONE + "policies: [a]\n", 4, "policies: must be a mapping, not a list"),
    ("mapping for a list", ONE + "budgets: {scope: team}\n", 4, "must be a list, not a mapping"),
    ("missing key", "model_list:\n  - model_name: a\n", 2, "litellm_params is missing"),
    ("empty list", "model_list: []\n", 1, "model_list: is empty"),
    ("no list", "state: memory\n", 1, "model_list is missing"),
    ("empty file", "# nothing\n", 1, "the document is empty"),
    ("no mapping", "- a\n", 1, "the document is not a mapping"),
    ("no YAML", "model_list:\n  - {a: b\n", 3, "not valid YAML"),
    ("duplicate key", ONE + "state: memory\nstate: memory\n", 5, "duplicate key 'state', first on line 4"),
    ("duration", ONE + "policies: {default: {deadline: soon}}\n", 4, "not a duration"),
    ("no time at all", ONE + "policies: {default: {deadline: 0s}}\n", 4, "must be more than 0"),
    ("currency", ONE + "budgets: [{scope: team, limit: 50 EUR/day}]\n", 4, "only USD"),
    (
        "window",
        ONE + "budgets: [{scope: team, limit: 50 USD/age}]\n",
        4,
        "per hour, day, week, month or year",
    ),
    ("no window", ONE + "budgets: [{scope: team, limit: 50 USD}]\n", 4, "per hour, day, week, month or"),
    ("scope", ONE + "budgets: [{scope: teem, limit: 5 USD/day}]\n", 4, "(did you mean team?)"),
    (
        "on_exhausted",
        ONE + "budgets:\n  - scope: team\n    limit: 5 USD/day\n    on_exhausted: {prefer: free}\n",
        7,
        "budgets[0].on_exhausted.prefer: must be cheapest",
    ),
    (
        "on_exhausted word",
        ONE + "budgets: [{scope: team, limit: 5 USD/day, on_exhausted: stop}]\n",
        4,
        "deny",
    ),
    ("price", ONE + "prices: {openai/x: {input: -1}}\n", 4, "must be at least 0"),
    ("state", ONE + "state: reddis://user:pw@host\n", 4, "'reddis' is not known"),
    ("state timeout", ONE + "state: redis://user:pw@host?timeout=soon\n", 4, "write ?timeout=50ms"),
    ("MySQL", ONE + "ledger: mysql://u:pw@h/d\n", 4, "not a kind of ledger"),
    ("retention", ONE + "ledger:\n  retention: {default: soon}\n", 5, "duration"),
    ("ledger", ONE + "ledger: sqlite://\n", 4, "not a kind of ledger"),
    ("region as truth value", ONE + "    model_info: {region: no}\n", 4, "put it in quotes"),
    (
        "duplicate id",
        "model_list:\n"
        + 2 * "  - {model_name: a, litellm_params: {model: openai/x}, model_info: {id: one}}\n",
        3,
        "duplicate deployment id 'one', also on line 2",
    ),
    ("alias loop", ONE + "aliases:\n  a: b\n  b: a\n", 5, "alias 'a' leads back to itself"),
    ("alias of itself", ONE + "aliases:\n  a: a\n", 5, "alias 'a' leads back to itself"),
    ("alias to nothing", ONE + "aliases:\n  a: fst\n", 5, "alias 'a' leads to nothing: no 'fst' (did you"),
    (
        "alias hides a name",
        STRONG + ONE[12:] + "aliases:\n  strong: fast\n",
        7,
        "has the name of a model_name, which wins",
    ),
    ("fallback to nothing", ONE + "fallbacks:\n  fast: [stong]\n", 5, "falls back to nothing: no 'stong'"),
    ("fallback from nothing", ONE + "fallbacks:\n  fats: [fast]\n", 5, "no alias 'fats' that could"),
    (
        "fallback loop",
        STRONG + ONE[12:] + "fallbacks:\n  fast: [strong]\n  strong: [fast]\n",
        7,
        "fallbacks run in a circle: fast -> strong -> fast",
    ),
    ("fallback to itself", ONE + "fallbacks:\n  fast: [fast]\n", 5, "'fast' falls back to itself"),
    (
        "policy falls back to nothing",
        ONE + "policies:\n  x:\n    fallback_to:\n      - fast\n      - none\n",
        8,
        "policies.x.fallback_to[1]: falls back to nothing",
    ),
    (
        "region nobody declares",
        ONE + "policies:\n  x:\n    require:\n      region: [eu]\n",
        7,
        "no deployment declares region 'eu'",
    ),
    (
        "provider nobody has",
        ONE + "policies: {x: {require: {provider: opnai}}}\n",
        4,
        "(did you mean openai?)",
    ),
    (
        "unknown provider",
        "model_list:\n  - model_name: a\n    litellm_params:\n      model: opnai/gpt-4o\n",
        4,
        "'opnai' is no known provider (did you mean openai?)",
    ),
    (
        "no provider",
        "model_list:\n  - model_name: a\n    litellm_params: {model: my-llama}\n",
        3,
        "its provider cannot be told (write provider/model",
    ),
    (
        "missing secret",
        ONE.replace("OPENAI_API_KEY", "NO_SUCH_KEY"),
        3,
        "environment variable NO_SUCH_KEY is not set (export NO_SUCH_KEY=...)",
    ),
    (
        "missing file",
        "model_list:\n  - model_name: a\n    litellm_params: {model: openai/x, api_key: 'file:/nowhere'}\n",
        3,
        "cannot read /nowhere",
    ),
    (
        "missing usual key",
        "model_list:\n  - model_name: a\n    litellm_params: {model: groq/llama}\n",
        3,
        "no api_key is written, and environment variable GROQ_API_KEY is not set",
    ),
    (
        "password in an address",
        "model_list:\n  - model_name: a\n    litellm_params: {model: openai/x, api_base: 'https://u:pw@h/'}\n",
        3,
        "a user or password stands in the address",
    ),
    (
        "no address",
        "model_list:\n  - model_name: a\n    litellm_params: {model: openai/x, api_base: localhost}\n",
        3,
        "this is no address",
    ),
    (
        "key that is no text",
        "model_list:\n  - model_name: a\n    litellm_params: {model: openai/x, api_key: [1]}\n",
        3,
        "must be text: a reference",
    ),
]


@pytest.mark.parametrize(("text", "line", "words"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_mistake_is_told_with_its_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, line: int, words: str
) -> None:
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    code, output = run(tmp_path, text)
    told = " ".join(output.split())
    assert code == 2, output
    assert words in told
    assert f"llmgate.yaml:{line}: " in told
    assert told.count(f"llmgate.yaml:{line}: ") == 1 or "alias" in words
    assert all(len(row) <= 80 for row in output.splitlines())


@pytest.mark.parametrize(("name", "words"), [("missing.yaml", "no such file"), (".", "this is a directory")])
def test_a_file_that_cannot_be_read_is_told_with_exit_code_2(name: str, words: str) -> None:
    result = CliRunner().invoke(command, ["check", name])
    assert result.exit_code == 2
    assert f"{name}: {words}" in result.output


def test_all_mistakes_are_told_in_one_go_in_the_order_of_the_file() -> None:
    text = dedent("""\
        model_list:
          - model_name: fast
            litellm_params: {model: opnai/gpt-4o, rpm: many}
            model_info: {id: one, region: eu}
          - model_name: strong
            litellm_params: {modl: openai/gpt-4o}
            model_info: {id: one}
          - model_nam: slow
        policies:
          default: {prefer: cheepest, fallback_to: [nowhere]}
          us: {require: {region: us}}
        fallbacks: {fast: [strong, slwo]}
        budgets: [{scope: team}]
        stat: memory
        aliases: {a: b, a: c}
        """)
    report = check_config_of(text)
    assert [(problem.line, problem.path) for problem in report] == [
        (3, "model_list[0].litellm_params.rpm"),
        (3, "model_list[0].litellm_params.model"),
        (6, "model_list[1].litellm_params.model"),
        (7, "model_list[1].model_info.id"),
        (8, "model_list[2].model_name"),
        (8, "model_list[2].litellm_params"),
        (8, "model_list[2].model_nam"),
        (10, "policies.default.prefer"),
        (10, "policies.default.fallback_to[0]"),
        (11, "policies.us.require.region"),
        (12, "fallbacks.fast[1]"),
        (13, "budgets[0].limit"),
        (14, "stat"),
        (15, ""),
        (15, "aliases.a"),
    ]


def check_config_of(text: str) -> list[object]:
    with pytest.raises(ConfigurationError) as caught:
        parse_config(text, file="f.yaml")
    return list(caught.value.problems)


def test_secrets_are_not_followed_when_loading_or_when_asked_not_to(tmp_path: Path) -> None:
    text = ONE.replace("OPENAI_API_KEY", "NO_SUCH_KEY")
    assert parse_config(text).model_list[0].litellm_params.api_key is not None
    assert run(tmp_path, text, "--no-secrets")[0] == 0
    assert run(tmp_path, text, "--offline-secrets")[0] == 0
    assert run(tmp_path, text)[0] == 2


def test_a_missing_secret_used_often_is_told_once_with_its_other_places() -> None:
    entry = {"model_name": "a", "litellm_params": {"model": "openai/x", "api_key": "env:NO_SUCH_KEY"}}
    (problem,) = check_config({"model_list": [entry, entry, entry]}).errors
    assert "also model_list[1], model_list[2]" in problem.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ONE.replace("env:OPENAI_API_KEY", "sk-written-0123456789"), "a secret is written into the file"),
        (ONE.replace("env:OPENAI_API_KEY", "'${OPENAI_API_KEY}'"), "shell variables are not expanded"),
        (
            "model_list:\n  - model_name: a\n    litellm_params: {model: openai/x, api_base: 'http://h/v1'}\n",
            "no key is sent to this address, OPENAI_API_KEY neither",
        ),
    ],
)
def test_what_works_but_should_be_known_is_a_warning(tmp_path: Path, text: str, words: str) -> None:
    code, output = run(tmp_path, text)
    assert code == 0
    assert "Good to know:" in output
    assert words in " ".join(output.split())
    (warning,) = parse_config(text).warnings
    assert warning.severity == "warning"


def test_a_placeholder_key_needs_no_warning() -> None:
    assert parse_config(ONE.replace("env:OPENAI_API_KEY", "none")).warnings == ()


def test_json_output_has_every_problem_as_data(tmp_path: Path) -> None:
    code, output = run(tmp_path, ONE + "polices: {}\n", "--json")
    told = json.loads(output)
    assert (code, told["ok"], told["file"]) == (2, False, "llmgate.yaml")
    (error,) = told["errors"]
    assert (error["line"], error["path"], error["severity"]) == (4, "polices", "error")
    assert json.loads(run(tmp_path, ONE, "--json")[1])["deployments"] == 1


def test_plugins_are_named_short_or_with_what_they_must_be() -> None:
    config = parse_config(
        ONE + "plugins:\n  - mine\n"
        "  - {name: other, dist: their-plugin, version: 1.2, options: {api_key: env:X, n: 3}}\n"
    )
    short, full = config.plugins
    assert (short.name, short.dist, short.options) == ("mine", None, {})
    assert (full.dist, full.version, full.options["n"]) == ("their-plugin", "1.2", 3)
    assert repr(full.options["api_key"]) == "Secret(****, id=env:X)"


def test_chains_of_aliases_are_followed_and_fallbacks_by_name_win() -> None:
    config = parse_config(
        with_strong(ONE) + 'aliases: {a: b, b: fast}\nfallbacks: {"*": [strong], strong: [fast, fast]}\n'
        "policies: {careful: {fallback_to: strong}}\n"
    )
    assert config.alias_map() == {"a": "fast", "b": "fast"}
    assert config.fallback_map() == {"strong": ("fast",), "fast": ("strong",)}
    assert config.fallback_map("careful") == {"strong": ("fast",), "fast": ("strong",)}


def test_a_configuration_cannot_be_changed_after_reading() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse_config(ONE).state = "elsewhere"  # type: ignore[misc]


def test_a_missing_secret_is_told_together_with_all_other_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOBODYS_KEY", raising=False)
    file = tmp_path / "llmgate.yaml"
    file.write_text(
        dedent(
            """\
            model_list:
              - model_name: fast
                litellm_params: {model: openai/gpt-4o-mini, api_key: env:NOBODYS_KEY}
            policies:
              default: {prefer: cheapst, fallback_to: [nowhere]}
            """
        )
    )
    report = check_config(file)
    assert sorted(problem.path for problem in report.errors) == [
        "model_list[0].litellm_params.api_key",
        "policies.default.fallback_to[0]",
        "policies.default.prefer",
    ]
