"""New movies: from facts alone, after their first ratings, and after a training that had these.

python benchmarks/new_movies.py --data FOLDER [--preset quick] [--towers neural,bayesian,sequence]

A twentieth of the rated movies are left out, as in the protocol `new-movies`: a run is trained that
has never heard of them. Then each is described by its facts, and moved by its first 0, 1, 5 and 20
ratings in closed form. The same ratings are given to a training that begins anew. Asked is, each
time, about the ratings of these movies after their first 20: the error, and where movies that were
liked stand among all that their user has not rated, as a share of these, from 0 for the best. The
mean gain is 1 / log2(rank + 2) of liked movies among the first ten.

Histories may hold such movies too. Somebody new tells five ratings, of new movies alone or of
others alone, and is asked about ratings of others that are not told.
"""

import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from machine import Report, arguments
from numpy.typing import NDArray
from subset import train_on

from retrieval.data.dataset import Dataset, encode
from retrieval.data.frames import MovieData
from retrieval.data.layouts import read_folder
from retrieval.data.listing import attributes_of, listed
from retrieval.data.split import held_out
from retrieval.evaluation.baselines import fit_biases
from retrieval.evaluation.metrics import discounted_gain, mean, root_mean_square_error
from retrieval.options import Preset, RankBy, Split
from retrieval.pipeline.settings import Settings, preset_settings
from retrieval.service.catalogue import LoggedMovies, overlaid
from retrieval.serving.encoder import questions_of
from retrieval.serving.events import Event
from retrieval.serving.new_movies import (
    MovieFolding,
    content_of,
    content_vectors,
    new_movie_vectors,
)
from retrieval.serving.snapshot import ServingSnapshot
from retrieval.serving.users import many_users

GIVEN = (0, 1, 5, 20)

# Ratings from which on a movie is liked, as a share of the way up the scale.
LIKED = 0.75

TOP = 10

# Ratings that somebody new tells, and is asked about; and how many people are new at most.
TOLD, PEOPLE = 5, 200

Numbers = NDArray[np.int64]
Vectors = NDArray[np.float32]


class Cut(NamedTuple):
    """Ratings in the order of the file, and which of them are of new movies."""

    data: MovieData
    dataset: Dataset
    new: Numbers  # (A,) numbers of the new movies
    place: Numbers  # (N,) how many ratings of the movie came before; -1 where it is not new

    def trained(self, given: int) -> NDArray[np.bool_]:
        """Return which ratings are known when each new movie has so many, `(N,)`."""
        return self.place < given

    @property
    def asked(self) -> Numbers:
        """The rows that are asked about."""
        return np.flatnonzero(self.place >= max(GIVEN))


def cut(data: MovieData, seed: int) -> Cut:
    """Choose the new movies."""
    dataset = encode(data)
    columns = dataset.users, dataset.movies, dataset.timestamps
    out = np.flatnonzero(held_out(Split.NEW_MOVIES, *columns, seed))
    out = out[np.lexsort((dataset.timestamps[out], dataset.movies[out]))]
    movies, first = np.unique(dataset.movies[out], return_index=True)
    place = np.full(len(dataset.movies), -1)
    place[out] = np.arange(len(out)) - first[np.searchsorted(movies, dataset.movies[out])]
    return Cut(data, dataset, movies, place)


def facts_of(cut: Cut) -> list[dict[str, object]]:
    """Return the facts of the new movies, as somebody would tell them to a service."""
    frame = cut.dataset.movie_frame.iloc[cut.new]
    known = attributes_of(frame, cut.dataset.movie_attributes)
    return [known.value(row) | {"title": movie.title} for row, movie in enumerate(listed(frame))]


class Lists(NamedTuple):
    """What answers: vectors of movies, and whose they are."""

    snapshot: ServingSnapshot
    movies: Numbers  # (M,) numbers in the data
    vectors: Vectors  # (M, D)


def lists_of(cut: Cut, folder: Path) -> Lists:
    """Return what a run says of the movies that it was trained on."""
    snapshot = ServingSnapshot.load(folder)
    ids = snapshot.run.catalogue.vocabulary.ids
    vectors = snapshot.vectors_of(np.arange(len(ids)))
    return Lists(snapshot, cut.dataset.movie_vocabulary.numbers(ids), vectors)


def with_new(cut: Cut, old: Lists, vectors: Vectors) -> Lists:
    """Return a run's lists with the new movies at the end."""
    movies, every = np.append(old.movies, cut.new), np.vstack([old.vectors, vectors])
    return Lists(old.snapshot, movies, every)


