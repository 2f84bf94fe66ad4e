"""How steady answers are while known users tell more: lists that stay, and errors of ratings.

python benchmarks/steadiness.py --data FOLDER [--cut 0.6] [--preset quick] [--run FOLDER]

A run is trained on the events up to a quantile of their times; --run names one that was trained on
just those. Asked are the users whom it knows and who have later events.

Lists: movies that the user has not seen, for the next visit, by each score. One list is of the user
as the run stores them. The other is of the same user after one rating more: of the first movie of
the list, rated as it was predicted or with the lowest rating that there is, or of what the user
really rated next. A movie stays if both lists hold it; one that is seen by now does not count.
Lists that are asked for at two known moments, an hour apart, are compared too.

Ratings: each user's later events in order of time. After the first few of them the next rating is
predicted.

Each is done in two ways. As the run answers, new ratings are folded into what training inferred.
Folded in anew, all ratings are, as if training had inferred nothing of the user. The 95 % interval
of the difference takes users, not ratings, for the sample. Nothing is chosen here.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from machine import Report, arguments
from numpy.typing import NDArray
from subset import train_on

from index.neighbours import NO_ID
from retrieval.data import columns
from retrieval.data.frames import MovieData
from retrieval.data.layouts import read_folder
from retrieval.data.vocabulary import UNKNOWN, Id
from retrieval.evaluation.metrics import mean_of_groups
from retrieval.options import Preset, RankBy
from retrieval.pipeline.settings import preset_settings
from retrieval.serving.events import Event
from retrieval.serving.lists import best_movies, list_options
from retrieval.serving.predictions import predict
from retrieval.serving.recommender import Recommender
from retrieval.serving.users import Person, QueryUsers, one_user

# Lengths of lists.
LENGTHS = (20, 100)

# Later events after which the next rating is predicted.
AFTER = (1, 2, 3, 5, 8, 12, 20, 35, 60, 100)

# Seconds from the last event that the run knows to a known moment, and to the one after that.
DAY, HOUR = 86_400, 3_600

# Given a user, the one who is asked about.
Way = Callable[[QueryUsers], QueryUsers]


class Later(NamedTuple):
    """What a user whom the run knows did later, in order of time."""

    number: int
    events: list[Event]


def main() -> None:
    """Train, ask, and report."""
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="data folder")
    parser.add_argument("--cut", type=float, default=0.6, help="quantile of times to learn until")
    parser.add_argument("--preset", type=Preset, default=Preset.QUICK, help="preset to train with")
    parser.add_argument("--run", type=Path, help="run that was trained on just these events")
    parser.add_argument("--users", type=int, default=500, help="users whose lists are compared")
    asked = parser.parse_args()
    data = read_folder(asked.data)
    times = data.ratings[columns.TIMESTAMP].to_numpy()
    learned = times <= np.quantile(times, asked.cut, method="lower")
    with ExitStack() as scratch:
        folder = asked.run
        if folder is None:
            folder = Path(scratch.enter_context(TemporaryDirectory())) / "run"
            train_on(data, learned, folder, preset_settings(asked.preset), asked.seed)
        recommender = Recommender.load(folder)
        if recommender.run.config.present > times[learned].max() + 1:
            parser.error(f"{folder} has learned from events after the cut")
        users = later_events(recommender, data, ~learned)
        preset = recommender.run.config.preset
        report = Report(
            asked,
            f"{asked.data.name} until the {asked.cut:g} quantile of times, preset {preset}; "
            f"{len(users)} known users with later events",
        )
        rng = np.random.default_rng(asked.seed)
        some = [users[place] for place in rng.permutation(len(users))[: asked.users].tolist()]
        compare_lists(report, recommender, some)
        compare_ratings(report, recommender, users)
    report.save()


def later_events(
    recommender: Recommender, data: MovieData, later: NDArray[np.bool_]
) -> list[Later]:
    """Return what the users whom a run was trained on did later, of movies that it knows."""
    run = recommender.run
    rows = data.ratings[later].sort_values(columns.TIMESTAMP, kind="stable")
    rows = rows[run.catalogue.vocabulary.numbers(rows[columns.MOVIE_ID].to_numpy()) != UNKNOWN]
    found = []
    for user, of_user in rows.groupby(columns.USER_ID):
        number = run.users.number(user)
        if number != UNKNOWN and run.trained_users[number]:
            names = [columns.MOVIE_ID, columns.RATING, columns.TIMESTAMP]
            events = zip(*(of_user[name].tolist() for name in names), strict=True)
            found.append(Later(number, [Event(*event) for event in events]))
    return found


def as_answered(users: QueryUsers) -> QueryUsers:
    """Return a user as the run answers for them."""
    return users


def anew(users: QueryUsers) -> QueryUsers:
    """Return a user of whom training inferred nothing."""
    count = len(users.stored)
    return users._replace(
        stored=np.full(count, UNKNOWN),
        settled=np.zeros(count, np.int64),
        as_known=np.zeros(count, dtype=bool),
    )


WAYS: dict[str, Way] = {"as the run answers": as_answered, "folded in anew": anew}


def compare_lists(report: Report, of: Recommender, users: Sequence[Later]) -> None:
    """Report how much of lists stays."""
    for rank_by in of.encoder.rankings:
        for way, change in WAYS.items():
            stay: dict[str, list[NDArray[np.float64]]] = {}
            for user in users:
                for name, shares in staying(of, user, rank_by, change).items():
                    stay.setdefault(name, []).append(shares)
            for name, each in stay.items():
                means = dict(zip(LENGTHS, np.mean(each, axis=0).tolist(), strict=True))
                words = ", ".join(f"{mean:.1%} of {length}" for length, mean in means.items())
                report.add(
                    f"by {rank_by:7} {way:20} {name:25} stay {words}",
                    rank_by=rank_by,
                    way=way,
                    told=name,
                    **{f"stay_{length}": mean for length, mean in means.items()},
                )


def staying(
    of: Recommender, user: Later, rank_by: RankBy, change: Way
) -> dict[str, NDArray[np.float64]]:
    """Return the shares of lists that stay, by what happens."""
    run, known = of.run, of.run.users.ids[user.number].item()
    before = listed(of, known, rank_by)
    best = run.catalogue.movies[before[0]].id
    predicted = of.rate(known, best).rating
    moment = int(run.histories.timestamps[run.histories.offsets[user.number + 1] - 1])
    told = {
        "the first, as predicted": Event(best, predicted, moment),
        "the first, lowest": Event(best, run.config.scale.lowest, moment),
        "what came next": user.events[0],
    }
    found = {}
    for name, event in told.items():
        after = listed(of, Person(user_id=known, added=[event]), rank_by, change)
        found[name] = kept(before, after, run.catalogue.number(event.movie_id))
    if change is as_answered:
        present = run.config.present + DAY
        early, late = (listed(of, known, rank_by, change, at) for at in (present, present + HOUR))
        found["nothing, an hour later"] = kept(early, late)
    return found


def listed(
    of: Recommender,
    user: Id | Person,
    rank_by: RankBy,
    change: Way = as_answered,
    at: int | None = None,
) -> NDArray[np.int64]:
    """Return the longest list of a user, as numbers of movies."""
    options = list_options(
        of.snapshot, max(LENGTHS), rank_by, None, 0.0, include_seen=False, in_sitting=False
    )
    users = change(one_user(of.run, user, at))
    times = None if at is None else np.array([at])
    found: NDArray[np.int64] = best_movies(
        of.snapshot, users, np.zeros(1, np.int64), times, options
    ).movies[0]
    return found


def kept(
    before: NDArray[np.int64], after: NDArray[np.int64], seen: int = UNKNOWN
) -> NDArray[np.float64]:
    """Return the share of each length of a list that is still listed, a seen movie left out."""
    shares = []
    for length in LENGTHS:
        listed_before = {*before[:length].tolist()} - {seen, NO_ID}
        shares.append(len(listed_before & {*after[:length].tolist()}) / len(listed_before))
    return np.array(shares)


def compare_ratings(report: Report, of: Recommender, users: Sequence[Later]) -> None:
    """Report how far predictions of later ratings are off."""
    errors: dict[str, list[float]] = {way: [] for way in WAYS}
    owners, counts = [], []
    for user in users:
        for count in AFTER:
            if count >= len(user.events):
                break
            answer = user.events[count]
            person = Person(user_id=of.run.users.ids[user.number].item(), added=user.events[:count])
            asked = one_user(of.run, person)
            movie = np.array([of.run.catalogue.number(answer.movie_id)])
            for way, change in WAYS.items():
                said = predict(of.snapshot, change(asked), np.zeros(1, np.int64), movie, None, 1)
                errors[way].append(float(said.ratings[0]) - float(answer.rating or 0.0))
            owners.append(user.number)
            counts.append(count)
    found = {way: np.array(each) for way, each in errors.items()}
    few = np.array(counts) <= AFTER[2]
    for way, each in found.items():
        report.add(
            f"{len(each):,} later ratings, {way:20} RMSE {root(each):.4f}; after one to three "
            f"{root(each[few]):.4f}, after more {root(each[~few]):.4f}",
            way=way,
            ratings=len(each),
            rmse=root(each),
            rmse_few=root(each[few]),
            rmse_more=root(each[~few]),
        )
    ahead = found["folded in anew"] ** 2 - found["as the run answers"] ** 2
    gain = mean_of_groups(ahead, np.array(owners))
    report.add(
        f"squared errors as the run answers: smaller by {gain.value:.4f} ± {gain.half_width:.4f}",
        gain=gain.value,
        half_width=gain.half_width,
    )


def root(errors: NDArray[np.float64]) -> float:
    """Return the root of the mean square."""
    return float(np.sqrt(np.mean(errors**2)))


if __name__ == "__main__":
    main()
