"""The same call twice gives the first answer: by the id that the application gives it."""

from llmgate_plugins.plugins.idempotency.plugin import Idempotency

__all__ = ["Idempotency"]
