"""What lists find, from ranking by what is watched next to ranking by rating alone.

python benchmarks/ranking.py --data FOLDER [--preset quick] [--run FOLDER] [--plot]

Trains without each user's last movie, and asks for lists with the query time known, at each weight
of the rating.
"""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from machine import Report, add_plot, arguments
from numpy.typing import NDArray
from plots import label_points, new_plot, save
from subset import train_on

from retrieval.blending.ranking import WEIGHTS
from retrieval.data.dataset import Dataset, encode
from retrieval.data.layouts import read_folder
from retrieval.data.split import held_out
from retrieval.evaluation.metrics import discounted_gain, hit_rate, mean, ranks
from retrieval.options import Preset, RankBy, Split
from retrieval.pipeline.settings import preset_settings
from retrieval.serving.encoder import Encoder
from retrieval.serving.recommender import Recommender

K = 10
LIKED, DISLIKED = 4, 2

# Last movies that are told apart.
WHICH = ("all", "liked", "disliked")


class Row(NamedTuple):
    """What lists found at one weight of the rating."""

    weight: float
    found: dict[str, tuple[float, float]]  # HR@10 and NDCG@10 of which last movies
    rating: float  # true rating of the hits


def main() -> None:
    """Train without last movies, ask for lists at each weight, report and draw."""
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data")
    parser.add_argument("--preset", type=Preset, choices=list(Preset), default=Preset.QUICK)
    parser.add_argument("--run", type=Path, help="run trained on this split; none trains one")
    add_plot(parser, "ranking")
    asked = parser.parse_args()
    data = read_folder(asked.data)
    whole = encode(data)
    test = held_out(Split.LEAVE_ONE, whole.users, whole.movies, whole.timestamps, asked.seed)
    with TemporaryDirectory() as scratch:
        run = asked.run or Path(scratch) / "run"
        if asked.run is None:
            train_on(data, ~test, run, preset_settings(asked.preset), asked.seed)
        recommender = Recommender.load(run, threads=2)
    config = recommender.run.config
    ranking = config.ranking
    if ranking is None or not config.layout.rating:
        parser.error(f"{run} needs a pair that rates and one that ranks")
    report = Report(
        asked,
        f"last movies of {asked.data.name}, preset {config.preset} trained with seed "
        f"{config.seed}, query time known",
    )
    report.say(f"validation chose to rank by {ranking.rank_by}, weight {ranking.sitting_weight:g}")
    names = "  ".join(f"HR@10 NDCG@10 {name:8}" for name in WHICH)
    report.say(f"weight  {names}  rating of hits")
    rows = []
    for weight in WEIGHTS:
        rows.append(row(recommender, whole, test, weight))
        _, found, rating = rows[-1]
        cells = "  ".join(f"{hits:.4f} {gain:.4f}         " for hits, gain in found.values())
        report.add(
            f"{weight:6g}  {cells}  {rating:.3f}",
            weight=f"{weight:g}",
            found={name: {"hr@10": hr, "ndcg@10": gain} for name, (hr, gain) in found.items()},
            rating_of_hits=rating,
        )
    report.save()
    if asked.plot:
        draw(rows, ranking.sitting_weight, asked.plot)


def row(recommender: Recommender, data: Dataset, test: NDArray[np.bool_], weight: float) -> Row:
    """Ask for lists at a weight; infinity ranks by rating alone."""
    snapshot = recommender.snapshot
    config = snapshot.run.config
    if config.ranking is None:
        raise ValueError("a run without a pair that ranks")
    # Last movies are asked for at their times, which are before the present.
    ranking = replace(config.ranking, sitting_weight=weight if np.isfinite(weight) else 0.0)
    run = replace(snapshot.run, config=replace(config, ranking=ranking))
    weighed = Recommender(replace(snapshot, run=run, encoder=Encoder(run)), threads=2)
    targets, ratings = data.movies[test], data.ratings[test]
    found = weighed.topk_many(
        data.user_vocabulary.ids[data.users[test]],
        K,
        times=data.timestamps[test],
        rank_by=RankBy.BLEND if np.isfinite(weight) else RankBy.RATING,
    )
    places = ranks(data.movie_vocabulary.numbers(found.movie_ids), targets)
    masks = (np.ones(len(ratings), dtype=bool), ratings >= LIKED, ratings <= DISLIKED)
    gains = {
        name: (hit_rate(places[rows], K).value, discounted_gain(places[rows], K).value)
        for name, rows in zip(WHICH, masks, strict=True)
    }
    return Row(weight, gains, mean(ratings[places < K]).value)


def draw(rows: list[Row], chosen: float, path: Path) -> None:
    """Draw what is found against the true rating of what is found.

    Args:
        rows: What lists found at each weight.
        chosen: Weight that validation chose.
        path: File of the plot.
    """
    best = min(rows, key=lambda row: abs(row.weight - chosen))
    title = (
        f"A weight of {best.weight:g} raises the mean rating of the hits from "
        f"{rows[0].rating:.2f} to {best.rating:.2f}; liked movies are then found in "
        f"{best.found['liked'][0]:.1%} of the lists instead of {rows[0].found['liked'][0]:.1%}"
    )
    figure, (axes,) = new_plot(title)
    for name in WHICH:
        axes.plot(
            [row.rating for row in rows],
            [row.found[name][0] for row in rows],
            "o-",
            markersize=4,
            label=f"{name} last movies",
        )
    axes.set_xlabel("mean true rating of the hits")
    axes.set_ylabel("HR@10")
    axes.legend(title="numbers: weight of the rating")
    # The chosen weight and the ends are labelled, and of the others those that have room.
    order = sorted(rows, key=lambda row: row not in (best, rows[0], rows[-1]))
    points = [(row.rating, row.found["liked"][0]) for row in order]
    names = [f"{row.weight:g}" if np.isfinite(row.weight) else "rating alone" for row in order]
    label_points(figure, axes, points, names)
    save(figure, path)


if __name__ == "__main__":
    main()
