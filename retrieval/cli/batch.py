"""Commands that answer many questions: a file of them, and a file of answers."""

import itertools
import math
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retrieval.cli.display import note, remark
from retrieval.cli.options import (
    HISTORIES_HELP,
    OUT_HELP,
    AllowOption,
    DenyOption,
    DiversityOption,
    EngineOption,
    GenreOption,
    RankOption,
    RayAddressOption,
    RunOption,
    SeenOption,
    SittingOption,
    UnknownOption,
    WhereOption,
    WorkersOption,
    YearOption,
    check_engine,
    run_or_newest,
)
from retrieval.cli.progress import progress
from retrieval.cli.question import TOPK, filter_of, length_of, recommender_of
from retrieval.data import columns
from retrieval.errors import shown
from retrieval.options import Engine, Unknown
from retrieval.progress import Progress

if TYPE_CHECKING:
    from retrieval.cli.requests import HistoryFile, Pairs, Sifted, Users
    from retrieval.data.vocabulary import Id
    from retrieval.distributed.lists import Answer
    from retrieval.run.folder import Run
    from retrieval.serving.results import TopK

# Columns of lists.
LISTED = (columns.USER_ID, columns.RANK, columns.MOVIE_ID, columns.SCORE, columns.RATING)

# Warnings of other processes that are shown; of more, the number is said.
SHOWN = 5

HistoriesOption = Annotated[Path | None, typer.Option(metavar="FILE", help=HISTORIES_HELP)]
OutOption = Annotated[Path, typer.Option("--out", metavar="FILE", help=OUT_HELP)]


def topk(
    users: Annotated[
        Path,
        typer.Option(metavar="FILE", help="CSV or Parquet file user_id[,timestamp] of many users."),
    ],
    out: OutOption,
    run: RunOption = None,
    histories: HistoriesOption = None,
    unknown: UnknownOption = Unknown.SKIP,
    k: Annotated[
        int | None,
        typer.Option("--k", help=f"Movies in a list; by default {TOPK}, or all there are."),
    ] = None,
    rank_by: RankOption = None,
    genre: GenreOption = None,
    year: YearOption = None,
    allow: AllowOption = None,
    deny: DenyOption = None,
    where: WhereOption = None,
    diversity: DiversityOption = 0.0,
    include_seen: SeenOption = False,
    in_sitting: SittingOption = False,
    engine: EngineOption = Engine.LOCAL,
    workers: WorkersOption = None,
    ray_address: RayAddressOption = None,
) -> None:
    """Write the lists of many users: user_id, rank, movie_id, score, rating[, timestamp]."""
    from retrieval.cli.answers import check_out, write_answers
    from retrieval.cli.requests import read_users, text_ids
    from retrieval.distributed.cluster import connected
    from retrieval.distributed.lists import lists_on
    from retrieval.serving.blocks import ListJob, blocks_of, count_of, lists_of

    check_engine(engine, workers, ray_address)
    check_out(out, [path for path in (users, histories, allow, deny) if path is not None])
    recommender = recommender_of(run_or_newest(run), threads=os.cpu_count() or 1)
    filters = filter_of(genre, year, allow, deny, where, recommender.run)
    questions = read_users(users, text_ids(recommender.run))
    sifted = _sifted(recommender.run, users, questions, histories, unknown)
    kept = questions.users[sifted.kept]
    times = None if questions.times is None else questions.times[sifted.kept]
    job = ListJob(
        k=length_of(k, TOPK, recommender),
        rank_by=rank_by,
        filters=filters,
        diversity=diversity,
        include_seen=include_seen,
        in_sitting=in_sitting,
    )
    blocks = blocks_of(kept, times, sifted.histories)
    found: Iterator[TopK]
    with ExitStack() as stack:
        match engine:
            case Engine.LOCAL:
                found = (lists_of(recommender, job, block) for block in blocks)
            case Engine.RAY:
                cluster = stack.enter_context(connected(ray_address, workers))
                shows = stack.enter_context(progress())
                shows.stage("lists", count_of(kept))
                found = _noted(lists_on(cluster, recommender.run, job, blocks, workers), shows)
        # What is wrong with the options is said before the file is begun.
        begun = itertools.chain(list(itertools.islice(found, 1)), found)
        header = (*LISTED, *[columns.TIMESTAMP] * (times is not None))
        rows = (_rows(lists, dated=times is not None) for lists in begun)
        write_answers(out, header, itertools.chain.from_iterable(rows))
    note(f"wrote the lists of {len(kept):,} users to {shown(out)}")


