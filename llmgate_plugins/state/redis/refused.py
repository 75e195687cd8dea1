"""What an error of a server, or of the way to it, means."""

from __future__ import annotations

from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    ReadOnlyError,
    ResponseError,
)

from llmgate_plugins.errors import StorageError

__all__ = ["elsewhere", "explained"]


def explained(error: BaseException, shown: str) -> StorageError:
    """What a caller is told of it.

    Args:
        shown: Names the server.
    """
    if isinstance(error, StorageError):
        return error
    if isinstance(error, AuthenticationError):
        return StorageError(f"the state at {shown} refuses the user or the password")
    if isinstance(error, ResponseError):
        return StorageError(f"the state at {shown} answered with an error: {error}")
    return StorageError(f"the state at {shown} cannot be reached: {type(error).__name__}")


def elsewhere(error: ResponseError) -> bool:
    """Whether another server has the keys now, or will have."""
    kinds = (MovedError, AskError, ReadOnlyError, ClusterDownError, MasterDownError)
    return isinstance(error, kinds) or "READONLY" in str(error)
