"""`reference/configuration.md`: every section and key of the configuration file, from its models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from generators.markdown import NOTICE, anchor, table
from llmgate_plugins.config import config_schema
from llmgate_plugins.config.litellm_settings import FOREIGN_SECTIONS

__all__ = ["page"]

TITLES: Mapping[str, str] = {
    "DeploymentConfig": "model_list entries",
    "DeploymentParams": "litellm_params",
    "DeploymentInfo": "model_info",
    "PolicyConfig": "policies",
    "Requirements": "require",
    "MostPrice": "max_price",
    "TargetConfig": "targets",
    "StickyConfig": "sticky",
    "LatencyGoal": "slo",
    "RuleConfig": "rules",
    "ExperimentConfig": "experiments",
    "ArmConfig": "arms",
    "PromptConfig": "prompt",
    "StageConfig": "stages",
    "RollbackConfig": "rollback",
    "ShadowConfig": "shadow",
    "ShadowPolicyConfig": "shadow_policy",
    "FailoverConfig": "failover",
    "TimeLimits": "timeouts",
    "BudgetConfig": "budgets",
    "LimitConfig": "limits",
    "Degrade": "on_exhausted",
    "AlertsConfig": "alerts",
    "LogConfig": "log channel",
    "WebhookConfig": "webhook channel",
    "SlackConfig": "slack channel",
    "EmailConfig": "email channel",
    "GoalConfig": "slo entries",
    "AnomaliesConfig": "anomalies",
    "LedgerConfig": "ledger",
    "RetentionConfig": "retention",
    "StoreContentConfig": "store_content",
    "TelemetryConfig": "telemetry",
    "UnderPolicy": "on_exhausted: policy",
    "UnderAlias": "on_exhausted: alias",
    "PriceOverride": "prices",
    "PriceTierOverride": "tiers",
    "PluginConfig": "plugins",
    "RouterSettings": "router_settings",
    "ProviderBudget": "provider_budget_config",
    "LiteLLMSettings": "litellm_settings",
    "CustomProvider": "custom_provider_map",
    "CredentialConfig": "credential_list",
}
"""Model -> its heading; all of them, in the order of the page."""

ANYTHING = "anything"
PLAIN: Mapping[str, str] = {
    "boolean": "yes or no",
    "integer": "whole number",
    "number": "number",
    "string": "text",
}

HEAD = f"""{NOTICE}

# Configuration

One file, usually `llmgate.yaml`; a LiteLLM `config.yaml` is valid as it stands. Unknown keys are refused
with their line; `llmgate config check` lists every mistake at once, `llmgate config schema` prints the JSON
Schema for editors. A duration is written `500ms`, `30s`, `2m`, `1h` or as a number of seconds.

## The file
"""


def page() -> str:
    """The page. A section without a heading is an error."""
    schema = config_schema()
    models = schema["$defs"]
    if set(models) != set(TITLES):
        raise SystemExit(f"sections and their headings differ: {sorted(set(models) ^ set(TITLES))}")
    own = {name: one for name, one in schema["properties"].items() if name not in FOREIGN_SECTIONS}
    parts = [HEAD, _keys({**schema, "properties": own}), ""]
    for name, title in TITLES.items():
        parts += [f"## {title}", "", models[name].get("description", ""), "", _keys(models[name]), ""]
    parts += [
        "## Accepted and ignored",
        "",
        "Sections of a LiteLLM file that have no meaning for a gateway inside a program. Each is said once.",
        "",
        table(("section", "what it is"), ((f"`{name}`", what) for name, what in FOREIGN_SECTIONS.items())),
        "",
    ]
    return "\n".join(parts)


def _keys(model: Mapping[str, Any]) -> str:
    required = model.get("required", ())
    return table(
        ("key", "takes", "default", "meaning"),
        (
            (f"`{name}`", _value_of(name, one), _default(one, name in required), one.get("description", ""))
            for name, one in model["properties"].items()
        ),
    )


def _default(one: Mapping[str, Any], required: bool) -> str:
    if required:
        return "*required*"
    value = one.get("default")
    return "" if value in (None, [], {}, "") else f"`{json.dumps(value)}`"


def _value_of(name: str, one: Mapping[str, Any]) -> str:
    """What a key takes. Where the schema leaves it open, an environment variable may stand for a number."""
    if _takes(one) != ANYTHING:
        return _takes(one)
    return f"{'duration' if 'timeout' in name else 'number'}, or `os.environ/NAME`"


def _takes(one: Mapping[str, Any]) -> str:
    """What a value looks like, in words."""
    if "$ref" in one:
        title = TITLES[one["$ref"].rpartition("/")[2]]
        return f"[{title}](#{anchor(title)})"
    if "500ms" in one.get("examples", ()):
        return "duration"
    if "50 USD/day" in one.get("examples", ()):
        return "amount per window"
    if "enum" in one:
        return ", ".join(f"`{value}`" for value in one["enum"])
    if "const" in one:
        return f"`{one['const']}`"
    choices = one.get("anyOf") or one.get("oneOf")
    if choices:
        return " or ".join(dict.fromkeys(_takes(choice) for choice in choices if choice != {"type": "null"}))
    if one.get("type") == "array":
        return f"list of {_takes(one['items'])}" if one.get("items") else "list"
    if one.get("type") == "object":
        inner = one.get("additionalProperties")
        return f"name: {_takes(inner)}" if isinstance(inner, Mapping) and inner else "mapping"
    return PLAIN.get(str(one.get("type")), ANYTHING)
