"""The configuration file: read with every mistake told, checked as a whole, turned into deployments."""

from __future__ import annotations

from llmgate_plugins.config.alerts_config import (
    AlertsConfig,
    AnomaliesConfig,
    ChannelConfig,
    EmailConfig,
    GoalConfig,
    LogConfig,
    SlackConfig,
    WebhookConfig,
)
from llmgate_plugins.config.amounts import CountLimit, SpendingLimit
from llmgate_plugins.config.deployment_config import DeploymentConfig, DeploymentInfo, DeploymentParams
from llmgate_plugins.config.deployments import build_deployments, missing_secrets
from llmgate_plugins.config.gateway_config import GatewayConfig
from llmgate_plugins.config.ledger_config import LedgerConfig, RetentionConfig, StoreContentConfig
from llmgate_plugins.config.limit_config import BudgetConfig, Degrade, LimitConfig, UnderAlias, UnderPolicy
from llmgate_plugins.config.litellm_settings import LiteLLMSettings, RouterSettings
from llmgate_plugins.config.loading import Report, check_config, load_config, parse_config
from llmgate_plugins.config.plugin_config import PluginConfig
from llmgate_plugins.config.policy_config import LatencyGoal, PolicyConfig, Requirements, TargetConfig
from llmgate_plugins.config.price_config import PriceOverride
from llmgate_plugins.config.references import config_secrets
from llmgate_plugins.config.rule_config import RuleConfig
from llmgate_plugins.config.schema import config_schema

__all__ = [
    "AlertsConfig",
    "AnomaliesConfig",
    "BudgetConfig",
    "ChannelConfig",
    "CountLimit",
    "Degrade",
    "DeploymentConfig",
    "DeploymentInfo",
    "DeploymentParams",
    "EmailConfig",
    "GatewayConfig",
    "GoalConfig",
    "LatencyGoal",
    "LedgerConfig",
    "LimitConfig",
    "LiteLLMSettings",
    "LogConfig",
    "PluginConfig",
    "PolicyConfig",
    "PriceOverride",
    "Report",
    "Requirements",
    "RetentionConfig",
    "RouterSettings",
    "RuleConfig",
    "SlackConfig",
    "SpendingLimit",
    "StoreContentConfig",
    "TargetConfig",
    "UnderAlias",
    "UnderPolicy",
    "WebhookConfig",
    "build_deployments",
    "check_config",
    "config_schema",
    "config_secrets",
    "load_config",
    "missing_secrets",
    "parse_config",
]
