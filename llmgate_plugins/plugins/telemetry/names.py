"""Every name that stands in spans and metrics: the only place where one is written."""

from __future__ import annotations

from typing import Final

__all__ = ["OPERATIONS", "OTHER", "OURSELVES", "PROVIDERS", "operation", "provider"]

# ---------------------------------------------------------------- GenAI conventions, general conventions

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
STREAM: Final = "gen_ai.request.stream"
MAX_TOKENS: Final = "gen_ai.request.max_tokens"
TEMPERATURE: Final = "gen_ai.request.temperature"
TOP_P: Final = "gen_ai.request.top_p"
TOP_K: Final = "gen_ai.request.top_k"
FREQUENCY_PENALTY: Final = "gen_ai.request.frequency_penalty"
PRESENCE_PENALTY: Final = "gen_ai.request.presence_penalty"
STOP_SEQUENCES: Final = "gen_ai.request.stop_sequences"
SEED: Final = "gen_ai.request.seed"
CHOICE_COUNT: Final = "gen_ai.request.choice.count"
REASONING_LEVEL: Final = "gen_ai.request.reasoning.level"
OUTPUT_TYPE: Final = "gen_ai.output.type"

RESPONSE_ID: Final = "gen_ai.response.id"
RESPONSE_MODEL: Final = "gen_ai.response.model"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
TOKEN_TYPE: Final = "gen_ai.token.type"
TOKEN_MODALITY: Final = "gen_ai.token.modality"
ERROR_TYPE: Final = "error.type"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
HTTP_STATUS: Final = "http.response.status_code"

# ---------------------------------------------------------------- our own

CALL_ID: Final = "llmgate.call.id"
CALL_STATUS: Final = "llmgate.call.status"
ANSWERED_BY: Final = "llmgate.answered_by"
REASON: Final = "llmgate.reason"
ALIAS: Final = "llmgate.alias"
DEPLOYMENT: Final = "llmgate.deployment"
DEPLOYMENT_PROVIDER: Final = "llmgate.deployment.provider"
DEPLOYMENT_MODEL: Final = "llmgate.deployment.model"
REGION: Final = "llmgate.region"
POLICY: Final = "llmgate.policy"
POLICY_VERSION: Final = "llmgate.policy.version"
ATTEMPTS: Final = "llmgate.attempts"
COST: Final = "llmgate.cost"
ESTIMATED: Final = "llmgate.estimated"
PROBLEMS: Final = "llmgate.problems"
CONTEXT: Final = "llmgate.context."
TAG: Final = "llmgate.tag."
ATTEMPT_NUMBER: Final = "llmgate.attempt.number"
ATTEMPT_REASON: Final = "llmgate.attempt.reason"
ATTEMPT_STATUS: Final = "llmgate.attempt.status"
ATTEMPT_SKIPPED: Final = "llmgate.attempt.skipped"
ATTEMPT_MODEL: Final = "llmgate.attempt.model"
ATTEMPT_FIRST_TOKEN: Final = "llmgate.attempt.first_token"
ATTEMPT_INPUT: Final = "llmgate.attempt.input_tokens"
ATTEMPT_OUTPUT: Final = "llmgate.attempt.output_tokens"
SUBJECT: Final = "llmgate.subject"
SCOPE: Final = "llmgate.scope"
RULE: Final = "llmgate.policy.rule"
EXPERIMENT: Final = "llmgate.experiment."
SHADOW_OF: Final = "llmgate.shadow_of"
DROPPED: Final = "llmgate.dropped"
LIMIT_KIND: Final = "llmgate.limit.kind"
LIMIT_MODE: Final = "llmgate.limit.mode"
LIMIT_SCOPE: Final = "llmgate.limit.scope"
LIMIT_VALUE: Final = "llmgate.limit.value"
LIMIT_WINDOW: Final = "llmgate.limit.window"
ALERT_KIND: Final = "llmgate.alert.kind"
ALERT_SEVERITY: Final = "llmgate.alert.severity"
ALERT_STATUS: Final = "llmgate.alert.status"


# ---------------------------------------------------------------- metrics

# By the GenAI conventions as of semantic conventions 1.41.
DURATION: Final = "gen_ai.client.operation.duration"
FIRST_CHUNK: Final = "gen_ai.client.operation.time_to_first_chunk"
PER_CHUNK: Final = "gen_ai.client.operation.time_per_output_chunk"
TOKEN_USAGE: Final = "gen_ai.client.token.usage"
# By the GenAI conventions' own repository, where these replace them.
NEXT_DURATION: Final = "gen_ai.client.inference.duration"
NEXT_FIRST_CHUNK: Final = "gen_ai.client.inference.time_to_first_chunk"
NEXT_PER_CHUNK: Final = "gen_ai.client.inference.time_per_output_chunk"
NEXT_INPUT: Final = "gen_ai.client.inference.usage.input_tokens"
NEXT_OUTPUT: Final = "gen_ai.client.inference.usage.output_tokens"
NEXT_CACHE_READ: Final = "gen_ai.client.inference.usage.cache_read.input_tokens"
NEXT_CACHE_WRITE: Final = "gen_ai.client.inference.usage.cache_write.input_tokens"
NEXT_REASONING: Final = "gen_ai.client.inference.usage.reasoning.output_tokens"
NEXT_INPUT_SIZE: Final = "gen_ai.client.inference.operation.input_tokens"
NEXT_OUTPUT_SIZE: Final = "gen_ai.client.inference.operation.output_tokens"
NEXT_EMBEDDINGS: Final = "gen_ai.client.embeddings.duration"
NEXT_EMBEDDINGS_SIZE: Final = "gen_ai.client.embeddings.operation.input_tokens"
# Our own.
CALLS: Final = "llmgate.calls"
SENT: Final = "llmgate.attempts"
SPENT: Final = "llmgate.cost"
EJECTED: Final = "llmgate.ejected"
LIMITS: Final = "llmgate.limit.used"
ALERTS: Final = "llmgate.alerts"

# ---------------------------------------------------------------- values

ATTEMPT_EVENT: Final = "llmgate.attempt"
"""An attempt, where attempts are events, and one that was never sent."""
OTHER: Final = "_OTHER"
"""Stands for every further value of an attribute of metrics that has had too many."""

PROVIDERS: Final = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "azure_text": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "codestral": "mistral_ai",
    "cohere_chat": "cohere",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "text-completion-codestral": "mistral_ai",
    "text-completion-openai": "openai",
    "vertex_ai": "gcp.vertex_ai",
    "vertex_ai_beta": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "watsonx_text": "ibm.watsonx.ai",
    "xai": "x_ai",
}
"""LiteLLM's names of providers where the conventions have another; the rest are the same."""

OURSELVES: Final = "llmgate"
"""The provider of an answer that a plugin gave, and of a call that was not sent anywhere."""

OPERATIONS: Final = {
    "embedding": "embeddings",
    "text": "text_completion",
    "messages": "chat",
    "responses": "chat",
}


def operation(name: str) -> str:
    """A request's operation as the conventions call it."""
    return OPERATIONS.get(name, name)


def provider(name: str) -> str:
    """A deployment's provider as the conventions call it."""
    return PROVIDERS.get(name, name)
