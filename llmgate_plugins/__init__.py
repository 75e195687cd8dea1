"""llmgate: an LLM gateway as a library.

A call's life:

    admit_request        policy      let it in, change it, answer it, or deny it
    narrow_deployments   selection   hard constraints, each drop with a reason
    rank_deployments     selection   preference among what is left
    score_deployments    selection   how a preference of your own values them, for whoever ranks
      limit_attempt      failover    how long it may take to connect, begin, go on
      begin_attempt      accounting  reserve, write the intent; may wait or skip
      [send]                         the host sends
      classify_error     failover    of a failure: what kind, and who is to blame
      end_attempt        accounting  settle; told on success, error, cancel and abandon
      recover_attempt    failover    retry, next deployment, next alias, give up
    review_response      policy      guard the answer
    end_call             accounting  exactly one terminal event
    receive_feedback     accounting  somebody judged an answer, afterwards
    deliver_alert        alerting    tell somebody, off the path of any call

`Gateway` takes deployments and plugins in and calls through; a plugin is an object with
`@hookimpl` methods of these names. Start there, or with `docs/tutorial`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from llmgate_plugins.alerts import Alert
from llmgate_plugins.context import Call, Context, Stash, StashKey, current_context, use_context
from llmgate_plugins.decisions import (
    Drop,
    GiveUp,
    NextAlias,
    NextDeployment,
    Ranking,
    Recovery,
    Reselect,
    Retry,
    Scores,
    Skip,
    Wait,
)
from llmgate_plugins.errors import (
    AlertUndelivered,
    AllDeploymentsUnavailable,
    ConfigurationError,
    DeadlineExceeded,
    HookFailed,
    LLMGateError,
    PluginRefused,
    ProviderError,
    RequestDenied,
    ResponseRejected,
    SecretNotFound,
    StorageError,
    StreamInterrupted,
    UnknownCall,
    UnknownModel,
)
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.limits import Limits, Quota
from llmgate_plugins.records import DecisionRecord, Selection
from llmgate_plugins.secrets import Secret
from llmgate_plugins.services import Feedback, Services
from llmgate_plugins.types import (
    Attempt,
    Chunk,
    Deployment,
    Endpoint,
    ErrorClass,
    Failure,
    Message,
    Outcome,
    Price,
    PriceTier,
    Request,
    Response,
    Scope,
    ToolCall,
    Usage,
)

if TYPE_CHECKING:
    from llmgate_plugins._alerting.alerting import Alerting
    from llmgate_plugins.gateway import Gateway

__all__ = [
    "Alert",
    "AlertUndelivered",
    "Alerting",
    "AllDeploymentsUnavailable",
    "Attempt",
    "Call",
    "Chunk",
    "ConfigurationError",
    "Context",
    "DeadlineExceeded",
    "DecisionRecord",
    "Deployment",
    "Drop",
    "Endpoint",
    "ErrorClass",
    "Failure",
    "Feedback",
    "Gateway",
    "GiveUp",
    "HookFailed",
    "LLMGateError",
    "Limits",
    "Message",
    "NextAlias",
    "NextDeployment",
    "Outcome",
    "PluginRefused",
    "Price",
    "PriceTier",
    "ProviderError",
    "Quota",
    "Ranking",
    "Recovery",
    "Request",
    "RequestDenied",
    "Reselect",
    "Response",
    "ResponseRejected",
    "Retry",
    "Scope",
    "Scores",
    "Secret",
    "SecretNotFound",
    "Selection",
    "Services",
    "Skip",
    "Stash",
    "StashKey",
    "StorageError",
    "StreamInterrupted",
    "ToolCall",
    "UnknownCall",
    "UnknownModel",
    "Usage",
    "Wait",
    "__version__",
    "current_context",
    "hookimpl",
    "use_context",
]


def __getattr__(name: str) -> Any:
    """The gateway and the version, loaded when first asked for."""
    if name == "Alerting":
        return importlib.import_module("llmgate_plugins._alerting.alerting").Alerting
    if name == "Gateway":
        return importlib.import_module("llmgate_plugins.gateway").Gateway
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("llmgate-plugins")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
