"""RecTools' transformers on interactions from a file, in an environment of its own.

The benchmarks recommend.py and temporal.py run it. Settings are those that RecTools' authors report
on MovieLens-1M: 64 components, two blocks of one head, dropout 0.1, 200 events; SASRec with full
and with sampled softmax, eSASRec (LiGR layers and sampled softmax), and HSTU with sampled softmax
and the times of events, which is told when it is asked. The epoch is chosen on the last known event
of users drawn at random, as patience allows.

Source: Tikhonovich et al., "eSASRec: Enhancing Transformer-based Recommendations in a Modular
Fashion", RecSys 2025, and its repository transformer_benchmark.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import HSTUModel, SASRecModel
from rectools.models.nn.transformers.ligr import LiGRLayers

ONE_BY_ONE, EPOCHS, PATIENCE, VALIDATION = 50, 60, 6, 1000

SECOND = 1_000_000_000  # nanoseconds

# Questions whose histories are in memory together.
TOGETHER = 2048

SHAPE = {
    "n_factors": 64,
    "n_blocks": 2,
    "n_heads": 1,
    "dropout_rate": 0.1,
    "session_max_len": 200,
    "batch_size": 128,
}
SAMPLED = {"loss": "sampled_softmax", "n_negatives": 256}


class Model(NamedTuple):
    """A model that is tried."""

    name: str
    make: type[SASRecModel] | type[HSTUModel]
    settings: dict[str, object]
    timed: bool = False  # whether it is told when it is asked


MODELS = {
    "sasrec": Model("RecTools SASRec, softmax", SASRecModel, {"loss": "softmax"}),
    "sasrec-sampled": Model("RecTools SASRec, sampled softmax", SASRecModel, SAMPLED),
    "esasrec": Model(
        "RecTools eSASRec",
        SASRecModel,
        {**SAMPLED, "transformer_layers_type": LiGRLayers, "use_key_padding_mask": True},
    ),
    "hstu": Model("RecTools HSTU, time known", HSTUModel, SAMPLED, timed=True),
}


class Asked(NamedTuple):
    """Who is asked, with what history, and when."""

    users: np.ndarray  # (Q,)
    frame: pd.DataFrame  # their events
    moments: np.ndarray  # (Q,) seconds, or none


def main(events: Path, scratch: Path, seed: int, k: int, models: list[str]) -> None:
    """Train, recommend, and leave lists and seconds behind.

    Args:
        events: File of events and questions.
        scratch: Folder for files.
        seed: Seed of everything random.
        k: Length of the lists.
        models: Which of `MODELS` are tried; none is all of them.
    """
    table = np.load(events)
    known = frame_of(table, "known")
    asked = Asked(table["asked"], frame_of(table, "histories"), table["moments"])
    rng = np.random.default_rng(seed)
    torch.set_float32_matmul_precision("medium")  # as ours is trained: twice as fast on some CPUs
    distinct = known[Columns.User].unique()
    chosen = rng.permutation(np.sort(distinct))[: min(VALIDATION, len(distinct) // 4)]

    def last_events(interactions: pd.DataFrame) -> np.ndarray:
        latest = interactions.groupby(Columns.User)[Columns.Datetime].transform("max")
        last = interactions[Columns.Datetime] == latest
        return np.asarray(last & interactions[Columns.User].isin(chosen))

    for place in models or MODELS:
        model = MODELS[place]
        if model.timed and not len(asked.moments):
            continue
        seed_everything(seed, verbose=False)
        began = time.perf_counter()
        made = fitted(model, Dataset.construct(known), last_events, scratch / place)
        training = time.perf_counter() - began
        times = []
        for row in range(min(ONE_BY_ONE, len(asked.users))):
            part = part_of(asked, slice(row, row + 1))
            data = Dataset.construct(part.frame)
            began = time.perf_counter()
            recommended(made, part, data, k)
            times.append(time.perf_counter() - began)
        began = time.perf_counter()
        lists = np.concatenate(
            [
                lists_of(made, part_of(asked, slice(start, start + TOGETHER)), k)
                for start in range(0, len(asked.users), TOGETHER)
            ]
        )
        everyone = time.perf_counter() - began
        path = scratch / f"{place}.npy"
        np.save(path, lists)
        said = {
            "name": model.name,
            "lists": str(path),
            "training": training,
            "one": 1000 * float(np.median(times)),
            "everyone": everyone,
        }
        print(json.dumps(said), flush=True)


def frame_of(table: "np.lib.npyio.NpzFile", name: str) -> pd.DataFrame:
    """Return events as RecTools takes them."""
    users = table[f"{name}_users"]
    # Events of one second keep their order, which RecTools has from the time alone.
    moments = table[f"{name}_times"] * SECOND + np.arange(len(users))
    return pd.DataFrame(
        {
            Columns.User: users,
            Columns.Item: table[f"{name}_movies"],
            Columns.Weight: 1.0,
            Columns.Datetime: pd.to_datetime(moments, unit="ns"),
        }
    )


def part_of(asked: Asked, rows: slice) -> Asked:
    """Return some of the questions."""
    users = asked.users[rows]
    frame = asked.frame[asked.frame[Columns.User].isin(users)]
    return Asked(users, frame, asked.moments[rows])


def recommended(
    model: SASRecModel | HSTUModel, asked: Asked, data: Dataset, k: int
) -> pd.DataFrame:
    """Return lists as RecTools makes them."""
    context = None
    if model.require_recommend_context:
        context = pd.DataFrame(
            {
                Columns.User: asked.users,
                # After all events of the same second.
                Columns.Datetime: pd.to_datetime(asked.moments * SECOND + SECOND // 2, unit="ns"),
                Columns.Weight: 1.0,
            }
        )
    found: pd.DataFrame = model.recommend(
        asked.users, data, k=k, filter_viewed=True, context=context, on_unsupported_targets="ignore"
    )
    return found


def lists_of(model: SASRecModel | HSTUModel, asked: Asked, k: int) -> np.ndarray:
    """Return the lists `(Q, k)` of questions, -1 where one ends."""
    found = recommended(model, asked, Dataset.construct(asked.frame), k)
    lists = np.full((len(asked.users), k), -1, np.int64)
    places = pd.Series(np.arange(len(asked.users)), index=asked.users)
    lists[places[found[Columns.User]], found[Columns.Rank] - 1] = found[Columns.Item]
    return lists


def fitted(
    model: Model,
    dataset: Dataset,
    last_events: Callable[[pd.DataFrame], np.ndarray],
    scratch: Path,
) -> SASRecModel | HSTUModel:
    """Return a model trained until validation got worse, with the weights of the best epoch."""

    def trainer() -> Trainer:
        best = ModelCheckpoint(dirpath=scratch, monitor="val_loss", filename="best")
        return Trainer(
            max_epochs=EPOCHS,
            callbacks=[EarlyStopping("val_loss", patience=PATIENCE), best],
            accelerator="auto",
            devices=1,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )

    made = model.make(
        **SHAPE, **model.settings, get_val_mask_func=last_events, get_trainer_func=trainer
    )
    made.fit(dataset)
    made.load_weights_from_checkpoint(scratch / "best.ckpt")
    return made


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
