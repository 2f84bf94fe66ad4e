"""Synthetic vectors: larger catalogues with the clusters, directions and norms of a real one."""

import faiss
import numpy as np
from numpy.typing import NDArray

from index.vectors import Vectors

# Clusters that are told apart, and vectors that each should have at least.
CLUSTERS, MEMBERS = 64, 20

# Norms vary by this share around those of real vectors.
JITTER = 0.02

# Vectors made together: bounds the memory for them in double precision.
CHUNK = 200_000


def synthetic_vectors(vectors: Vectors, count: int, seed: int) -> Vectors:
    """Return vectors `(count, D)` drawn to look like real ones `(N, D)`.

    Each is drawn from the normal distribution of a cluster, then brought to the norm of a real
    member of it.

    Args:
        vectors: Real vectors, `(N, D)`.
        count: Number of vectors to draw.
        seed: Seed of the clusters and of the draw.
    """
    rng = np.random.default_rng(seed)
    clusters = max(1, min(CLUSTERS, len(vectors) // MEMBERS))
    centres = faiss.Kmeans(vectors.shape[1], clusters, seed=seed + 1, min_points_per_centroid=1)
    centres.train(vectors)
    _, nearest = centres.index.search(vectors, 1)
    owners = nearest[:, 0]
    sizes = np.bincount(owners, minlength=clusters)
    drawn = rng.choice(clusters, count, p=sizes / len(vectors))
    pooled = _covariance(vectors - centres.centroids[owners])
    made = np.empty((count, vectors.shape[1]), np.float32)
    for cluster in np.flatnonzero(sizes):
        members = vectors[owners == cluster].astype(np.float64)
        mean = members.mean(axis=0)
        # Few members say little of their covariance: that of all clusters helps out.
        share = len(members) / (len(members) + vectors.shape[1])
        covariance = share * _covariance(members - mean) + (1 - share) * pooled
        root = _root(covariance)
        norms = np.linalg.norm(members, axis=1)
        places = np.flatnonzero(drawn == cluster)
        for start in range(0, len(places), CHUNK):
            part = places[start : start + CHUNK]
            new = mean + rng.standard_normal((len(part), len(mean))) @ root
            wanted = rng.choice(norms, len(part)) * (1 + JITTER * rng.standard_normal(len(part)))
            new *= (wanted / np.maximum(np.linalg.norm(new, axis=1), 1e-12))[:, None]
            made[part] = new
    return made


def _covariance(deviations: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the covariance `(D, D)` of deviations `(N, D)`."""
    wide = deviations.astype(np.float64)
    return np.asarray(wide.T @ wide / max(1, len(wide)))


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a matrix that gives standard normal rows the covariance."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T)
