"""`reference/errors.md`: the error tree."""

from __future__ import annotations

from generators.markdown import NOTICE, described, signature_of
from llmgate_plugins import errors

__all__ = ["page"]

HEAD = """
# Errors

Every error that llmgate raises itself is an `LLMGateError`, so one `except` catches them all. An error of a
provider is *not* wrapped: when no attempt succeeds, the caller gets the first attempt's own exception
(`openai.RateLimitError`, `anthropic.APIStatusError`, ...), with one note per attempt.
"""


def page() -> str:
    """The page."""
    _, _, tree = (errors.__doc__ or "").partition("\n\n")
    out = [NOTICE, HEAD, f"```text\n{tree.strip()}\n```", ""]
    for name in errors.__all__:
        kind = getattr(errors, name)
        out += [f"## {name}", ""]
        bases = [base.__name__ for base in kind.__bases__ if base is not object]
        if bases:
            out += [f"A kind of {' and '.join(f'`{base}`' for base in bases)}.", ""]
        if "__init__" in vars(kind):
            out += [signature_of(name, kind), ""]
        out += [described(kind), ""]
    return "\n".join(out)