def moved_vectors(cut: Cut, old: Lists, facts: list[dict[str, object]], given: int) -> Vectors:
    """Return the vectors of the new movies after so many ratings each, `(A, D)`."""
    snapshot, data = old.snapshot, cut.dataset
    run, encoder = snapshot.run, snapshot.encoder
    folding = MovieFolding.of(run, encoder)
    if folding is None:
        raise SystemExit("no pair of the run learns from the ratings of new movies")
    vectors = content_vectors(run, content_of(run, facts))
    for row, movie in enumerate(cut.new.tolist()):
        rows = np.flatnonzero((data.movies == movie) & (cut.place >= 0) & (cut.place < given))
        rows = rows[np.isin(data.users[rows], known_users(cut, old))]
        users, which = many_users(run, data.user_vocabulary.ids[data.users[rows]], {})
        raters = encoder.tower(folding.part.name).encode(questions_of(users, which, None).questions)
        vectors[row] = folding.moved(vectors[row], raters, data.ratings[rows]).vector
    return vectors


def known_users(cut: Cut, lists: Lists) -> Numbers:
    """Return the numbers of the users of a run."""
    return cut.dataset.user_vocabulary.numbers(lists.snapshot.run.users.ids)


class Stranger(NamedTuple):
    """The ratings of somebody who rated enough of new and of other movies, in random order."""

    user: int
    late: Numbers  # rows of new movies
    other: Numbers


def strangers(cut: Cut) -> list[Stranger]:
    """Return people whom a run is not to know, drawn at random."""
    data, rng = cut.dataset, np.random.default_rng(0)
    new, found = np.isin(data.movies, cut.new), []
    for user, own in enumerate(rows_of_users(data.users, rng)):
        late, other = own[new[own]], own[~new[own]]
        if len(late) >= TOLD and len(other) >= 2 * TOLD:
            found.append(Stranger(user, late[:TOLD], other))
    chosen = rng.permutation(len(found))[:PEOPLE]
    return [found[place] for place in chosen.tolist()]


def histories(
    report: Report, cut: Cut, old: Lists, facts: list[dict[str, object]], people: list[Stranger]
) -> None:
    """Report what ratings of new movies say of somebody new, beside those of other movies.

    Five ratings are told, and as many of other movies are asked about.

    Args:
        report: Who is told.
        cut: The data.
        old: What answers, which knows nothing of these people.
        facts: Of the new movies.
        people: The people.
    """
    data, ids = cut.dataset, cut.dataset.movie_vocabulary.ids
    named = {str(movie): each for movie, each in zip(ids[cut.new].tolist(), facts, strict=True)}
    snapshot = overlaid(old.snapshot, LoggedMovies(named)).snapshot
    asked = np.array([person.other[:TOLD] for person in people])
    told = {
        "nothing": np.zeros((len(people), 0), np.int64),
        "new movies": np.array([person.late for person in people]),
        "other movies": np.array([person.other[TOLD : 2 * TOLD] for person in people]),
    }
    for name, events in told.items():
        given = {
            -1 - place: [
                Event(ids[data.movies[row]].item(), float(data.ratings[row])) for row in own
            ]
            for place, own in enumerate(events.tolist())
        }
        users, which = many_users(snapshot.run, -1 - np.arange(len(people)), given)
        encoded = snapshot.encoder.encode(questions_of(users, which, None))
        numbers = snapshot.run.catalogue.vocabulary.numbers(ids[data.movies[asked]].ravel())
        vectors = snapshot.vectors_of(numbers).reshape(*asked.shape, -1)
        scores = (encoded.vectors[:, None] * vectors).sum(axis=2).astype(np.float64)
        predicted = snapshot.encoder.ratings(encoded.offsets[:, None], scores)
        error = rmse(data, predicted.ravel(), asked.ravel())
        line = (
            f"told {events.shape[1]} ratings of {name:12}: RMSE {error:.4f} of {asked.size} others"
        )
        report.add(line, told=name, ratings=asked.size, users=len(people), rmse=error)


def rows_of_users(users: NDArray[np.integer], rng: np.random.Generator) -> list[Numbers]:
    """Return the rows of each user, in random order."""
    mixed = rng.permutation(len(users))
    by_user = mixed[np.argsort(users[mixed], kind="stable")]
    return np.split(by_user, np.cumsum(np.bincount(users))[:-1])


def score(report: Report, name: str, cut: Cut, lists: Lists, given: int) -> None:
    """Report error and ranks of new movies."""
    data, encoder = cut.dataset, lists.snapshot.encoder
    asked = cut.asked[np.isin(data.users[cut.asked], known_users(cut, lists))]
    users, which = many_users(lists.snapshot.run, data.user_vocabulary.ids[data.users[asked]], {})
    questions = questions_of(users, np.arange(len(users.stored)), None)
    encoded = encoder.encode(questions)
    places = np.full(len(data.movie_vocabulary), -1)
    places[lists.movies] = np.arange(len(lists.movies))
    target = places[data.movies[asked]]
    scores = (encoded.vectors[which] * lists.vectors[target]).sum(axis=1).astype(np.float64)
    error = rmse(data, encoder.ratings(encoded.offsets[which], scores), asked)
    liked = np.flatnonzero(data.ratings[asked] >= likes(data))
    trained = cut.trained(0)
    owners, seen = data.users[trained], places[data.movies[trained]]
    row = {"system": name, "given": given, "rmse": error, "ratings": len(asked)}
    said = f"{name:22} {given:2} ratings: RMSE {error:.4f}"
    for rank_by in (RankBy.RATING, RankBy.BLEND):
        if rank_by not in encoder.rankings:
            continue
        queries = encoder.queries(questions, encoded.vectors, rank_by)
        shares, ranks = [], []
        for place in liked.tolist():
            of_movies = lists.vectors @ queries[which[place]]
            wanted = of_movies[target[place]]
            of_movies[seen[owners == data.users[asked[place]]]] = -np.inf
            rank = int((of_movies > wanted).sum())
            ranks.append(rank)
            shares.append(rank / np.isfinite(of_movies).sum())
        gain, share = discounted_gain(np.array(ranks, float), TOP), mean(np.array(shares))
        said += f"; by {rank_by}: liked at {share.value:.3f}, gain {gain.value:.4f}"
        row |= {f"share {rank_by}": share.value, f"gain {rank_by}": gain.value}
    report.add(said, **row)


