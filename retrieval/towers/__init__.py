"""Towers: user towers and movie towers whose vectors meet in a dot product.

Read in this order: content (what is known of a movie), inputs (what a user tower is given), dropout
and neural (the tower pair), notebook (the published model it grew from), bayesian (the pair that is
inferred), tokens and sequence (the pair that reads a history), export (user towers as ONNX), query
(user towers without torch).
"""
