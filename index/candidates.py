"""The former name of `index.faiss_kinds`."""

from index import faiss_kinds

ADDING, LINKS = faiss_kinds.EF_CONSTRUCTION, faiss_kinds.LINKS  # alias until callers follow
