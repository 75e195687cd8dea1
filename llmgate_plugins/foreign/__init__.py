"""A request as the next provider takes it: what it would refuse is translated or left out.

Only what the tables (`foreign.tables`) know to be refused is touched. What is the provider's
own, and what nobody here knows, goes as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmgate_plugins.foreign.messages import are_plain, fit_messages, fitting_id, is_foreign_part
from llmgate_plugins.foreign.profile import Profile, profile_of
from llmgate_plugins.foreign.words import budget_of, effort_of, fit_words, without_marks
from llmgate_plugins.types import Deployment, LazyMessages, Request

__all__ = [
    "Profile",
    "are_plain",
    "budget_of",
    "effort_of",
    "fit_messages",
    "fit_request",
    "fit_words",
    "fitting_id",
    "is_foreign_part",
    "profile_of",
    "without_marks",
]

HOSTS_OWN = frozenset({"reasoning"})
"""Words by which a host's client may choose another endpoint of OpenAI's."""


def fit_request(request: Request, deployment: Deployment) -> tuple[Request, Sequence[str]]:
    """(the request for this deployment, what was changed for it as short sentences).

    Messages that a host reads lazily are left to that host.
    """
    if request.operation != "chat":
        return request, ()
    params, messages = request.params, request.messages
    lazy = type(messages) is LazyMessages
    plain = lazy or are_plain(messages)
    if plain and not params:
        return request, ()
    profile = profile_of(deployment)
    strange = bool(params) and not profile.watched.isdisjoint(params)
    if not strange and (plain or not profile.family):
        return request, ()
    changes: list[str] = []
    words = params
    if strange:
        keep = HOSTS_OWN if lazy and profile.family == "openai" else frozenset()
        words = fit_words(params, deployment, changes, keep)
    if not lazy and profile.family:
        messages = fit_messages(messages, profile, deployment.provider, changes)
    return (request.replace(params=words, messages=messages), changes) if changes else (request, ())
