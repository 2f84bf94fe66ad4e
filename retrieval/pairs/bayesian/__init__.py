"""The Bayesian pair: vectors inferred by Gibbs sampling."""
