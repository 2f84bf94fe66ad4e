"""The published notebook, reproduced: test MSE on a random 80/20 split, beside the published one.

python benchmarks/notebook.py --data FOLDER [--layers 1|2] [--activation relu]
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from machine import Report, arguments
from numpy.typing import NDArray
from subset import held_out

from retrieval.cli.progress import progress
from retrieval.data.dataset import Dataset, encode
from retrieval.data.layouts import read_folder
from retrieval.data.split import random_rows
from retrieval.options import Device
from retrieval.pairs.notebook.pair import NotebookTowers
from retrieval.pairs.notebook.settings import Activation, NotebookSettings
from retrieval.pairs.training import RatingSide, TrainingOptions

PUBLISHED = 1.0009

# Ratings that are predicted together.
CHUNK = 4096


def main() -> None:
    """Train one epoch on 80 % and report both errors."""
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data")
    parser.add_argument("--layers", type=int, choices=(1, 2), default=2, help="dense layers")
    parser.add_argument(
        "--activation", type=Activation, choices=list(Activation), default=Activation.RELU
    )
    asked = parser.parse_args()
    dataset = encode(read_folder(asked.data))
    rng = np.random.default_rng(asked.seed)
    test = random_rows(len(dataset.ratings), len(dataset.ratings) // 5, rng)
    settings = NotebookSettings(layers=asked.layers, activation=asked.activation)
    # Held out as last events are, the test rows choose nothing.
    data = held_out(dataset, np.zeros_like(test), test, asked.seed)
    began = time.perf_counter()
    with TemporaryDirectory() as scratch, progress() as bars:
        options = TrainingOptions(asked.seed, Path(scratch), Device.CPU, bars)
        fitted = NotebookTowers().fit(data, settings, options)
    seconds = time.perf_counter() - began
    error = float(np.mean((predicted(fitted, dataset, test) - dataset.ratings[test]) ** 2))
    average = float(np.var(dataset.ratings[test]))
    report = Report(asked, f"{asked.data.name}, random 80/20")
    report.add(
        f"layers {asked.layers}, {asked.activation}: test MSE {error:.4f}, published "
        f"{PUBLISHED:.4f}; one epoch in {seconds:.0f} s; always the average: {average:.4f}",
        layers=asked.layers,
        activation=asked.activation,
        mse=error,
        mse_published=PUBLISHED,
        mse_of_average=average,
        seconds=seconds,
    )
    report.save()


def predicted(side: RatingSide, dataset: Dataset, rows: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the ratings of rows, a mask `(N,)`, as the pair says them, `(E,)`."""
    users, movies, times = (
        column[rows] for column in (dataset.users, dataset.movies, dataset.timestamps)
    )
    parts = [np.zeros(0)]
    for start in range(0, len(users), CHUNK):
        part = slice(start, start + CHUNK)
        said = side.known_users(users[part], times[part])
        products = (said.vectors * side.movies[movies[part]]).sum(axis=1)
        parts.append(said.offsets + products.astype(np.float64))
    return np.concatenate(parts)


if __name__ == "__main__":
    main()
