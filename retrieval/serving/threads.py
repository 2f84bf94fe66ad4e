"""How many threads libraries use: set by the entry point of a process, never by a request."""

import faiss
from threadpoolctl import threadpool_limits


def configure_threads() -> None:
    """Let FAISS, on the calling thread, and BLAS, in the whole process, use one thread each.

    A process that answers on several threads needs it, because the threads would otherwise wait for
    each other's helpers. FAISS keeps its number for each thread that calls it, so a server calls
    this where it begins and in each of its workers, as in
    `ThreadPoolExecutor(initializer=configure_threads)`.
    """
    search_alone()
    threadpool_limits(limits=1, user_api="blas")


def search_alone() -> None:
    """Let FAISS use no other thread than the one that calls this; other threads keep theirs."""
    faiss.omp_set_num_threads(1)
