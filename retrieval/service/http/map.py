"""The map of movies: the plane in which their vectors differ most."""

from threading import Lock
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from retrieval.service.view import View
from retrieval.serving.snapshot import ServingSnapshot

# Movies on the map, those with the most events.
MOST = 5000


class MovieMap:
    """The map of the snapshot that was asked about last."""

    def __init__(self) -> None:
        # A version that answers no more is freed: this does not hold it.
        self._made: tuple[ref[ServingSnapshot], list[dict[str, object]]] | None = None
        self._making = Lock()

    def of(self, view: View) -> list[dict[str, object]]:
        """Return each movie's id, title, first genre, place and number of events."""
        with self._making:
            if self._made is None or self._made[0]() is not view.snapshot:
                self._made = ref(view.snapshot), _map_of(view)
            return self._made[1]


def _map_of(view: View) -> list[dict[str, object]]:
    snapshot = view.snapshot
    stored, _ = view.state.ratings
    counts = np.zeros(len(view.catalogue), np.int64)
    counts[: len(stored)] = stored
    numbers = snapshot.index.ids[~snapshot.run.hidden[snapshot.index.ids]]  # (C,)
    numbers = numbers[np.argsort(-counts[numbers], kind="stable")][:MOST]
    places = plane(snapshot.encoder.directions(snapshot.index.vectors_of(numbers)))
    movies = [view.catalogue.movies[number] for number in numbers.tolist()]
    return [
        {
            "movie_id": movie.id,
            "title": movie.title,
            "genre": movie.genres[0] if movie.genres else None,
            "x": x,
            "y": y,
            "ratings": count,
        }
        for movie, (x, y), count in zip(
            movies, places.tolist(), counts[numbers].tolist(), strict=True
        )
    ]


def plane(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the first two principal components of C vectors, `(C, 2)`, the larger one first.

    Each component's largest loading is positive, so that the same vectors make the same map.
    """
    centred = np.asarray(vectors, np.float64) - vectors.mean(axis=0) if len(vectors) else vectors
    _, axes = np.linalg.eigh(centred.T @ centred)  # (T, T), the largest last
    two = axes[:, ::-1][:, :2]
    largest = np.abs(two).argmax(axis=0)
    two = two * np.where(two[largest, np.arange(two.shape[1])] < 0, -1.0, 1.0)
    places = np.zeros((len(vectors), 2))
    places[:, : two.shape[1]] = centred @ two
    return places
