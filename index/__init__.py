"""Nearest-neighbour search by inner product; knows nothing of users, movies or torch.

Read in this order: vectors (the checked door), arrays (the same for files), neighbours (what a
search returns), exact (the numpy oracle), kinds, rows (which row an id has), candidates (FAISS),
snapshot (how an index is searched), search (the index, which changes from one snapshot to the
next), store (a folder on disk), tuning (which kind and how hard it must look), imitation (larger
catalogues like a real one).
"""
