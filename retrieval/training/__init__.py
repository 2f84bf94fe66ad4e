"""Training: examples (arrays that batches are sliced from), presets (how much to spend), loop."""
