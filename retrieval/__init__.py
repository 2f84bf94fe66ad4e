"""Movie retrieval with two towers and one dot product.

Read in this order: errors, columns, choices, scale, vocabulary, demographics (words); data (raw
files to numbers and histories); towers; sampling; training; run (the folder); pipeline (the steps
that make one); audience, filters, encoder (people to queries); indexing; explanation, recommender
(answers); evaluation, bench; cli.
"""
