"""How long an answer will be, before there is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmgate_plugins.types import Deployment, Request
from llmgate_plugins.usage.asking import allowed_output, answers_of, sent_params
from llmgate_plugins.usage.wordless import WORDLESS

__all__ = ["USUAL_OUTPUT", "expected_output", "longest_answer"]

USUAL_OUTPUT: Final = 256
"""Output tokens of an answer whose length nobody bounds."""


def longest_answer(deployment: Deployment, request: Request) -> int | None:
    """Output tokens that the request or else the configuration allows; None if neither says."""
    return allowed_output(sent_params(deployment, request))


def expected_output(
    deployment: Deployment,
    request: Request,
    otherwise: int = USUAL_OUTPUT,
    sent: Mapping[str, Any] | None = None,
) -> int:
    """Output tokens of all answers asked for: as many as are allowed, else as usual; of what is no text none.

    Args:
        otherwise: For an answer whose length nobody bounds; or what the model can write at
            most, if that is less.
        sent: What `sent_params` says of both, where that is known already.
    """
    if request.operation in WORDLESS:
        return 0
    if sent is None:
        sent = sent_params(deployment, request)
    tokens = allowed_output(sent)
    if tokens is None:
        most = deployment.max_output
        tokens = otherwise if most is None or otherwise < most else most
    return tokens * answers_of(sent)
