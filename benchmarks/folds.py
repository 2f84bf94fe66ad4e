"""Rating error on the five folds that MovieLens-100K is published with, u1 to u5.

python benchmarks/folds.py --data FOLDER [--preset default] [--towers neural,bayesian]
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from machine import Report, arguments
from subset import train_on

from retrieval.data import columns
from retrieval.data.layouts import read_folder
from retrieval.evaluation.metrics import root_mean_square_error
from retrieval.options import Preset
from retrieval.pipeline.settings import preset_settings
from retrieval.serving.recommender import Recommender


def main() -> None:
    """Train on each base, ask about each test, and report the errors."""
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of MovieLens-100K")
    parser.add_argument("--preset", type=Preset, choices=list(Preset), default=Preset.DEFAULT)
    parser.add_argument("--towers", default="neural,bayesian", help="pairs that are trained")
    asked = parser.parse_args()
    settings = preset_settings(asked.preset, asked.towers.split(","))
    data, keys = read_folder(asked.data), [columns.USER_ID, columns.MOVIE_ID]
    report = Report(asked, f"{asked.data.name}, preset {asked.preset}, {asked.towers}")
    errors = []
    for fold in range(1, 6):
        names = list(columns.RATINGS)
        test = pd.read_csv(asked.data / f"u{fold}.test", sep="\t", header=None, names=names)
        out = (
            data.ratings.merge(test[keys], on=keys, how="left", indicator=True)["_merge"] == "both"
        )
        began = time.perf_counter()
        with TemporaryDirectory() as scratch:
            run = Path(scratch) / "run"
            train_on(data, ~out.to_numpy(), run, settings, asked.seed)
            seconds = time.perf_counter() - began
            predicted = Recommender.load(run).rate_many(
                test[columns.USER_ID], test[columns.MOVIE_ID], times=test[columns.TIMESTAMP]
            )
        true = test[columns.RATING].to_numpy(np.float64)
        errors.append(root_mean_square_error(predicted.ratings, true))
        value, half = errors[-1]
        report.add(
            f"u{fold}: RMSE {value:.4f} ± {half:.4f} on {len(test):,}, {seconds:.0f} s",
            fold=f"u{fold}",
            rmse=value,
            half_width=half,
            ratings=len(test),
            seconds=seconds,
        )
    average = np.mean([error.value for error in errors])
    report.add(f"average: {average:.4f}", fold="average", rmse=average)
    report.save()


if __name__ == "__main__":
    main()
