"""The command line: commands and what they print; the work is done elsewhere.

Read in this order: app (which commands there are, and how errors and signals end them); options,
question (from options to what a recommender takes); ask, movies, batch, train, catalogue, evaluate,
bench, data, runs (the commands); requests, tables (questions as text and as files); answers (files
of answers); output (tables and JSON); display, progress, signals (the terminal).
"""
