"""Nearest-neighbour search by inner product; knows nothing of users, movies or torch.

Read in this order: vectors (the checked door), arrays (the same for files), neighbours (what a
search returns), exact (the numpy oracle), kinds (with the search parameters), policies (how a
search uses each kind), rows (which row an id has), backend (what proposes candidates), rescoring
and scanning (exact scores, from the vectors themselves), rounds (how a search asks a backend until
it is enough), snapshot (an index at one moment), search (the index, which changes from one snapshot
to the next). FAISS is the backend: transform (what it holds of vectors), faiss_kinds, faiss_lists,
faiss_backend, emphasis (which directions count). Around them: store (a folder on disk), tuning
(which kind and which search parameters), synthetic (larger catalogues like a real one).
"""
