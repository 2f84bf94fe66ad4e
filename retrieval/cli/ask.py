"""Commands that answer one question of a user.

`--json` prints run, user_id (null for a new user), at (seconds since 1970; null where it was not
given) and

    topk       movies: each with rank, score and rating
    rate       a movie, rating, deviation
    explain    a movie, by, answer, baseline, unknown_user (the answer for somebody of whom nothing
               is known), events: each a movie with rating, timestamp, effect and share; the
               baseline and the effects of all events add up to the answer

where a movie is movie_id, title, year and genres.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from retrieval.cli.display import printable, remark
from retrieval.cli.options import (
    HISTORIES_HELP,
    OUT_HELP,
    OUTPUT,
    UNKNOWN_HELP,
    AgeOption,
    AllowOption,
    AtOption,
    AttributeOption,
    DenyOption,
    DiversityOption,
    GenderOption,
    GenreOption,
    HistoryOption,
    JsonOption,
    OccupationOption,
    RankOption,
    RunOption,
    SeenOption,
    SittingOption,
    UserOption,
    WhereOption,
    YearOption,
    choice,
    needed,
    run_or_newest,
)
from retrieval.cli.output import print_json, print_table
from retrieval.cli.question import (
    CELLS,
    SPARE,
    TOPK,
    filter_of,
    length_of,
    movie_cells,
    movie_facts,
    person_of,
    recommender_of,
    score_words,
    seconds_of,
    user_id_of,
)
from retrieval.data import columns
from retrieval.errors import RequestError, shown
from retrieval.options import RankBy, Unknown

# Options by which files of questions were answered before `rec batch`.
OldHistoriesOption = Annotated[Path | None, typer.Option(help=HISTORIES_HELP, hidden=True)]
OldOutOption = Annotated[Path | None, typer.Option("--out", help=OUT_HELP, hidden=True)]
OldUnknownOption = Annotated[
    Unknown | None, choice("choice", Unknown, "--unknown", words=UNKNOWN_HELP, hidden=True)
]


def topk(
    run: RunOption = None,
    user: UserOption = None,
    history: HistoryOption = None,
    gender: GenderOption = None,
    age: AgeOption = None,
    occupation: OccupationOption = None,
    attribute: AttributeOption = None,
    at: AtOption = None,
    in_sitting: SittingOption = False,
    rank_by: RankOption = None,
    genre: GenreOption = None,
    year: YearOption = None,
    allow: AllowOption = None,
    deny: DenyOption = None,
    where: WhereOption = None,
    diversity: DiversityOption = 0.0,
    include_seen: SeenOption = False,
    k: Annotated[
        int | None,
        typer.Option(
            "--k",
            help=f"How many movies; by default {TOPK}, or all there are.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    users: Annotated[Path | None, typer.Option(hidden=True)] = None,
    histories: OldHistoriesOption = None,
    out: OldOutOption = None,
    unknown: OldUnknownOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what a user should watch, best first."""
    if users is not None:
        from retrieval.cli.batch import topk as batch_topk

        _refuse(user=user, history=history, gender=gender, age=age, occupation=occupation, at=at)
        _refuse(json=as_json or None)
        _renamed("rec topk --users", "rec batch topk --users FILE --out FILE")
        batch_topk(
            users, needed(out), run, histories, unknown or Unknown.SKIP, k, rank_by, genre, year,
            allow, deny, where, diversity, include_seen, in_sitting,
        )  # fmt: skip
        return
    _refuse(histories=histories, out=out, unknown=unknown)
    person, name = person_of(user, history, gender, age, occupation, attribute)
    recommender = recommender_of(folder := run_or_newest(run))
    wanted: dict[str, Any] = {
        "rank_by": rank_by,
        "filters": filter_of(genre, year, allow, deny, where, recommender.run),
        "diversity": diversity,
        "include_seen": include_seen,
        "in_sitting": in_sitting,
    }
    seconds = seconds_of(at, recommender.run)
    rows = recommender.topk(person, length_of(k, TOPK, recommender), at=seconds, **wanted)
    if as_json:
        listed = [
            {columns.RANK: row.rank, **movie_facts(row.movie)}
            | {columns.SCORE: row.score, columns.RATING: row.rating}
            for row in rows
        ]
        print_json(
            {
                "run": str(folder),
                columns.USER_ID: user_id_of(user, recommender.run),
                "at": seconds,
                "movies": listed,
            }
        )
        return
    ranking = recommender.encoder.ranking(rank_by)
    rates = recommender.encoder.rates
    print_table(
        f"What {name} should watch",
        ("rank", *CELLS, *["rating"] * rates, "score"),
        [(row.rank, *movie_cells(row.movie), *[row.rating] * rates, row.score) for row in rows],
        spare=SPARE,
    )
    print(f"score: {score_words(ranking, at, in_sitting=in_sitting)}")


