"""RecTools' SASRec on interactions from a file, in an environment of its own.

The benchmarks recommend.py and temporal.py run it. Settings are those of the full-softmax SASRec
that RecTools' authors report on MovieLens-1M: 64 components, two blocks of one head, dropout 0.1,
200 events; and the same with sampled softmax. The epoch is chosen on the last known event of users
drawn at random, as patience allows.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

ONE_BY_ONE, EPOCHS, PATIENCE, VALIDATION = 50, 60, 6, 1000

# Losses that are tried; one of them knows so many negatives for each event.
LOSSES, NEGATIVES = ("softmax", "sampled_softmax"), 256


def main(known: Path, scratch: Path, seed: int, k: int) -> None:
    """Train, recommend, and leave lists and seconds behind."""
    seed_everything(seed, verbose=False)
    torch.set_num_threads(2)
    table = np.load(known)
    users, movies, asked = table["user_id"], table["movie_id"], table["asked"]
    frame = pd.DataFrame(
        {
            Columns.User: users,
            Columns.Item: movies,
            Columns.Weight: 1.0,
            # The order is all that counts.
            Columns.Datetime: pd.Timestamp("2000-01-01")
            + pd.to_timedelta(np.arange(len(users)), unit="s"),
        }
    )
    dataset = Dataset.construct(frame)
    rng = np.random.default_rng(seed)
    distinct = np.unique(users)
    chosen = rng.permutation(distinct)[: min(VALIDATION, len(distinct) // 4)]

    def last_events(interactions: pd.DataFrame) -> np.ndarray:
        latest = interactions.groupby(Columns.User)[Columns.Datetime].transform("max")
        last = interactions[Columns.Datetime] == latest
        return np.asarray(last & interactions[Columns.User].isin(chosen))

    for loss in LOSSES:
        began = time.perf_counter()
        model = fitted(loss, dataset, last_events, scratch / loss)
        training = time.perf_counter() - began
        times = []
        for user in asked[:ONE_BY_ONE]:
            began = time.perf_counter()
            model.recommend([user], dataset, k=k, filter_viewed=True)
            times.append(time.perf_counter() - began)
        began = time.perf_counter()
        found = model.recommend(asked, dataset, k=k, filter_viewed=True)
        everyone = time.perf_counter() - began
        lists = np.full((len(asked), k), -1, np.int64)
        places = pd.Series(np.arange(len(asked)), index=asked)
        lists[places[found[Columns.User]], found[Columns.Rank] - 1] = found[Columns.Item]
        np.save(scratch / f"{loss}.npy", lists)
        said = {
            "name": f"RecTools SASRec, {loss.replace('_', ' ')}",
            "lists": str(scratch / f"{loss}.npy"),
            "training": training,
            "one": 1000 * float(np.median(times)),
            "everyone": everyone,
        }
        print(json.dumps(said))


def fitted(
    loss: str,
    dataset: Dataset,
    last_events: Callable[[pd.DataFrame], np.ndarray],
    scratch: Path,
) -> SASRecModel:
    """Return a model trained until validation got worse, with the weights of the best epoch."""

    def trainer() -> Trainer:
        best = ModelCheckpoint(dirpath=scratch, monitor="val_loss", filename="best")
        return Trainer(
            max_epochs=EPOCHS,
            callbacks=[EarlyStopping("val_loss", patience=PATIENCE), best],
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )

    model = SASRecModel(
        n_factors=64,
        n_blocks=2,
        n_heads=1,
        dropout_rate=0.1,
        session_max_len=200,
        loss=loss,
        n_negatives=NEGATIVES,
        batch_size=128,
        get_val_mask_func=last_events,
        get_trainer_func=trainer,
    )
    model.fit(dataset)
    model.load_weights_from_checkpoint(scratch / "best.ckpt")
    return model


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
