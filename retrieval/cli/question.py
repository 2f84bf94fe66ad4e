"""One question: from options of the command line to what a recommender takes, and movies shown."""

from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.data import columns
from retrieval.errors import RequestError, shown
from retrieval.options import RankBy

if TYPE_CHECKING:  # these pull in faiss, which --help can do without
    from retrieval.data.catalogue import Movie
    from retrieval.data.vocabulary import Id
    from retrieval.run.folder import Run
    from retrieval.serving.filters import Filter
    from retrieval.serving.recommender import Recommender
    from retrieval.serving.users import Person

# Movies in a list, where nobody says how many.
TOPK = 20

# What a table of movies shows of each.
CELLS = ("id", "title", "year", "genres")

# Columns that a narrow table can do without, the first one first.
SPARE = ("genres", "year", "id")


def recommender_of(run: Path, threads: int = 1) -> "Recommender":
    """Load a run for this process alone, which answers each question on one thread.

    Args:
        run: Folder of the run.
        threads: Number of questions answered at once.
    """
    from retrieval.run.stores import require_store
    from retrieval.serving.recommender import Recommender
    from retrieval.serving.threads import configure_threads

    configure_threads()
    recommender = Recommender.load(run, threads=threads)
    require_store(recommender.run, recommender.index)
    return recommender


def person_of(
    user: str | None,
    history: str | None,
    gender: str | None,
    age: float | None,
    occupation: str | None,
    attributes: list[str] | None = None,
) -> tuple["Person", str]:
    """Return who asks, and words for them.

    Raises:
        RequestError: Nobody asks, or the history is malformed.
    """
    from retrieval.cli.requests import parse_history
    from retrieval.serving.users import Person

    if all(value is None for value in (user, history, gender, age, occupation, attributes)):
        raise RequestError("for whom? give --user 42, or a new user's --history 1193:5,661:3")
    events, adds = parse_history(history) if history is not None else ([], True)
    if history is not None and adds and user is None:
        raise RequestError(
            f"'{shown(history)}' adds to a stored history; give --user, or leave out the +"
        )
    person = Person(
        user_id=user,
        history=None if adds and user is not None else events,
        added=events if adds and user is not None else (),
        gender=gender,
        age=age,
        occupation=occupation,
        attributes=dict(map(_attribute, attributes or [])),
    )
    return person, "a new user" if user is None else f"user {user}"


def _attribute(text: str) -> tuple[str, str]:
    """Read `plan=family`."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise RequestError(f"malformed attribute '{shown(text)}'; write NAME=VALUE, as plan=family")
    return name.strip(), value.strip()


def seconds_of(at: str | None, run: "Run") -> int | None:
    """Read the time of asking; where a run's times only count events, it is such a count."""
    from retrieval.cli.requests import counts_events
    from retrieval.serving.arguments import parse_time

    if at is None:
        return None
    counts = counts_events(run)
    if counts and not at.strip().isdecimal():
        raise RequestError(
            f"the events of this run have no times, so that {shown(at)} is before none and after "
            "none; leave --at out, or give a place in their order, from 0"
        )
    return parse_time(at, order=counts, years=not counts)


def user_id_of(user: str | None, run: "Run") -> "Id | None":
    """Return the id of a user as the run has it; None is a new user."""
    from retrieval.serving.arguments import checked_id

    return None if user is None else checked_id(user, "user", run.users)


def filter_of(
    genres: list[str] | None,
    years: str | None,
    allow: Path | None,
    deny: Path | None,
    where: list[str] | None,
    run: "Run",
) -> "Filter | None":
    """Return which movies may be listed; None is all."""
    from retrieval.cli.requests import read_movie_ids, text_ids
    from retrieval.serving.filters import Filter, parse_years

    if all(given is None for given in (genres, years, allow, deny, where)):
        return None
    texts = text_ids(run)
    return Filter(
        genres=genres,
        years=None if years is None else parse_years(years),
        allow=None if allow is None else read_movie_ids(allow, texts),
        deny=None if deny is None else read_movie_ids(deny, texts),
        where=where,
    )


def length_of(k: int | None, usual: int, recommender: "Recommender") -> int:
    """Return how long a list is.

    Args:
        k: Length that was asked for, if one was.
        usual: Length otherwise, if there are so many movies.
        recommender: Who makes the list.
    """
    return min(usual, len(recommender.run.catalogue)) if k is None else k


def score_words(rank_by: RankBy, at: str | None, *, in_sitting: bool) -> str:
    """Return what the score of a list is, in words.

    Args:
        rank_by: Score that ranks.
        at: Time of asking as it was given; None is not known.
        in_sitting: Whether the user goes on watching.
    """
    when = "next, in this sitting" if in_sitting else "on the next visit"
    watched = f"how likely it is watched {when if at is None else 'then'}"
    match rank_by:
        case RankBy.RATING:
            return "the predicted rating"
        case RankBy.WATCH:
            return watched
        case RankBy.BLEND:
            return f"{watched}, and its predicted rating"


def movie_facts(movie: "Movie") -> dict[str, object]:
    """Return a movie for programs."""
    return {
        columns.MOVIE_ID: movie.id,
        columns.TITLE: movie.title,
        columns.YEAR: movie.year,
        columns.GENRES: list(movie.genres),
    }


def movie_cells(movie: "Movie") -> tuple["Id", str, int | None, str]:
    """Return a movie for people, as `CELLS` of a table."""
    return movie.id, movie.title, movie.year, ", ".join(movie.genres)
