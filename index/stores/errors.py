"""What goes wrong with a vector store."""


class StoreError(Exception):
    """A store that cannot be used; the message names it, without a password, and the remedy."""


class StoreDownError(StoreError):
    """A store that cannot be reached, or does not answer in time."""


class StaleStoreError(StoreError):
    """A store that does not hold the vectors of this index."""
