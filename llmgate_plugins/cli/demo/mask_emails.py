"""A plugin, whole: no provider sees an e-mail address, whatever host the call was made in."""

import re
from dataclasses import replace

from llmgate_plugins import Message, Request, hookimpl

__all__ = ["MaskEmails"]

EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+")


class MaskEmails:
    """Rewrites a prompt before any deployment is considered."""

    @hookimpl
    def admit_request(self, request: Request) -> Request:
        """Every message without its addresses."""
        return request.replace(messages=tuple(map(masked, request.messages)))


def masked(message: Message) -> Message:
    """The message; a text in it without e-mail addresses."""
    if not isinstance(message.content, str):
        return message
    return replace(message, content=EMAIL.sub("<e-mail>", message.content))
