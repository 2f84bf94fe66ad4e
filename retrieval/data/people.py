"""Directors and actors from a table of their own, joined to the movies."""

import pandas as pd

from retrieval.data import columns
from retrieval.data.ids import id_column, ids_of
from retrieval.data.report import Report
from retrieval.data.table import Table
from retrieval.data.values import complain, plain_texts


def with_people(movies: Table, people: Table, report: Report) -> Table:
    """Add what is known of people; movies that are not in the catalogue are passed over."""
    if columns.MOVIE_ID not in people.frame:
        what, remedy = f"column {columns.MOVIE_ID} is missing", f"name it {columns.MOVIE_ID}"
        report.add(people.file, 1, people.header, what, remedy)
    if columns.MOVIE_ID not in people.frame or columns.MOVIE_ID not in movies.frame:
        return movies
    own = id_column(movies, columns.MOVIE_ID)
    ids, wrong = ids_of(id_column(people, columns.MOVIE_ID), own.kind, report)
    repeated = ids.duplicated().to_numpy() & ~wrong
    what, remedy = f"{columns.MOVIE_ID} comes twice", "keep one row for each id"
    complain(report, people, columns.MOVIE_ID, repeated, what, remedy)
    wanted = [name for name in (columns.DIRECTORS, columns.ACTORS) if name in people.frame]
    if not wanted:
        report.note(f"{people.file}: it has neither {columns.DIRECTORS} nor {columns.ACTORS}")
        return movies
    kept = ~wrong & ~repeated
    named = pd.DataFrame({name: plain_texts(people.frame[name]) for name in wanted})[kept]
    named.index = pd.Index(ids[kept])
    known = ids_of(own, own.kind, Report()).column  # what is wrong with them is told later
    if not named.index.isin(known).any():
        report.note(f"{people.file}: not one {columns.MOVIE_ID} is among the movies; none is used")
    found = named.reindex(known).fillna("")
    return movies._replace(
        frame=movies.frame.assign(**{name: found[name].to_numpy() for name in wanted})
    )
