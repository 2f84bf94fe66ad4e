"""The published notebook, reproduced: test MSE on a random 80/20 split, beside the published one.

python benchmarks/notebook.py --data FOLDER [--layers 1|2] [--activation relu] [--seed N]
"""

import argparse
import time
from pathlib import Path

import numpy as np
from machine import describe
from rich.progress import Progress

from retrieval.cli.display import notes
from retrieval.data.dataset import encode
from retrieval.data.layouts import read_folder
from retrieval.data.split import random_rows
from retrieval.options import Preset
from retrieval.pairs.content import learn_to_describe
from retrieval.pairs.neural.examples import held_out_examples, learn, training_examples
from retrieval.pairs.neural.training import fit, predict
from retrieval.pairs.notebook.model import Activation, NotebookSettings
from retrieval.pipeline.pairs import make_pair
from retrieval.pipeline.presets import plan

PUBLISHED = 1.0009


def main() -> None:
    """Train one epoch on 80 % and print both errors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--layers", type=int, choices=(1, 2), default=2)
    parser.add_argument("--activation", type=Activation, default=Activation.RELU)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    dataset = encode(read_folder(asked.data))
    rng = np.random.default_rng(asked.seed)
    test = random_rows(len(dataset.ratings), len(dataset.ratings) // 5, rng)
    known = learn(dataset, ~test)
    settings = NotebookSettings(layers=asked.layers, activation=asked.activation)
    describer = learn_to_describe(dataset.movie_frame, asked.seed)
    content = describer.describe(dataset.movie_frame)
    pair = make_pair(settings, dataset, content, known, asked.seed)
    length = settings.history_length
    none = held_out_examples(dataset, known, np.zeros_like(test))
    began = time.perf_counter()
    with Progress(console=notes()) as progress:
        training = training_examples(dataset, known, ~test)
        loop = plan(Preset.NOTEBOOK, len(dataset.ratings)).loop
        fit(pair, training, none, length, loop, asked.seed, progress)
    seconds = time.perf_counter() - began
    questions = held_out_examples(dataset, known, test)
    errors = predict(pair, questions, length).astype(np.float64) - questions.targets
    error = float(np.mean((errors * dataset.scale.unit) ** 2))
    print(describe())
    print(
        f"layers {asked.layers}, {asked.activation.value}, seed {asked.seed}: "
        f"test MSE {error:.4f}, published {PUBLISHED:.4f}; one epoch in {seconds:.0f} s; "
        f"always the average: {float(np.var(dataset.ratings[test])):.4f}"
    )


if __name__ == "__main__":
    main()
