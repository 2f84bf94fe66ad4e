"""The run: one folder with versions that holds everything a trained model answers from."""
