"""The former name of `index.synthetic`."""

from index.synthetic import synthetic_vectors

imitate = synthetic_vectors  # alias until callers follow
