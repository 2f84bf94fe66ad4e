"""Nearest-neighbour search by inner product; knows nothing of users, movies or torch.

Read in this order: vectors (the checked door), neighbours (what a search returns), exact (the numpy
oracle), kinds, candidates (FAISS), search (the index), store (a folder on disk), tuning (which kind
and how hard it must look), imitation (larger catalogues like a real one).
"""
