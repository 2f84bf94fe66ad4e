"""Vectors inferred by Gibbs sampling.

Read in this order: `rows`, `latents`, `moods`, `regression`, `features`, `sampler`, `problem`,
`collapse`, `unfold`, `checkpoint`.
"""
