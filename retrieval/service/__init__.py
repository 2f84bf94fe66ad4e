"""The live service: it answers from a run, and from the log of what it has been told since."""
