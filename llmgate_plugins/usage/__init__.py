"""From what providers report, and from what was sent and delivered, to tokens in disjoint buckets."""

from __future__ import annotations

from llmgate_plugins.usage.asking import (
    LENGTHS,
    PRICED,
    Said,
    allowed_output,
    answers_of,
    as_sent,
    merged_params,
    quoted,
    said_of_price,
    sent_over,
    sent_params,
    tier_asked,
)
from llmgate_plugins.usage.attachments import ATTACHMENT_TOKENS
from llmgate_plugins.usage.counting import count_tokens, most_input
from llmgate_plugins.usage.disjoint import MOST_TOKENS
from llmgate_plugins.usage.encodings import prepare_counting
from llmgate_plugins.usage.estimating import estimate_beside, estimate_tokens, estimate_usage
from llmgate_plugins.usage.expecting import USUAL_OUTPUT, expected_output, longest_answer
from llmgate_plugins.usage.iterations import iterated
from llmgate_plugins.usage.reading import (
    usage_from_anthropic,
    usage_from_langchain,
    usage_from_litellm,
    usage_from_openai,
)
from llmgate_plugins.usage.streams import together
from llmgate_plugins.usage.tiers import tier_of
from llmgate_plugins.usage.wordless import WORDLESS

__all__ = [
    "ATTACHMENT_TOKENS",
    "LENGTHS",
    "MOST_TOKENS",
    "PRICED",
    "USUAL_OUTPUT",
    "WORDLESS",
    "Said",
    "allowed_output",
    "answers_of",
    "as_sent",
    "count_tokens",
    "estimate_beside",
    "estimate_tokens",
    "estimate_usage",
    "expected_output",
    "iterated",
    "longest_answer",
    "merged_params",
    "most_input",
    "prepare_counting",
    "quoted",
    "said_of_price",
    "sent_over",
    "sent_params",
    "tier_asked",
    "tier_of",
    "together",
    "usage_from_anthropic",
    "usage_from_langchain",
    "usage_from_litellm",
    "usage_from_openai",
]
