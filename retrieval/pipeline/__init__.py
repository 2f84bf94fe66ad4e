"""The steps from data to a run."""
