"""Towers: user towers and movie towers whose vectors meet in a dot product.

Read in this order: content (what is known of a movie), inputs (what a user tower is given),
neural (the tower pair), notebook (the published model it grew from), export (the user tower as
ONNX), query (the user tower without torch).
"""
