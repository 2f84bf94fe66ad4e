"""Rating error on the five folds that MovieLens-100K is published with, u1 to u5.

python benchmarks/folds.py --data FOLDER [--preset default] [--towers neural,bayesian] [--seed N]
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from machine import describe

from retrieval.cli.display import progress
from retrieval.data import columns
from retrieval.data.layouts import read_folder
from retrieval.evaluation.metrics import root_mean_square_error
from retrieval.options import Preset, Towers
from retrieval.pipeline.training import train
from retrieval.serving.recommender import Recommender


def main() -> None:
    """Train on each base, ask about each test, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--preset", type=Preset, default=Preset.DEFAULT)
    parser.add_argument("--towers", default="neural,bayesian")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    data, pairs = read_folder(asked.data), [Towers(name) for name in asked.towers.split(",")]
    keys = [columns.USER_ID, columns.MOVIE_ID]
    print(describe())
    print(f"{asked.data.name}, preset {asked.preset.value}, {asked.towers}, seed {asked.seed}")
    errors = []
    for fold in range(1, 6):
        names = list(columns.RATINGS)
        test = pd.read_csv(asked.data / f"u{fold}.test", sep="\t", header=None, names=names)
        out = (
            data.ratings.merge(test[keys], on=keys, how="left", indicator=True)["_merge"] == "both"
        )
        base = replace(data, ratings=data.ratings[~out.to_numpy()])
        began = time.perf_counter()
        with TemporaryDirectory() as scratch, progress() as bars:
            run = Path(scratch) / "run"
            train(base, "benchmark", run, asked.preset, asked.seed, bars, pairs)
            seconds = time.perf_counter() - began
            predicted = Recommender.load(run).rate_many(
                test[columns.USER_ID], test[columns.MOVIE_ID], times=test[columns.TIMESTAMP]
            )
        true = test[columns.RATING].to_numpy(np.float64)
        errors.append(root_mean_square_error(predicted.ratings, true))
        value, half = errors[-1]
        print(
            f"u{fold}: RMSE {value:.4f} ± {half:.4f} on {len(test):,}, {seconds:.0f} s", flush=True
        )
    print(f"average: {np.mean([error.value for error in errors]):.4f}")


if __name__ == "__main__":
    main()
