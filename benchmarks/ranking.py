"""What lists find, from ranking by what is watched next to ranking by rating alone."""

import argparse
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from machine import describe
from matplotlib.figure import Figure
from numpy.typing import NDArray
from subset import train_on

from retrieval.blending.ranking import WEIGHTS
from retrieval.data.dataset import Dataset, encode
from retrieval.data.layouts import read_folder
from retrieval.data.split import held_out
from retrieval.evaluation.metrics import discounted_gain, hit_rate, mean, ranks
from retrieval.options import Cut, Preset, RankBy, Towers
from retrieval.serving.recommender import Recommender

K = 10
LIKED, DISLIKED = 4, 2


class Row(NamedTuple):
    """What lists found at one weight of the rating."""

    weight: float
    found: dict[str, tuple[float, float]]  # HR@10 and NDCG@10 of which last movies
    rating: float  # true rating of the hits


def main() -> None:
    """Train without last movies, ask for lists at each weight, print a table and draw a plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--preset", type=Preset, default=Preset.QUICK)
    parser.add_argument("--run", type=Path, help="trained on the leave-one cut; none trains one")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    data = read_folder(asked.data)
    whole = encode(data)
    test = held_out(Cut.LEAVE_ONE, whole.users, whole.movies, whole.timestamps, asked.seed)
    with TemporaryDirectory() as scratch:
        run = asked.run or Path(scratch) / "run"
        if asked.run is None:
            train_on(data, ~test, run, asked.preset, asked.seed, tuple(Towers))
        recommender = Recommender.load(run, threads=2)
    ranking = recommender.run.config.ranking
    if ranking is None:
        parser.error(f"{run} has no sequence pair")
    rows = [row(recommender, whole, test, weight) for weight in WEIGHTS]
    print(describe())
    config = recommender.run.config
    print(f"{asked.data.name}, {config.preset}, seed {config.seed}, told the time")
    print(f"validation chose to rank by {ranking.rank_by.value}, weight {ranking.rating_weight:g}")
    names = list(rows[0].found)
    print("weight  " + "  ".join(f"HR@10 NDCG@10 {name:8}" for name in names) + "  rating of hits")
    for weight, found, rating in rows:
        cells = "  ".join(f"{hits:.4f} {gain:.4f}         " for hits, gain in found.values())
        print(f"{weight:6g}  {cells}  {rating:.3f}")
    if asked.plot:
        draw(rows, asked.plot)


def row(recommender: Recommender, data: Dataset, test: NDArray[np.bool_], weight: float) -> Row:
    """Ask for lists at a weight; infinity ranks by rating alone."""
    run = recommender.run
    if run.config.ranking is None:
        raise ValueError("a run without a sequence pair")
    ranking = replace(run.config.ranking, rating_weight=weight if np.isfinite(weight) else 0.0)
    recommender.encoder.run = replace(run, config=replace(run.config, ranking=ranking))
    targets, ratings = data.movies[test], data.ratings[test]
    found = recommender.topk_many(
        data.user_vocabulary.ids[data.users[test]],
        K,
        times=data.timestamps[test],
        rank_by=RankBy.BLEND if np.isfinite(weight) else RankBy.RATING,
    )
    places = ranks(data.movie_vocabulary.numbers(found.movie_ids), targets)
    which = {
        "all": np.ones(len(ratings), dtype=bool),
        "liked": ratings >= LIKED,
        "disliked": ratings <= DISLIKED,
    }
    gains = {
        name: (hit_rate(places[rows], K).value, discounted_gain(places[rows], K).value)
        for name, rows in which.items()
    }
    return Row(weight, gains, mean(ratings[places < K]).value)


def draw(rows: list[Row], path: Path) -> None:
    """Draw what is found against the true rating of what is found."""
    figure = Figure(figsize=(7, 4))
    axes = figure.subplots()
    for name in rows[0].found:
        axes.plot(
            [row.rating for row in rows], [row.found[name][0] for row in rows], "o-", label=name
        )
    for row in rows:
        where = (row.rating, row.found["liked"][0])
        axes.annotate(f"{row.weight:g}", where, textcoords="offset points", xytext=(4, 4))
    axes.set_xlabel("mean true rating of the hits")
    axes.set_ylabel("HR@10 of last movies")
    axes.legend(title="last movies; numbers: weight of the rating")
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    main()
