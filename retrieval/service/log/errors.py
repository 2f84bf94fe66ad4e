"""What can go wrong with the log."""

from retrieval.errors import RecError, RequestError


class LogError(RecError):
    """The database of the log cannot be reached, read or written; it says which and what to do."""


class KeyConflictError(RequestError):
    """The same idempotency key was sent before, with other events."""
