"""A synthetic world with known structure, in the layout of MovieLens-1M or as tables of a shop."""

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.data.times import DAY
from retrieval.data.user_attributes import AGE_EDGES
from retrieval.errors import RequestError
from retrieval.storage.files import new_folder

GENRES = ("Action", "Comedy", "Drama", "Horror", "Musical", "Romance", "Sci-Fi", "Western")
ADJECTIVES = {
    "Action": "Deadly Final Iron Burning Lethal Savage",
    "Comedy": "Crazy Lucky Funny Hopeless Clumsy Merry",
    "Drama": "Quiet Broken Distant Tender Forgotten Long",
    "Horror": "Haunted Bloody Cursed Rotten Screaming Pale",
    "Musical": "Singing Golden Dancing Bright Velvet Swinging",
    "Romance": "Secret Sweet Endless Summer Stolen Gentle",
    "Sci-Fi": "Cosmic Electric Atomic Lunar Stellar Robotic",
    "Western": "Dusty Lonesome Wild Prairie Silver Outlaw",
}
NOUNS = [
    *("Harbor", "River", "Mirror", "Garden", "Winter", "Letter", "Station", "Empire", "Shadow"),
    *("Crown", "Island", "Orchard", "Bridge", "Canyon", "Lantern", "Stranger", "Promise"),
    *("Voyage", "Castle", "Meadow", "Journey", "Tower", "Storm", "Valley"),
]
PATTERNS = ("The {0} {1}", "{0} {1}", "{1} of the {0} {2}", "The {0} {1} and the {2}")
DIMENSION = 6
AGES = np.array([1, *AGE_EDGES])
OCCUPATIONS = 21
FEWEST_OF_A_USER = 20
FIRST_SECOND = 956_700_000  # spring of 2000
YEAR = 365 * DAY
SPAN = int(2.5 * YEAR)
# Before it is cut to 1..5 stars, which brings the mean to about 3.6 as in MovieLens.
MEAN_VALUE = 3.68
UNRATED = 0.04  # share of movies that nobody rates

# How tables write times.
ISO = "%Y-%m-%dT%H:%M:%SZ"

# Events, and pairs of a user and a movie, that are worked on together: what that needs does not
# grow with the world.
TOGETHER, CELLS = 2**18, 2**22


class World(NamedTuple):
    """U users, M movies, N ratings, and the truth behind them."""

    users: NDArray[np.int64]  # (N,) rows
    movies: NDArray[np.int64]  # (N,) rows
    ratings: NDArray[np.int64]  # (N,) 1 to 5
    timestamps: NDArray[np.int64]  # (N,) seconds
    genders: NDArray[np.int64]  # (U,) 0 or 1
    ages: NDArray[np.int64]  # (U,) rows of AGES
    occupations: NDArray[np.int64]  # (U,)
    genres: NDArray[np.bool_]  # (M, G)
    years: NDArray[np.int64]  # (M,)
    tastes: NDArray[np.float64]  # (U, D)
    traits: NDArray[np.float64]  # (M, D)
    qualities: NDArray[np.float64]  # (M,)
    leniencies: NDArray[np.float64]  # (U,) how kindly a user rates
    drifts: NDArray[np.float64]  # (U,) stars a year that the mood changes by


def sample_world(rng: np.random.Generator, *, users: int, movies: int, ratings: int) -> World:
    """Draw a world.

    A movie's traits lie around those of its genres, a user's tastes around those of people of the
    same gender and age; popular movies are rated more, liked ones a little more; a user rates in
    sessions.

    Raises:
        RequestError: Users and movies are too few for so many ratings.
    """
    counts = _counts(rng, users, movies, ratings)
    genres = np.zeros((movies, len(GENRES)), dtype=bool)
    genres[np.arange(movies), rng.integers(len(GENRES), size=movies)] = True
    genres |= rng.random(genres.shape) < 0.1
    meanings = rng.normal(size=(len(GENRES), DIMENSION))
    traits = genres @ meanings / genres.sum(1, keepdims=True)
    traits += 0.5 * rng.normal(size=traits.shape)
    genders, ages = rng.integers(2, size=users), rng.integers(len(AGES), size=users)
    shifts = rng.normal(size=(2, DIMENSION)), rng.normal(size=(len(AGES), DIMENSION))
    tastes = 0.4 * shifts[0][genders] + 0.4 * shifts[1][ages]
    tastes += 0.8 * rng.normal(size=(users, DIMENSION))
    qualities, leniencies = 0.4 * rng.normal(size=movies), 0.35 * rng.normal(size=users)
    drifts = 0.1 * rng.normal(size=users)
    popularity = -0.8 * np.log(np.arange(1, movies + 1) + 10)[rng.permutation(movies)]
    popularity[rng.permutation(movies)[: int(UNRATED * movies)]] = -np.inf
    chosen = _choose(rng, tastes, traits, popularity + 0.5 * qualities, counts)
    owners = np.repeat(np.arange(users), counts)
    timestamps, first = _sessions(rng, owners, users)
    value = 0.7 * rng.normal(size=ratings)
    for part in _parts(ratings):
        user, movie = owners[part], chosen[part]
        liking = 0.7 * (tastes[user] * traits[movie]).sum(1) / np.sqrt(DIMENSION)
        value[part] += leniencies[user] + qualities[movie] + liking
        value[part] += drifts[user] * (timestamps[part] - timestamps[first][user]) / YEAR
    # What is watched is liked more than the rest.
    value += MEAN_VALUE - value.mean()
    return World(
        users=owners,
        movies=chosen,
        ratings=np.clip(np.rint(value), 1, 5).astype(np.int64),
        timestamps=timestamps,
        genders=genders,
        ages=ages,
        occupations=rng.integers(OCCUPATIONS, size=users),
        genres=genres,
        years=2000 - rng.geometric(0.07, size=movies).clip(max=70),
        tastes=tastes,
        traits=traits,
        qualities=qualities,
        leniencies=leniencies,
        drifts=drifts,
    )


