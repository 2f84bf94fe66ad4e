"""Ratings per second from arrays sliced in batches, beside the notebook's rows in Python.

python benchmarks/batching.py [--data FOLDER]

Without --data it makes a synthetic world of a million ratings.
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from machine import Report, arguments, peak_megabytes
from torch.utils.data import DataLoader, Dataset

from retrieval.data.dataset import encode
from retrieval.data.frames import MovieData
from retrieval.data.layouts import read_folder
from retrieval.data.synthetic import write_world
from retrieval.pairs.neural.examples import (
    events_of,
    training_examples,
    training_statistics,
)

LENGTH = 20
BATCH = 64
SLICED_BATCH = 4096
ROWS_BY_ROW = 30_000  # the notebook's way is timed on as many rows as a minute allows


class Rows(Dataset[dict[str, torch.Tensor]]):
    """The notebook's data set: one row of a frame at a time, its history a list in a cell."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, place: int) -> dict[str, torch.Tensor]:
        row = self.frame.iloc[place]
        history = row["history"][-LENGTH:]
        padded = history + [0] * (LENGTH - len(history))
        return {
            "user": torch.tensor(row["user_id"], dtype=torch.long),
            "movie": torch.tensor(row["movie_id"], dtype=torch.long),
            "history": torch.tensor(padded, dtype=torch.long),
            "length": torch.tensor(len(history), dtype=torch.long),
            "rating": torch.tensor(row["rating"], dtype=torch.float32),
        }


def histories_in_cells(ratings: pd.DataFrame) -> pd.DataFrame:
    """Build histories as the notebook does: a loop over rows, a list for each."""
    ordered = ratings.sort_values(["user_id", "timestamp"], kind="stable")
    seen: dict[int, list[int]] = {}
    cells = []
    for _, row in ordered.iterrows():
        history = seen.setdefault(int(row["user_id"]), [])
        cells.append(list(history[-LENGTH:]))
        history.append(int(row["movie_id"]))
    return ordered.assign(history=pd.Series(cells, index=ordered.index))


def row_by_row(ratings: pd.DataFrame) -> tuple[float, float]:
    """Return ratings per second of building histories, and of batching them."""
    part = ratings.head(ROWS_BY_ROW)
    began = time.perf_counter()
    frame = histories_in_cells(part)
    built = len(part) / (time.perf_counter() - began)
    began = time.perf_counter()
    for _ in DataLoader(Rows(frame), batch_size=BATCH, shuffle=True):
        pass
    return built, len(part) / (time.perf_counter() - began)


def sliced(data: MovieData, seed: int) -> tuple[float, float]:
    """Return ratings per second of building histories, and of batching them."""
    dataset = encode(data)
    every = np.ones(len(dataset.ratings), dtype=bool)
    began = time.perf_counter()
    statistics = training_statistics(dataset, every)
    examples = training_examples(dataset, statistics, events_of(dataset, statistics))
    built = len(examples) / (time.perf_counter() - began)
    order = np.random.default_rng(seed).permutation(len(examples))
    began = time.perf_counter()
    for start in range(0, len(order), SLICED_BATCH):
        examples.batch(order[start : start + SLICED_BATCH], LENGTH)
    return built, len(examples) / (time.perf_counter() - began)


def main() -> None:
    """Measure both ways three times and report medians."""
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, help="folder of the data")
    asked = parser.parse_args()
    with TemporaryDirectory() as scratch:
        folder = asked.data or Path(scratch) / "world"
        if asked.data is None:
            write_world(folder, users=6000, movies=4000, ratings=1_000_000, seed=asked.seed)
        data = read_folder(folder)
    arrays = np.median([sliced(data, asked.seed) for _ in range(3)], axis=0)
    memory = peak_megabytes()
    rows = np.median([row_by_row(data.ratings) for _ in range(3)], axis=0)
    report = Report(asked, f"{len(data.ratings):,} ratings, history of {LENGTH}, medians of 3")
    report.say(f"{'':34}{'ratings/s, rows':>18}{'ratings/s, arrays':>20}{'ratio':>9}")
    for name, slow, fast in zip(("building histories", "batching"), rows, arrays, strict=True):
        report.add(
            f"{name:34}{slow:18,.0f}{fast:20,.0f}{fast / slow:9,.0f}",
            step=name,
            rows_per_second=slow,
            arrays_per_second=fast,
        )
    report.add(f"peak memory with arrays: {memory:,.0f} MB, data included", peak_megabytes=memory)
    report.save()


if __name__ == "__main__":
    main()