def rate(
    pairs: Annotated[
        Path,
        typer.Option(metavar="FILE", help="CSV or Parquet file user_id,movie_id[,timestamp]."),
    ],
    out: OutOption,
    run: RunOption = None,
    histories: HistoriesOption = None,
    unknown: UnknownOption = Unknown.SKIP,
) -> None:
    """Write the ratings of many pairs: user_id, movie_id, rating[, deviation][, timestamp]."""
    from retrieval.cli.answers import check_out, write_answers
    from retrieval.cli.requests import read_pairs, text_ids
    from retrieval.serving.results import times_told

    check_out(out, [path for path in (pairs, histories) if path is not None])
    recommender = recommender_of(run_or_newest(run), threads=os.cpu_count() or 1)
    questions = read_pairs(pairs, text_ids(recommender.run))
    sifted = _sifted(recommender.run, pairs, questions, histories, unknown)
    users, movies = questions.users[sifted.kept], questions.movies[sifted.kept]
    times = None if questions.times is None else questions.times[sifted.kept]
    answers = recommender.rate_many(users, movies, times=times, histories=sifted.histories)
    answered: dict[str, list[object]] = {
        columns.USER_ID: users.tolist(),
        columns.MOVIE_ID: movies.tolist(),
        columns.RATING: answers.ratings.tolist(),
    }
    if answers.deviations is not None:
        answered[columns.DEVIATION] = answers.deviations.tolist()
    if times is not None:
        answered[columns.TIMESTAMP] = list(times_told(times))
    write_answers(out, [*answered], zip(*answered.values(), strict=True))
    note(f"wrote the ratings of {len(users):,} pairs to {shown(out)}")


def _sifted(
    run: "Run",
    path: Path,
    questions: "Users | Pairs",
    histories: Path | None,
    unknown: Unknown,
) -> "Sifted":
    """Return which questions can be answered; say why the others cannot.

    Args:
        run: Run that answers.
        path: File of the questions.
        questions: Questions that were read from it.
        histories: File of histories.
        unknown: What becomes of users and movies that the run does not know.
    """
    from retrieval.cli.requests import early_times, in_words, read_history_file, sift

    given = None if histories is None else read_history_file(histories, run)
    remark(*early_times(run, questions, given))
    sifted = sift(run, path, questions, given, unknown)
    remark(*in_words(sifted.problems), *_spare(questions, given))
    return sifted


def _spare(questions: "Users | Pairs", given: "HistoryFile | None") -> list[str]:
    """Return what to say of histories that nobody asks for."""
    if given is None:
        return []
    spare = len(given.events.keys() - set(questions.users.tolist()))
    said = f"{shown(given.path)} has histories of {spare:,} users who are not asked about"
    return [said] if spare else []


def _noted(answers: "Iterator[Answer]", shows: Progress) -> "Iterator[TopK]":
    """Give the lists of answers, count them, and show the first warnings that came with them."""
    heard = 0
    for answer in answers:
        shows.advance()
        for text in answer.notes:
            heard += 1
            if heard <= SHOWN:
                remark(text)
        yield answer.lists
    if heard > SHOWN:
        remark(f"{heard - SHOWN:,} more of the kind")


def _rows(lists: "TopK", *, dated: bool) -> "Iterator[tuple[object, ...]]":
    """Give the rows of the lists of many users.

    Args:
        lists: The lists.
        dated: Whether each row says for when its list is, if that was asked.
    """
    from retrieval.serving.results import times_told

    columns_of = (lists.user_ids, lists.movie_ids, lists.scores, lists.ratings)
    times = [None] * len(lists.user_ids) if lists.times is None else times_told(lists.times)
    for moment, user, *of_user in zip(
        times, *(column.tolist() for column in columns_of), strict=True
    ):
        for row in _listed(*of_user):
            yield user, *row, *[moment] * dated


def _listed(
    ids: "list[Id]", scores: list[float], ratings: list[float]
) -> "Iterator[tuple[int | None, Id | None, float | None, float | None]]":
    """Give the rows of one list; where nothing is left, one that is empty."""
    if not math.isfinite(scores[0]):
        yield None, None, None, None
    for rank, (movie, score, rating) in enumerate(zip(ids, scores, ratings, strict=True), start=1):
        if math.isfinite(score):
            yield rank, movie, score, rating if math.isfinite(rating) else None
