"""Vector stores behind the index: engines elsewhere that propose candidates.

Read address.py for how a store is named, store.py for what an engine has to do, milvus.py and
postgresql.py for the engines, loading.py for how vectors come into one, and backend.py for how a
search uses it.
"""
