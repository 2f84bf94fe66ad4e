"""Answers: from a user and a history to lists and ratings."""