def baselines(report: Report, cut: Cut, given: int) -> None:
    """Report the error of means."""
    data, known, asked = cut.dataset, cut.trained(given), cut.asked
    biases = fit_biases(
        data.users[known],
        data.movies[known],
        data.ratings[known],
        len(data.user_vocabulary),
        len(data.movie_vocabulary),
    )
    users, movies = data.users[asked], data.movies[asked]
    both = biases.centre + biases.movies[movies] + biases.users[users]
    means = {"movie mean": biases.movie_means[movies], "user mean + movie bias": both}
    for name, predicted in means.items():
        error = rmse(data, predicted, asked)
        line = f"{name:22} {given:2} ratings: RMSE {error:.4f}"
        report.add(line, system=name, given=given, rmse=error, ratings=len(asked))


def rmse(data: Dataset, predicted: NDArray[np.float64], rows: Numbers) -> float:
    """Return the error of predictions for rows `(Q,)`."""
    true = data.ratings[rows].astype(np.float64)
    return root_mean_square_error(data.scale.clip(predicted), true).value


def likes(data: Dataset) -> float:
    """Return the rating from which on a movie is liked."""
    return data.scale.lowest + LIKED * (data.scale.highest - data.scale.lowest)


def without_new(cut: Cut) -> MovieData:
    """Return the data with nothing of the new movies in it."""
    movies = cut.data.movies
    new = movies["movie_id"].isin(cut.dataset.movie_vocabulary.ids[cut.new])
    return replace(cut.data, movies=movies[~new].reset_index(drop=True))


def retrained(report: Report, cut: Cut, settings: Settings, given: int, folder: Path) -> Lists:
    """Train anew with the first ratings of new movies."""
    began = time.perf_counter()
    data = cut.data if given else without_new(cut)
    train_on(data, cut.trained(given), folder, settings, 0)
    report.say(f"training with {given} ratings of each: {time.perf_counter() - began:.0f} s")
    return lists_of(cut, folder)


def main() -> None:
    """Train, move, ask, and train again."""
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with ratings")
    parser.add_argument("--preset", type=Preset, choices=list(Preset), default=Preset.QUICK)
    parser.add_argument("--towers", default="neural,bayesian,sequence", help="pairs to train")
    asked = parser.parse_args()
    settings = preset_settings(asked.preset, asked.towers.split(","))
    report = Report(asked, f"{asked.data.name}, preset {asked.preset}, {asked.towers}")
    parts = cut(read_folder(asked.data), asked.seed)
    movies = len(np.unique(parts.dataset.movies[parts.asked]))
    report.say(
        f"{len(parts.new)} new movies; asked about {len(parts.asked):,} ratings of the {movies} "
        f"that have more than {max(GIVEN)}"
    )
    facts = facts_of(parts)
    with TemporaryDirectory() as scratch:
        old = retrained(report, parts, settings, 0, Path(scratch) / "run-0")
        run = old.snapshot.run
        still = new_movie_vectors(run, content_of(run, facts))
        people = strangers(parts)
        known = ~np.isin(parts.dataset.users, [person.user for person in people])
        folder = Path(scratch) / "without-people"
        train_on(without_new(parts), parts.trained(0) & known, folder, settings, 0)
        histories(report, parts, lists_of(parts, folder), facts, people)
        for given in GIVEN:
            baselines(report, parts, given)
            if not given:
                score(report, "facts alone", parts, with_new(parts, old, still), given)
                continue
            began = time.perf_counter()
            vectors = moved_vectors(parts, old, facts, given)
            each = (time.perf_counter() - began) / len(vectors) * 1000
            score(report, "moved", parts, with_new(parts, old, vectors), given)
            report.say(f"{'':22} moved in {each:.1f} ms a movie, their users encoded")
            new = retrained(report, parts, settings, given, Path(scratch) / f"run-{given}")
            score(report, "trained again", parts, new, given)
    report.save()


if __name__ == "__main__":
    main()