def rate(
    run: RunOption = None,
    user: UserOption = None,
    movie: Annotated[str | None, typer.Option(help="Id or title of a movie.")] = None,
    history: HistoryOption = None,
    gender: GenderOption = None,
    age: AgeOption = None,
    occupation: OccupationOption = None,
    attribute: AttributeOption = None,
    at: AtOption = None,
    pairs: Annotated[Path | None, typer.Option(hidden=True)] = None,
    histories: OldHistoriesOption = None,
    out: OldOutOption = None,
    unknown: OldUnknownOption = None,
    as_json: JsonOption = False,
) -> None:
    """Predict how a user would rate a movie."""
    if pairs is not None:
        from retrieval.cli.batch import rate as batch_rate

        _refuse(user=user, movie=movie, history=history, gender=gender, age=age)
        _refuse(occupation=occupation, at=at, json=as_json or None)
        _renamed("rec rate --pairs", "rec batch rate --pairs FILE --out FILE")
        batch_rate(pairs, needed(out), run, histories, unknown or Unknown.SKIP)
        return
    _refuse(histories=histories, out=out, unknown=unknown)
    if movie is None:
        raise RequestError('which movie? give --movie 1193 or --movie "toy story"')
    person, name = person_of(user, history, gender, age, occupation, attribute)
    recommender = recommender_of(folder := run_or_newest(run))
    seconds = seconds_of(at, recommender.run)
    answer = recommender.rate(person, movie, at=seconds)
    if as_json:
        print_json(
            {"run": str(folder), columns.USER_ID: user_id_of(user, recommender.run), "at": seconds}
            | movie_facts(answer.movie)
            | {columns.RATING: answer.rating, columns.DEVIATION: answer.deviation}
        )
        return
    deviation = "" if answer.deviation is None else f" ± {answer.deviation:.2f}"
    rated = f"{answer.movie} [{answer.movie.id}] {answer.rating:.2f}{deviation}"
    print(printable(f"{name} would rate {rated}"))


def explain(
    movie: Annotated[str, typer.Option(help="Id or title of a movie.")],
    run: RunOption = None,
    user: UserOption = None,
    history: HistoryOption = None,
    gender: GenderOption = None,
    age: AgeOption = None,
    occupation: OccupationOption = None,
    attribute: AttributeOption = None,
    at: AtOption = None,
    rank_by: RankOption = None,
    k: Annotated[
        int, typer.Option("--k", min=1, help="How many events.", rich_help_panel=OUTPUT)
    ] = 10,
    as_json: JsonOption = False,
) -> None:
    """Show which events of the history carry a movie's rating, or the score that ranks it."""
    person, name = person_of(user, history, gender, age, occupation, attribute)
    recommender = recommender_of(folder := run_or_newest(run))
    seconds = seconds_of(at, recommender.run)
    found = recommender.explain(person, movie, by=rank_by, at=seconds)
    rows = found.influences[:k]
    if as_json:
        events = [
            {**movie_facts(row.movie), columns.RATING: row.rating}
            | {columns.TIMESTAMP: row.timestamp, "effect": row.effect, "share": row.share}
            for row in rows
        ]
        print_json(
            {"run": str(folder), columns.USER_ID: user_id_of(user, recommender.run), "at": seconds}
            | movie_facts(found.movie)
            | {"by": found.by, "answer": found.answer, "baseline": found.baseline}
            | {"unknown_user": found.unknown_user, "events": events}
        )
        return
    rated = recommender.run.config.scale.tells_taste
    title = f"Why lists give {found.movie} a score of {found.answer:.2f}, by {found.by}, for {name}"
    if found.by is RankBy.RATING:
        title = f"Why {name} would rate {found.movie} {found.answer:.2f}"
    print_table(
        title,
        ("share", "effect", *CELLS, *["rated"] * rated),
        [
            (f"{row.share:.0%}", f"{row.effect:+.3f}", *movie_cells(row.movie))
            + (row.rating,) * rated
            for row in rows
        ],
        spare=("genres", "year", "id"),
    )
    others = found.influences[k:]
    more = sum(row.effect for row in others)
    also = f"; {len(others):,} others change it by {more:+.2f}" if others else ""
    print(f"it would be {found.baseline:.2f} without any of these events{also}")
    print(f"somebody of whom nothing is known would get {found.unknown_user:.2f}")
    if because := found.because:
        named = "; ".join(f"{row.movie}{f' {row.rating:g}' * rated}" for row in because)
        print(printable(f"because {name} {'rated' if rated else 'watched'} {named}"))


def _refuse(**given: object) -> None:
    """Options that would be ignored are errors."""
    for name, value in given.items():
        if value is not None:
            raise RequestError(
                f"--{name} {shown(value)} has no effect here: one question takes --user or "
                "--history; a file of questions goes to rec batch, with --out and --histories"
            )


def _renamed(old: str, new: str) -> None:
    remark(f"{old} will go with the next version; write {new}")
