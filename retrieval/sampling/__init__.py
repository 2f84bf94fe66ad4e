"""Vectors inferred by Gibbs sampling.

Read in this order: `model`, `rows`, `latents`, `moods`, `regression`, `features`, `sampler`,
`collapse`.
"""
