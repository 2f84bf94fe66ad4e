"""Threads: every question is answered on one, and several questions at once."""

import faiss
from threadpoolctl import threadpool_limits


def configure_threads() -> None:
    """Let FAISS, on the calling thread, and BLAS, in the process, use one thread and no more.

    It is for whoever answers on several threads, which otherwise wait for each other's. FAISS
    counts threads for each thread of its own: a server calls this where it begins and in each of
    its workers, as in `ThreadPoolExecutor(initializer=configure_threads)`.
    """
    search_alone()
    threadpool_limits(limits=1, user_api="blas")


def search_alone() -> None:
    """Let FAISS search on the calling thread alone, whatever other threads do."""
    faiss.omp_set_num_threads(1)
