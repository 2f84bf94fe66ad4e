"""Movie retrieval with two towers and one dot product.

Read in this order: errors, columns, scale, vocabulary, demographics (words); data (raw files to
numbers and histories); towers; training; run (the folder); pipeline (the steps that make one);
audience, recommender (answers); evaluation; cli.
"""