def write_world(
    folder: Path, *, users: int, movies: int, ratings: int, seed: int, tables: bool = False
) -> None:
    """Write a world as ratings.dat, movies.dat and users.dat.

    Args:
        folder: Folder to write.
        users: How many users.
        movies: How many movies.
        ratings: How many ratings.
        seed: Seed of the draw.
        tables: Whether to write CSV instead, with columns of other names and ids that are texts.

    Raises:
        RequestError: The folder holds something, or the sizes do not fit together.
    """
    try:
        if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
            raise RequestError(f"{folder} is there and not an empty folder; name a new one")
        rng = np.random.default_rng(seed)
        world = sample_world(rng, users=users, movies=movies, ratings=ratings)
        titles = _titles(rng, world.genres)
        with new_folder(folder) as partial:
            (_write_tables if tables else _write_movielens)(partial, world, titles)
    except MemoryError as error:
        raise RequestError("so large a world does not fit into memory; make it smaller") from error
    except OSError as error:
        raise RequestError(f"{folder} cannot be written: {error}; name another folder") from error


def _write_movielens(folder: Path, world: World, titles: Sequence[str]) -> None:
    movies = len(world.years)
    # Every eleventh id is left out, as MovieLens has gaps too.
    ids = np.array([number for number in range(1, 2 * movies + 2) if number % 11][:movies])
    _write(folder / "ratings.dat", _events(world, ids))
    described = zip(ids, titles, world.years, _genres(world), strict=True)
    _write(
        folder / "movies.dat",
        ((movie, f"{title} ({year})", genres) for movie, title, year, genres in described),
    )
    people = zip(world.genders, world.ages, world.occupations, strict=True)
    _write(
        folder / "users.dat",
        (
            (user, "FM"[gender], AGES[age], occupation, "00000")
            for user, (gender, age, occupation) in enumerate(people, start=1)
        ),
    )


def _write_tables(folder: Path, world: World, titles: Sequence[str]) -> None:
    events = (
        (f"v-{user:05}", f"f-{film:05}", stars, f"{datetime.fromtimestamp(seconds, UTC):{ISO}}")
        for user, film, stars, seconds in _events(world, np.arange(len(world.years)) + 1)
    )
    _write_csv(folder / "ratings.csv", ("viewer", "film", "stars", "rated_at"), events)
    described = zip(titles, world.years.tolist(), _genres(world), strict=True)
    films = ((f"f-{film:05}", *facts) for film, facts in enumerate(described, start=1))
    _write_csv(folder / "films.csv", ("film", "title", "year", "genres"), films)
    people = zip(world.genders.tolist(), AGES[world.ages].tolist(), strict=True)
    viewers = (
        (f"v-{viewer:05}", "FM"[gender], age)
        for viewer, (gender, age) in enumerate(people, start=1)
    )
    _write_csv(folder / "viewers.csv", ("viewer", "gender", "age"), viewers)


def _genres(world: World) -> list[str]:
    """Return the genres of each movie, with a bar between two."""
    names = np.array(GENRES)
    return ["|".join(names[row]) for row in world.genres]


