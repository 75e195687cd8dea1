"""`reference/reasons.md`: every reason code of the built-in plugins."""

from __future__ import annotations

from generators.markdown import NOTICE, table
from llmgate_plugins.reasons import REASONS

__all__ = ["page"]

HEAD = f"""{NOTICE}

# Reason codes

Why a deployment was left out, an attempt not sent, a call refused: stable words, the same in decision records
(`record.selections[0].dropped`), in the ledger (`calls.decision`, `calls.reason`), on spans, in
`llmgate explain` and in errors (`RequestDenied.code`, `AllDeploymentsUnavailable.reasons`). Plugins of third
parties have words of their own. `llmgate_plugins.reasons.REASONS` is this list for programs.
"""

SECTIONS = {
    "dropped": "## Dropped\n\nThe deployment was no candidate for this call.",
    "skipped": "## Skipped\n\nAn attempt at it was not sent; the call went on to the next.",
    "gave up": "## Gave up\n\nFailover ended although something was left.",
    "denied": "## Denied\n\nThe call was refused.",
}


def page() -> str:
    """The page."""
    parts = [HEAD]
    for decision, head in SECTIONS.items():
        rows = ((f"`{one.code}`", one.plugin, one.meaning) for one in REASONS if one.decision == decision)
        parts += [head, "", table(("code", "by", "what it means"), rows), ""]
    return "\n".join(parts)
