"""The sequence pair: a transformer over the history, for what is watched next."""