def _counts(rng: np.random.Generator, users: int, movies: int, ratings: int) -> NDArray[np.int64]:
    """Return how much each user rates `(U,)`: long-tailed, at least a few, `ratings` in all."""
    most = max(1, movies // 2)
    if not users <= ratings <= users * most:
        raise RequestError(
            f"{ratings} ratings do not fit {users} users and {movies} movies: "
            f"give from {users} to {users * most}"
        )
    fewest = min(FEWEST_OF_A_USER, ratings // users, most)
    shares = rng.lognormal(sigma=1.0, size=users)
    counts = np.full(users, fewest)
    while (left := ratings - int(counts.sum())) > 0:
        room = counts < most
        extra = rng.multinomial(left, np.where(room, shares, 0) / shares[room].sum())
        counts = np.minimum(counts + extra, most)
    return counts


def _choose(
    rng: np.random.Generator,
    tastes: NDArray[np.float64],
    traits: NDArray[np.float64],
    appeal: NDArray[np.float64],
    counts: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return distinct movies for each user, `(N,)`, drawn by appeal and taste (Gumbel top-k)."""
    chosen, starts = np.empty(counts.sum(), np.int64), np.cumsum(counts) - counts
    pull, wishes = appeal.astype(np.float32), (0.3 * tastes).astype(np.float32)
    offers = traits.T.astype(np.float32)
    # Users who rate about as much stand together, so that little more is drawn than is kept.
    blocks = 1 + max(len(counts) // 512, counts.size * appeal.size // CELLS)
    for block in np.array_split(np.argsort(counts, kind="stable"), blocks):
        keys = wishes[block] @ offers  # (C, M)
        keys += pull
        draws = rng.standard_exponential(size=keys.shape, dtype=np.float32)
        # In float32 a draw can be 0, whose logarithm would let a movie of no appeal win.
        keys -= np.log(np.maximum(draws, np.finfo(np.float32).tiny))
        most = int(counts[block].max())
        drawn = np.argpartition(keys, -most, axis=1)[:, -most:]
        best = np.argsort(-np.take_along_axis(keys, drawn, axis=1), axis=1)
        drawn = np.take_along_axis(drawn, best, axis=1)
        for user, row in zip(block, drawn, strict=True):
            chosen[starts[user] : starts[user] + counts[user]] = row[: counts[user]]
    return chosen


def _parts(count: int) -> Iterator[slice]:
    """Return the parts of so many events that are worked on together."""
    return (slice(start, start + TOGETHER) for start in range(0, count, TOGETHER))


def _events(world: World, ids: NDArray[np.int64]) -> Iterator[tuple[int, int, int, int]]:
    """Return the rows of the file of ratings.

    Args:
        world: The world.
        ids: `(M,)` of the movies.
    """
    for part in _parts(len(world.users)):
        columns = (
            world.users[part] + 1,
            ids[world.movies[part]],
            world.ratings[part],
            world.timestamps[part],
        )
        yield from zip(*(column.tolist() for column in columns), strict=True)


def _sessions(
    rng: np.random.Generator, owners: NDArray[np.int64], users: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return times `(N,)` and the row of each user's first `(U,)`.

    One user's events are seconds apart, with now and then a long pause.
    """
    gaps = rng.exponential(20, size=len(owners))
    pauses = rng.random(len(owners)) < 0.02
    gaps[pauses] = rng.exponential(20 * DAY, size=int(pauses.sum()))
    elapsed = np.cumsum(gaps)
    first = np.searchsorted(owners, np.arange(users))
    arrivals = rng.uniform(0, SPAN, size=users)
    times = FIRST_SECOND + arrivals[owners] + elapsed - elapsed[first][owners]
    return times.astype(np.int64), first


def _titles(rng: np.random.Generator, genres: NDArray[np.bool_]) -> list[str]:
    """Return a title for each movie, worded as its first genre; repeated ones are numbered."""
    patterns = rng.integers(len(PATTERNS), size=len(genres))
    adjectives = rng.random(len(genres))
    nouns = rng.integers(len(NOUNS), size=(len(genres), 2))
    taken: dict[str, int] = {}
    titles = []
    for row, pattern, share, (noun, other) in zip(genres, patterns, adjectives, nouns, strict=True):
        words = ADJECTIVES[GENRES[int(row.argmax())]].split()
        word = words[int(share * len(words))]
        title = PATTERNS[pattern].format(word, NOUNS[noun], NOUNS[other])
        taken[title] = taken.get(title, 0) + 1
        titles.append(title if taken[title] == 1 else f"{title} {taken[title]}")
    return titles


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[tuple[object, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def _write(path: Path, rows: Iterable[tuple[object, ...]]) -> None:
    with path.open("w", encoding="latin-1") as file:
        file.writelines("::".join(map(str, row)) + "\n" for row in rows)
