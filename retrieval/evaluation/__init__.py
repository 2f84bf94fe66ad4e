"""Evaluation: metrics (definitions), baselines (to be beaten), protocols (cut, train, ask)."""
