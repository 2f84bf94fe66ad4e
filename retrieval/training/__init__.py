"""Training: from numbers to tower pairs, and how they are weighed.

Read in this order: presets (how much to spend); examples, pairs, divergence, loop (the neural
pair); infer (the Bayesian pair); weights, newcomers, rating (how they are blended); sequences,
softmax, sequence_loop (the sequence pair); ranking, watch (what lists are ranked by); rehearsal
(what would fail at the end, tried before).
"""
