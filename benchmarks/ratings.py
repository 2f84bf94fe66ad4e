"""Rating error and training time on a random 90/10 split, beside Surprise's SVD and baselines.

python benchmarks/ratings.py --data FOLDER [--preset quick] [--seed N]
"""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import surprise
from machine import describe

from retrieval.choices import Cut, Preset
from retrieval.data.dataset import encode
from retrieval.data.layouts import read_folder
from retrieval.data.split import held_out
from retrieval.display import progress
from retrieval.evaluation.metrics import Metric, root_mean_square_error
from retrieval.evaluation.protocols import evaluate


def surprise_svd(train: pd.DataFrame, test: pd.DataFrame, scale: tuple[float, float]) -> Metric:
    """Return the error of Surprise's SVD with its defaults."""
    names = ["user_id", "movie_id", "rating"]
    frame = surprise.Dataset.load_from_df(train[names], surprise.Reader(rating_scale=scale))
    model = surprise.SVD(random_state=0).fit(frame.build_full_trainset())
    pairs = zip(test["user_id"], test["movie_id"], strict=True)
    predicted = np.array([model.predict(user, movie).est for user, movie in pairs])
    return root_mean_square_error(predicted, test["rating"].to_numpy(np.float64))


def main() -> None:
    """Measure all on the same split and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--preset", type=Preset, default=Preset.QUICK)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    data = read_folder(asked.data)
    began = time.perf_counter()
    with TemporaryDirectory() as scratch, progress() as bars:
        run = Path(scratch) / "run"
        results = evaluate(data, str(asked.data), Cut.RATING, asked.preset, asked.seed, run, bars)
    seconds = {"two towers": time.perf_counter() - began}
    whole = encode(data)
    test = held_out(Cut.RATING, whole.users, whole.movies, whole.timestamps, asked.seed)
    began = time.perf_counter()
    scale = (data.scale.lowest, data.scale.highest)
    peer = surprise_svd(data.ratings[~test], data.ratings[test], scale)
    seconds["Surprise SVD"] = time.perf_counter() - began
    print(describe())
    print(f"{asked.data}, random 90/10, preset {asked.preset.value}, seed {asked.seed}")
    print(f"{'system':28}{'RMSE':>18}{'seconds, all steps':>22}")
    errors = {result.system: result.metrics["rmse"] for result in results} | {"Surprise SVD": peer}
    for system, (value, half) in sorted(errors.items(), key=lambda row: row[1].value):
        taken = f"{seconds[system]:.0f}" if system in seconds else ""
        print(f"{system:28}{value:9.4f} ± {half:.4f}{taken:>22}")


if __name__ == "__main__":
    main()
